//! What is not Rust and has to be there: redis-server, Node.js and the packages of `e2e/`, nextest.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::step::{INSTALL_DEADLINE, run_quietly};
use crate::workspace;

/// Programs that tests start, with the argument that makes them answer. On Debian each is a package of the same name.
const PROGRAMS: [(&str, &str); 2] = [("redis-server", "--version"), ("openssl", "version")];

/// Is this program there and does it answer?
pub(crate) fn answers(program: &str, argument: &str) -> bool {
    let status = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Is `cargo nextest` there?
pub(crate) fn has_nextest() -> bool {
    let status = workspace::cargo()
        .args(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Installs the programs that tests start, where they are missing and this user may do so.
pub(crate) fn ensure_programs() -> Result<()> {
    let missing = || -> Vec<&str> {
        let missing = PROGRAMS.iter().filter(|(name, ask)| !answers(name, ask));
        missing.map(|(name, _)| *name).collect()
    };
    let wanted = missing();
    if wanted.is_empty() {
        return Ok(());
    }
    let names = wanted.join(" and ");
    let Some(installer) = apt_get() else {
        bail!("install {names} (Debian, Ubuntu: apt-get install; macOS: brew install)")
    };
    eprintln!("   installing {names} with apt-get");
    let install = |arguments: &[&str]| {
        let mut command = Command::new(installer[0]);
        // Tests start their own; the service of the package shall not come up beside them.
        command
            .args(&installer[1..])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("RUNLEVEL", "1");
        run_quietly(&mut command, INSTALL_DEADLINE)
    };
    install(&["update"])?;
    let packages = ["install", "--yes", "--no-install-recommends"];
    install(&[&packages[..], &wanted].concat())?;
    match missing().as_slice() {
        [] => Ok(()),
        still => bail!("install {} by hand: apt-get did not", still.join(" and ")),
    }
}

/// How this user may run apt-get without being asked for a password, if at all.
fn apt_get() -> Option<&'static [&'static str]> {
    if !answers("apt-get", "--version") {
        None
    } else if rustix::process::geteuid().is_root() {
        Some(&["apt-get"])
    } else if sudo_is_free() {
        Some(&["sudo", "--non-interactive", "apt-get"])
    } else {
        None
    }
}

fn sudo_is_free() -> bool {
    let status = Command::new("sudo")
        .args(["--non-interactive", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Installs the packages of `e2e/` where they are missing or older than the lock file. False, with a word about it, where there is no Node.js.
pub(crate) fn ensure_node_packages() -> Result<bool> {
    if !answers("node", "--version") || !answers("npm", "--version") {
        eprintln!(
            "   node or npm is missing: tests against stock clients and Node pods cannot run (install Node.js 20 or later)"
        );
        return Ok(false);
    }
    let folder = workspace::root().join("e2e");
    let wanted = fs::read_to_string(folder.join("package-lock.json"))?;
    // npm has no cheap way to ask whether node_modules matches the lock file.
    let stamp = folder.join("node_modules/.installed-package-lock.json");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(true);
    }
    eprintln!("   installing the packages of e2e/ with npm ci");
    run_quietly(
        Command::new("npm").arg("ci").current_dir(&folder),
        INSTALL_DEADLINE,
    )?;
    fs::write(&stamp, wanted)?;
    Ok(true)
}
