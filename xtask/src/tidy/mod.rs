//! `cargo xtask tidy`: rules of this repository that no compiler checks. Each finding names its place and what to do.

mod exceptions;
mod guarantees;
mod links;
mod manifests;
mod rust;
mod scrub;
mod text;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{Usage, workspace};
use exceptions::Exceptions;

/// Something to put right.
#[derive(Debug, PartialEq)]
struct Finding {
    /// Which check found it; exceptions name it.
    rule: Rule,
    /// Path from the root.
    path: PathBuf,
    /// Line, from 1; 0 for the whole file.
    line: usize,
    /// What is wrong, and what to do.
    message: String,
}

/// The checks, as exceptions name them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    FileLength,
    FunctionLength,
    ForbiddenCall,
    Lints,
    Whitespace,
    MachinePath,
    Link,
    Guarantee,
    Manifest,
}

/// One file of the project.
struct File {
    /// Path from the root.
    path: PathBuf,
    text: String,
}

impl File {
    fn has_extension(&self, extension: &str) -> bool {
        self.path
            .extension()
            .is_some_and(|found| found == extension)
    }

    fn finding(&self, rule: Rule, line: usize, message: impl Into<String>) -> Finding {
        Finding {
            rule,
            path: self.path.clone(),
            line,
            message: message.into(),
        }
    }
}

/// Checks every file that is, or could be, under version control.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if !arguments.is_empty() {
        return Err(Usage("tidy takes no arguments".to_owned()).into());
    }
    let files = read_files(workspace::root())?;
    let mut exceptions = Exceptions::default();
    let findings: Vec<Finding> = check(&files)
        .into_iter()
        .filter(|finding| !exceptions.cover(finding))
        .collect();
    for Finding {
        rule,
        path,
        line,
        message,
    } in &findings
    {
        eprintln!("   {}:{line}: {message} [{rule:?}]", path.display());
    }
    for unused in exceptions.unused() {
        eprintln!(
            "   xtask/src/tidy/exceptions.rs: {} no longer needs its exception from {:?}",
            unused.path, unused.rule
        );
    }
    match findings.len() + exceptions.unused().count() {
        0 => Ok(()),
        count => bail!("{count} to put right in {} files looked at", files.len()),
    }
}

fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        findings.extend(text::check(file));
        if file.has_extension("rs") {
            findings.extend(rust::check(file));
        }
        if file.path.ends_with("Cargo.toml") {
            findings.extend(manifests::check_lints(file));
        }
    }
    findings.extend(links::check(files));
    findings.extend(guarantees::check(files));
    findings.extend(manifests::check_kustomization(files));
    findings
}

/// Tracked files and new ones that are not ignored; binary files are left out.
fn read_files(root: &Path) -> Result<Vec<File>> {
    let mut git = Command::new("git");
    git.current_dir(root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let output = git.output().context("cannot run git")?;
    if !output.status.success() {
        bail!(
            "git cannot list the files: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let mut paths: Vec<&str> = names.split_terminator('\0').collect();
    paths.sort_unstable();
    paths.dedup();
    let read = |path: &str| {
        Some(File {
            path: path.into(),
            text: std::fs::read_to_string(root.join(path)).ok()?,
        })
    };
    Ok(paths.into_iter().filter_map(read).collect())
}
