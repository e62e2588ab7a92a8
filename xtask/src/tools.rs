//! What is not in this workspace and has to be there: redis-server, Chromium, Node.js, Python, the packages of `e2e/`, nextest.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::step::{BUILD_DEADLINE, INSTALL_DEADLINE, run_quietly};
use crate::workspace;

/// Something that tests need, and the Debian packages that have it.
struct Need {
    name: &'static str,
    /// Answers with success where it is there.
    question: &'static [&'static str],
    packages: &'static [&'static str],
}

const NEEDS: [Need; 5] = [
    Need {
        name: "redis-server",
        question: &["redis-server", "--version"],
        packages: &["redis-server"],
    },
    Need {
        name: "openssl",
        question: &["openssl", "version"],
        packages: &["openssl"],
    },
    Need {
        name: "chromium",
        question: &["chromium", "--version"],
        packages: &["chromium"],
    },
    Need {
        name: "python3 with venv",
        question: &["python3", "-c", "import venv, ensurepip"],
        packages: &["python3", "python3-venv"],
    },
    // For the TLS library of the Rust client in e2e/.
    Need {
        name: "the headers of openssl",
        question: &["pkg-config", "--exists", "openssl"],
        packages: &["pkg-config", "libssl-dev"],
    },
];

impl Need {
    fn is_met(&self) -> bool {
        answers(self.question[0], &self.question[1..])
    }

    fn unmet() -> Vec<&'static Need> {
        NEEDS.iter().filter(|need| !need.is_met()).collect()
    }
}

fn names(needs: &[&Need]) -> String {
    let names: Vec<&str> = needs.iter().map(|need| need.name).collect();
    names.join(" and ")
}

/// Is this program there and does it answer?
pub(crate) fn answers(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program)
        .args(arguments)
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
    let wanted = Need::unmet();
    if wanted.is_empty() {
        return Ok(());
    }
    let Some(installer) = apt_get() else {
        bail!(
            "install {} (Debian, Ubuntu: apt-get install; macOS: brew install)",
            names(&wanted)
        )
    };
    eprintln!("   installing {} with apt-get", names(&wanted));
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
    let wanted = wanted.iter().flat_map(|need| need.packages);
    install(&packages.iter().chain(wanted).copied().collect::<Vec<_>>())?;
    match Need::unmet().as_slice() {
        [] => Ok(()),
        still => bail!("install {} by hand: apt-get did not", names(still)),
    }
}

/// How this user may run apt-get without being asked for a password, if at all.
fn apt_get() -> Option<&'static [&'static str]> {
    if !answers("apt-get", &["--version"]) {
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
    if !answers("node", &["--version"]) || !answers("npm", &["--version"]) {
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

/// Installs the Python packages of `e2e/python/` into an environment of their own, where they are missing or other than listed.
pub(crate) fn ensure_python_packages() -> Result<()> {
    let folder = workspace::root().join("e2e/python");
    let wanted = fs::read_to_string(folder.join("requirements.txt"))?;
    let environment = folder.join(".venv");
    let stamp = environment.join("installed-requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    eprintln!("   installing the packages of e2e/python/ with pip");
    run_quietly(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&environment),
        INSTALL_DEADLINE,
    )?;
    run_quietly(
        Command::new(environment.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-deps",
                "--disable-pip-version-check",
            ])
            .args(["--requirement", "requirements.txt"])
            .current_dir(&folder),
        INSTALL_DEADLINE,
    )?;
    fs::write(&stamp, wanted)?;
    Ok(())
}

/// Builds the Rust client of `e2e/`, a workspace of its own.
pub(crate) fn build_rust_client() -> Result<()> {
    let folder = workspace::root().join("e2e/rust-client");
    run_quietly(
        workspace::cargo()
            .args(["build", "--locked"])
            .env("CARGO_TARGET_DIR", folder.join("target"))
            .current_dir(&folder),
        BUILD_DEADLINE,
    )
}
