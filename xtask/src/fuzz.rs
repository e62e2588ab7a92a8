//! `cargo xtask fuzz`: libFuzzer over every target of `fuzz/`, on the stable toolchain; `fuzz/README.md` says what each target checks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::step::{self, BUILD_DEADLINE, step};
use crate::{Usage, workspace};

/// For each target, unless told otherwise.
const SECONDS: u32 = 20;
/// What a target may take beyond its time: loading the corpus, and one input that is slow.
const GRACE: Duration = Duration::from_secs(60);
/// What `cargo-fuzz` would ask of the compiler: coverage counters for libFuzzer.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg",
    "fuzzing",
];

/// Builds the targets and runs each for its time; a finding is a failure and stays in `fuzz/artifacts/`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let folder = workspace::root().join("fuzz");
    let targets = options.targets(&folder)?;
    let binaries = step("build the fuzz targets", || build(&folder))?;
    for target in targets {
        step(&format!("fuzz {target} for {} s", options.seconds), || {
            fuzz(&folder, &binaries, &target, options.seconds)
        })?;
    }
    Ok(())
}

struct Options {
    seconds: u32,
    targets: Vec<String>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Options, Usage> {
        let mut options = Options {
            seconds: SECONDS,
            targets: Vec::new(),
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .ok_or_else(|| Usage(format!("{word} needs a value")))
            };
            match word.as_str() {
                "--target" => options.targets.push(value()?.clone()),
                "--seconds" => {
                    // Zero would be for ever.
                    let seconds = value()?.parse().ok().filter(|seconds| *seconds > 0);
                    options.seconds = seconds
                        .ok_or_else(|| Usage("--seconds needs a number from 1".to_owned()))?;
                }
                _ => return Err(Usage(format!("fuzz does not know {word}"))),
            }
        }
        Ok(options)
    }

    /// Those asked for, or all.
    fn targets(&self, folder: &Path) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(folder.join("targets")).context("there are no fuzz targets")? {
            all.extend(
                entry?
                    .path()
                    .file_stem()
                    .map(|name| name.to_string_lossy().into_owned()),
            );
        }
        all.sort();
        if let Some(unknown) = self.targets.iter().find(|target| !all.contains(target)) {
            return Err(Usage(format!(
                "there is no target {unknown}; there are {}",
                all.join(", ")
            ))
            .into());
        }
        Ok(if self.targets.is_empty() {
            all
        } else {
            self.targets.clone()
        })
    }
}

/// Gives the folder of the built targets.
fn build(folder: &Path) -> Result<PathBuf> {
    let host = host()?;
    let target = folder.join("target");
    let mut command = workspace::cargo();
    // Naming the target keeps the instrumentation out of build scripts and procedural macros.
    command
        .current_dir(folder)
        .args(["build", "--release", "--quiet", "--target", &host]);
    command
        .env("RUSTFLAGS", FLAGS.join(" "))
        .env("CARGO_TARGET_DIR", &target);
    step::run(&mut command, BUILD_DEADLINE)?;
    Ok(target.join(host).join("release"))
}

/// The machine's own target triple.
fn host() -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc names no host")?;
    Ok(host.to_owned())
}

/// New inputs stay in the target folder; the committed seeds are only read.
fn fuzz(folder: &Path, binaries: &Path, target: &str, seconds: u32) -> Result<()> {
    let found = folder.join("target/corpus").join(target);
    let artifacts = folder.join("artifacts");
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&artifacts)?;
    let mut command = Command::new(binaries.join(target));
    command.current_dir(folder).args([
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-artifact_prefix=artifacts/",
    ]);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(found)
        .arg(folder.join("corpus").join(target));
    let deadline = Duration::from_secs(u64::from(seconds)) + GRACE;
    if let Err(error) = step::run_quietly(&mut command, deadline) {
        bail!(
            "{error:#}\nthe input is in fuzz/artifacts/: run the target on it, mend, and keep it in fuzz/corpus/{target}/"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &[&str], expected: Result<(u32, usize), &str>) {
        let arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let got =
            Options::parse(&arguments).map(|options| (options.seconds, options.targets.len()));
        assert_eq!(
            got.map_err(|Usage(text)| text),
            expected.map_err(str::to_owned),
            "{words:?}"
        );
    }

    #[test]
    fn takes_its_options() {
        check(&[], Ok((SECONDS, 0)));
        check(
            &["--seconds", "3", "--target", "a", "--target", "b"],
            Ok((3, 2)),
        );
        check(&["--seconds", "0"], Err("--seconds needs a number from 1"));
        check(&["--target"], Err("--target needs a value"));
        check(&["--fast"], Err("fuzz does not know --fast"));
    }
}
