//! `cargo xtask test`: every test of the repository.

use std::process::Command;

use anyhow::Result;

use crate::step::{self, BUILD_DEADLINE, TEST_DEADLINE, step};
use crate::{servers, tools, workspace};

/// Installs what is missing, then runs the tests, the examples in the documentation and the self-test of the JavaScript peers.
/// `arguments` go to the test runner; with any, only the runner runs.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    step("programs", tools::ensure_programs)?;
    let has_node = step("node packages", tools::ensure_node_packages)?;
    step("python packages", tools::ensure_python_packages)?;
    step("other servers", servers::ensure_servers)?;
    step("rust client", tools::build_rust_client)?;
    if arguments.is_empty() && has_node {
        step("peers against each other", peers)?;
    }
    if tools::has_nextest() {
        step("tests", || nextest(arguments))?;
    } else {
        eprintln!(
            "   cargo-nextest is not installed: using cargo test, which cannot stop a single test that hangs"
        );
        step("tests", || {
            // Nextest builds them by itself; some tests run them.
            step::run(
                workspace::cargo().args(["build", "--workspace", "--examples"]),
                BUILD_DEADLINE,
            )?;
            cargo_test(&["--workspace", "--lib", "--bins", "--tests"], arguments)
        })?;
    }
    if arguments.is_empty() {
        step("examples in the documentation", || {
            cargo_test(&["--workspace", "--doc"], &[])
        })?;
    }
    Ok(())
}

fn peers() -> Result<()> {
    let folder = workspace::root().join("e2e");
    step::run_quietly(
        Command::new("npm").arg("test").current_dir(folder),
        TEST_DEADLINE,
    )
}

fn nextest(arguments: &[String]) -> Result<()> {
    if !arguments.is_empty() {
        return step::run(
            workspace::cargo().args(["nextest", "run"]).args(arguments),
            BUILD_DEADLINE + TEST_DEADLINE,
        );
    }
    // Apart, so that the deadline of the tests is not spent on building.
    step::run(
        workspace::cargo().args(["nextest", "run", "--workspace", "--no-run"]),
        BUILD_DEADLINE,
    )?;
    step::run(
        workspace::cargo().args(["nextest", "run", "--workspace"]),
        TEST_DEADLINE,
    )
}

fn cargo_test(kinds: &[&str], arguments: &[String]) -> Result<()> {
    step::run(
        workspace::cargo().arg("test").args(kinds).args(arguments),
        BUILD_DEADLINE + TEST_DEADLINE,
    )
}
