//! `cargo xtask ci`: the gate. Cheap checks first.

use anyhow::Result;

use crate::step::{self, BUILD_DEADLINE, step};
use crate::{Usage, fuzz, test, tidy, tools, workspace};

/// Enough to see that every target still builds and that nothing lies on the surface.
const FUZZ_SECONDS: u32 = 3;

/// Runs everything that must hold before a change is accepted; stops at the first failure.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let with_fuzz = match arguments {
        [] => true,
        [flag] if flag == "--no-fuzz" => false,
        _ => return Err(Usage("ci takes only --no-fuzz".to_owned()).into()),
    };
    step("fmt", || cargo(&["fmt", "--all", "--check"]))?;
    step("tidy", || tidy::run(&[]))?;
    step("clippy", || {
        cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])
    })?;
    step("doc", || {
        let mut command = workspace::cargo();
        command
            .args([
                "doc",
                "--workspace",
                "--no-deps",
                "--document-private-items",
            ])
            .env("RUSTDOCFLAGS", "-D warnings");
        step::run(&mut command, BUILD_DEADLINE)
    })?;
    test::run(&[])?;
    if with_fuzz && !tools::answers("c++", &["--version"]) {
        eprintln!("── fuzz: left out, since libFuzzer needs a C++ compiler and there is no c++");
    } else if with_fuzz {
        step("fuzz", || {
            fuzz::run(&["--seconds".to_owned(), FUZZ_SECONDS.to_string()])
        })?;
    }
    Ok(())
}

fn cargo(arguments: &[&str]) -> Result<()> {
    step::run(workspace::cargo().args(arguments), BUILD_DEADLINE)
}
