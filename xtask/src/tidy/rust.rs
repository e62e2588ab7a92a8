//! Checks of Rust sources: lengths, and calls that production code must not make.

use super::scrub::scrub;
use super::{File, Finding, Rule};

/// Lines of a file without its tests: what can be read in one go.
const MAX_FILE: usize = 400;
/// Lines of a file of tests, or of a file with its tests.
const MAX_FILE_WITH_TESTS: usize = 700;
/// Lines of a function: one that fits on a screen.
const MAX_FUNCTION: usize = 70;
/// Lines of a test: a table may be longer than a screen.
const MAX_TEST_FUNCTION: usize = 140;
/// Calls that have no place in production code, with the reason.
const FORBIDDEN: &[(&str, &str)] = &[
    (
        ".unwrap()",
        "panics without a reason: return an error, or `expect` with the proof as its text",
    ),
    ("todo!(", "unfinished"),
    ("unimplemented!(", "unfinished"),
    ("dbg!(", "left over from debugging"),
];

pub(super) fn check(file: &File) -> Vec<Finding> {
    let code = scrub(&file.text);
    let lines: Vec<&str> = code.lines().collect();
    let production = production_lines(file, &lines);
    let mut findings = Vec::new();
    if production > MAX_FILE {
        findings.push(file.finding(
            Rule::FileLength,
            0,
            format!("{production} lines without tests; {MAX_FILE} is the limit: split it by noun"),
        ));
    } else if lines.len() > MAX_FILE_WITH_TESTS {
        let message = format!(
            "{} lines; {MAX_FILE_WITH_TESTS} is the limit with tests: move some of them",
            lines.len()
        );
        findings.push(file.finding(Rule::FileLength, 0, message));
    }
    for function in functions(&lines) {
        let limit = if function.line <= production {
            MAX_FUNCTION
        } else {
            MAX_TEST_FUNCTION
        };
        if function.length > limit {
            let message = format!(
                "fn {} has {} lines; {limit} is the limit",
                function.name, function.length
            );
            findings.push(file.finding(Rule::FunctionLength, function.line, message));
        }
    }
    for (index, line) in lines.iter().take(production).enumerate() {
        for (call, reason) in FORBIDDEN.iter().filter(|(call, _)| line.contains(call)) {
            findings.push(file.finding(
                Rule::ForbiddenCall,
                index + 1,
                format!("`{call}`: {reason}"),
            ));
        }
    }
    findings
}

/// How many lines from the top are production code: none in test files, else those above the `#[cfg(test)]` of the tests at the end.
fn production_lines(file: &File, lines: &[&str]) -> usize {
    let is_test = |part: std::path::Component<'_>| {
        let name = part.as_os_str().to_string_lossy();
        [
            "tests",
            "tests.rs",
            "benches",
            "fuzz_targets",
            "unisono-test",
        ]
        .contains(&name.as_ref())
    };
    if file.path.components().any(is_test) {
        return 0;
    }
    let starts_tests = |index: &usize| {
        lines[*index] == "#[cfg(test)]"
            && lines
                .get(index + 1)
                .is_some_and(|next| next.starts_with("mod ") && next.ends_with('{'))
    };
    (0..lines.len()).find(starts_tests).unwrap_or(lines.len())
}

struct Function<'s> {
    name: &'s str,
    /// Line of its `fn`, from 1.
    line: usize,
    length: usize,
}

/// Functions with a body, from `fn` to the closing brace.
fn functions<'s>(lines: &[&'s str]) -> Vec<Function<'s>> {
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        if let Some(length) = body_length(&lines[index..]) {
            found.push(Function {
                name,
                line: index + 1,
                length,
            });
        }
    }
    found
}

/// The name of the function that a line begins to define.
fn function_name(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let is_qualifier = |word: &str| {
        matches!(
            word,
            "pub" | "const" | "async" | "unsafe" | "extern" | "\"C\""
        ) || word.starts_with("pub(")
            || word == "super)"
    };
    let keyword = words.by_ref().find(|word| !is_qualifier(word))?;
    if keyword != "fn" {
        return None;
    }
    words.next()?.split(['(', '<']).next()
}

/// Lines until the braces are closed again, or `None` for a declaration without a body.
fn body_length(lines: &[&str]) -> Option<usize> {
    let mut depth = 0usize;
    for (index, line) in lines.iter().enumerate() {
        for character in line.chars() {
            match character {
                '{' => depth += 1,
                '}' if depth == 1 => return Some(index + 1),
                '}' => depth = depth.checked_sub(1)?,
                ';' if depth == 0 && line.trim_end().ends_with(';') => return None,
                _ => {}
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_source(path: &str, source: &str, expected: &[(Rule, usize)]) {
        let findings = check(&File {
            path: path.into(),
            text: source.to_owned(),
        });
        let got: Vec<_> = findings
            .iter()
            .map(|finding| (finding.rule, finding.line))
            .collect();
        assert_eq!(got, expected, "{path}");
    }

    fn function(lines: usize) -> String {
        format!(
            "fn f(\n    x: [u8; 2],\n) {{\n{}}}\n",
            "    g();\n".repeat(lines - 4)
        )
    }

    #[test]
    fn measures_functions() {
        check_source("src/a.rs", &function(MAX_FUNCTION), &[]);
        check_source(
            "src/a.rs",
            &format!("\npub(super) async {}", function(MAX_FUNCTION + 1)),
            &[(Rule::FunctionLength, 2)],
        );
        check_source("tests/it/a.rs", &function(MAX_FUNCTION + 1), &[]);
        let declared = format!(
            "trait T {{\n    fn f(&self) -> u8;\n{}}}\n",
            "    // the rest\n".repeat(100)
        );
        check_source("src/a.rs", &declared, &[]);
    }

    #[test]
    fn measures_files_without_their_tests() {
        let tests = format!(
            "#[cfg(test)]\nmod tests {{\n{}}}\n",
            "    use a;\n".repeat(200)
        );
        let line = "use a;\n";
        check_source(
            "src/a.rs",
            &format!("{}{tests}", line.repeat(MAX_FILE)),
            &[],
        );
        check_source(
            "src/a.rs",
            &line.repeat(MAX_FILE + 1),
            &[(Rule::FileLength, 0)],
        );
        check_source("tests/it/a.rs", &line.repeat(MAX_FILE + 1), &[]);
        check_source(
            "tests/it/a.rs",
            &line.repeat(MAX_FILE_WITH_TESTS + 1),
            &[(Rule::FileLength, 0)],
        );
    }

    #[test]
    fn finds_calls_in_production_code_only() {
        let source = "fn f() {\n    a.unwrap();\n    // b.unwrap()\n    g(\".unwrap()\");\n}\n";
        check_source("src/a.rs", source, &[(Rule::ForbiddenCall, 2)]);
        check_source("tests/it/a.rs", source, &[]);
        check_source(
            "src/a.rs",
            &format!("#[cfg(test)]\nmod tests {{\n{source}}}\n"),
            &[],
        );
    }
}
