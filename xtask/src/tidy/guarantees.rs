//! Checks that every test that `docs/guarantees.md` names is there.

use super::{File, Finding, Rule};

/// The document, and the heading of the column that names tests.
const DOCUMENT: &str = "docs/guarantees.md";
const COLUMN: &str = "test";

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let Some(document) = files.iter().find(|file| file.path.as_os_str() == DOCUMENT) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let mut in_table = false;
    for (index, line) in document.text.lines().enumerate() {
        let Some(cell) = last_cell(line) else {
            in_table = false;
            continue;
        };
        if cell == COLUMN {
            in_table = true;
        } else if in_table && !cell.starts_with("---") {
            findings.extend(
                check_cell(cell, files)
                    .into_iter()
                    .map(|message| document.finding(Rule::Guarantee, index + 1, message)),
            );
        }
    }
    findings
}

fn last_cell(line: &str) -> Option<&str> {
    let row = line.strip_prefix('|')?.trim_end().strip_suffix('|')?;
    row.rsplit('|').next().map(str::trim)
}

/// What is wrong with the tests of one row: a crate's name, then the paths of its tests, then perhaps another crate's.
fn check_cell(cell: &str, files: &[File]) -> Vec<String> {
    let mut messages = Vec::new();
    let (mut of, mut count) = (None, 0);
    for name in cell.split('`').skip(1).step_by(2) {
        let folder = format!("crates/{name}");
        match of {
            _ if !name.contains("::") && files.iter().any(|f| f.path.starts_with(&folder)) => {
                of = Some(folder);
            }
            Some(ref folder) if has_test(folder, name, files) => count += 1,
            Some(ref folder) => messages.push(format!("{folder} has no test {name}")),
            None => messages.push(format!("{name} stands behind no crate's name")),
        }
    }
    if count == 0 && messages.is_empty() {
        messages.push("no test proves this sentence: name one, or write it".to_owned());
    }
    messages
}

fn has_test(folder: &str, name: &str, files: &[File]) -> bool {
    let Some((module, function)) = name.rsplit_once("::") else {
        return false;
    };
    let mut places = vec![("tests/it", module, 0), ("src", module, 0)];
    // Tests of a module at its end are in a module of their own, and so further in.
    places.extend(
        module
            .strip_suffix("::tests")
            .map(|module| ("src", module, 4)),
    );
    places.into_iter().any(|(root, module, indent)| {
        let path = format!("{folder}/{root}/{}", module.replace("::", "/"));
        let paths = [format!("{path}.rs"), format!("{path}/mod.rs")];
        files
            .iter()
            .filter(|file| paths.iter().any(|path| file.path.as_os_str() == &**path))
            .any(|file| declares(&file.text, indent, function))
    })
}

/// Whether a function of this name is there, so far in, and is a test. One that a macro writes is not found: it has another path.
fn declares(source: &str, indent: usize, function: &str) -> bool {
    let margin = " ".repeat(indent);
    let start = format!("fn {function}(");
    let mut is_test = false;
    for line in source.lines().filter_map(|line| line.strip_prefix(&margin)) {
        if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        } else if line
            .strip_prefix("async ")
            .unwrap_or(line)
            .starts_with(&start)
        {
            return is_test;
        } else {
            is_test = false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_rows(rows: &str, expected: &[usize]) {
        let file = |path: &str, text: &str| File {
            path: path.into(),
            text: text.to_owned(),
        };
        let test = "#[test]\nfn holds() {}\n\nfn helper() {}\n";
        let files = [
            file(
                DOCUMENT,
                &format!("| promise | test |\n|---|---|\n{rows}\n| `a` | b |\n"),
            ),
            file("crates/a/tests/it/one.rs", test),
            file(
                "crates/a/tests/it/two/mod.rs",
                "#[tokio::test(flavor = \"x\")]\n#[allow(unused)]\nasync fn waits() {}\n",
            ),
            file(
                "crates/b/src/c.rs",
                &format!("mod tests {{\n    {}}}\n", test.replace('\n', "\n    ")),
            ),
            file(
                "crates/b/tests/it/d.rs",
                "macro_rules! m {\n    () => {\n        #[test]\n        fn written() {}\n    };\n}\n",
            ),
        ];
        let lines: Vec<_> = check(&files).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, expected, "{rows}");
    }

    #[test]
    fn finds_tests_that_are_not_there() {
        check_rows(
            "| x | `a` `one::holds`, `two::waits`, `b` `c::tests::holds` |\n",
            &[],
        );
        check_rows(
            "| x | `a` `one::holds`, `one::gone` |\n| y | `b` `one::holds` |\n",
            &[3, 4],
        );
        check_rows("| x | `a` `one::helper` |\n| y | `a` `one::…` |\n", &[3, 4]);
        check_rows(
            "| x | `one::holds` |\n| y | a table |\n| z | `a` |\n",
            &[3, 4, 5],
        );
        check_rows(
            "| x | `b` `d::written` |\n| y | `b` `c::holds` |\n",
            &[3, 4],
        );
        check_rows("\nElsewhere: | `a` `one::gone` |\n", &[]);
    }
}
