//! Checks of every text file.

use super::{File, Finding, Rule};

/// Paths that exist on one machine only have no place in the repository. Put together here so that this file does not contain them.
const MACHINE_PATHS: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
];

/// Test vectors and generated files are kept as they are.
fn is_kept_verbatim(file: &File) -> bool {
    let path = file.path.to_string_lossy();
    path.contains("/corpus/")
        || path.ends_with(".lock")
        || path.ends_with("package-lock.json")
        || path.starts_with("LICENSE")
}

pub(super) fn check(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for path in MACHINE_PATHS.iter().filter(|path| line.contains(**path)) {
            findings.push(file.finding(
                Rule::MachinePath,
                index + 1,
                format!("{path} exists on one machine only"),
            ));
        }
    }
    if is_kept_verbatim(file) {
        return findings;
    }
    for (index, line) in file.text.lines().enumerate() {
        if line.ends_with([' ', '\t']) {
            findings.push(file.finding(Rule::Whitespace, index + 1, "trailing whitespace"));
        }
    }
    if file.text.contains('\r') {
        findings.push(file.finding(
            Rule::Whitespace,
            0,
            "carriage returns: this repository uses line feeds",
        ));
    }
    if !file.text.is_empty() && (!file.text.ends_with('\n') || file.text.ends_with("\n\n")) {
        findings.push(file.finding(Rule::Whitespace, 0, "the file must end with one line feed"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(path: &str, text: &str, expected: &[(Rule, usize)]) {
        let findings = check(&File {
            path: path.into(),
            text: text.to_owned(),
        });
        let got: Vec<_> = findings
            .iter()
            .map(|finding| (finding.rule, finding.line))
            .collect();
        assert_eq!(got, expected, "{text:?}");
    }

    #[test]
    fn finds_whitespace_and_machine_paths() {
        check_text("a.md", "a\nb\n", &[]);
        check_text("a.md", "", &[]);
        check_text(
            "a.md",
            "a \nb\t\n",
            &[(Rule::Whitespace, 1), (Rule::Whitespace, 2)],
        );
        check_text("a.md", "a", &[(Rule::Whitespace, 0)]);
        check_text("a.md", "a\n\n", &[(Rule::Whitespace, 0)]);
        check_text("a.md", "a\r\n", &[(Rule::Whitespace, 0)]);
        check_text("Cargo.lock", "a ", &[]);
        check_text(
            "a.md",
            &format!("cd {}x\n", MACHINE_PATHS[0]),
            &[(Rule::MachinePath, 1)],
        );
        check_text("a.md", "the network/ folder\n", &[]);
    }
}
