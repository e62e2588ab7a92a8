//! Checks that links between the documents lead somewhere: the file is there, and so is the heading.

use std::path::{Component, Path, PathBuf};

use super::{File, Finding, Rule};

pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let documents = files.iter().filter(|file| file.has_extension("md"));
    documents
        .flat_map(|document| check_document(document, files))
        .collect()
}

fn check_document(document: &File, files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, target) in links(&document.text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) = target
            .split_once('#')
            .map_or((target, None), |(path, anchor)| (path, Some(anchor)));
        let path = if path.is_empty() {
            document.path.clone()
        } else {
            resolve(&document.path, path)
        };
        let Some(file) = files.iter().find(|file| file.path == path) else {
            // A folder is there if any file is in it.
            if !files.iter().any(|file| file.path.starts_with(&path)) {
                findings.push(document.finding(
                    Rule::Link,
                    line,
                    format!("{target} leads nowhere"),
                ));
            }
            continue;
        };
        if let Some(anchor) = anchor.filter(|_| file.has_extension("md"))
            && !headings(&file.text).any(|heading| heading == anchor)
        {
            findings.push(document.finding(
                Rule::Link,
                line,
                format!("{} has no heading #{anchor}", path.display()),
            ));
        }
    }
    findings
}

/// The lines that are prose, each with its number from 1: code blocks are left out.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!is_fence && !in_code).then_some((index + 1, line))
    })
}

/// Targets of inline links, with their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        // Odd pieces lie between backticks.
        for piece in line.split('`').step_by(2) {
            let targets = piece
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split([')', ' ']).next());
            found.extend(targets.map(|target| (number, target)));
        }
    }
    found
}

/// Headings as GitHub turns them into anchors.
fn headings(text: &str) -> impl Iterator<Item = String> {
    prose(text)
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|character| {
                character.is_alphanumeric() || matches!(character, ' ' | '-' | '_')
            });
            kept.map(|character| if character == ' ' { '-' } else { character })
                .collect()
        })
}

/// `target` as seen from the folder of `document`.
fn resolve(document: &Path, target: &str) -> PathBuf {
    let mut path = document.parent().map(Path::to_path_buf).unwrap_or_default();
    for component in Path::new(target).components() {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(text: &str, expected: &[usize]) {
        let file = |path: &str, text: &str| File {
            path: path.into(),
            text: text.to_owned(),
        };
        let files = [
            file("docs/a.md", text),
            file("docs/b.md", "# What `it` is: an *answer*\n"),
            file("src/lib.rs", ""),
        ];
        let lines: Vec<_> = check(&files).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, expected, "{text}");
    }

    #[test]
    fn follows_links() {
        check_text(
            "[b](b.md) [`b`](./b.md) [lib](../src/lib.rs) [folder](../src)\n",
            &[],
        );
        check_text("[c](c.md)\n[b](b.md) [`d`](d.md)\n", &[1, 2]);
        check_text(
            "[web](https://example.com/x) `[no](link)`\n```\n[no](link)\n```\n",
            &[],
        );
        check_text(
            "# Here\n[here](#here) [b](b.md#what-it-is-an-answer)\n",
            &[],
        );
        check_text("[gone](#gone) [b](b.md#gone)\n", &[1, 1]);
    }
}
