//! `cargo xtask demo`: builds the product and shows it.

use anyhow::Result;

use crate::step::{self, BUILD_DEADLINE, step};
use crate::workspace;

/// Builds `jamz-server` and becomes `jamz-server demo`, which gets the arguments.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    step("build jamz-server", || {
        let mut build = workspace::cargo();
        step::run(
            build.args(["build", "--package", "jamz-server"]),
            BUILD_DEADLINE,
        )
    })?;
    let binary = workspace::target_directory()?.join("debug/jamz-server");
    let status = std::process::Command::new(&binary)
        .arg("demo")
        .args(arguments)
        .status()?;
    // Its exit code is this command's.
    std::process::exit(status.code().unwrap_or(1));
}
