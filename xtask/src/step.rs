//! Steps: each says what it does, how long it took, and cannot hang.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A cold build of everything on a slow machine takes a quarter of this; what takes longer has hung.
pub(crate) const BUILD_DEADLINE: Duration = Duration::from_secs(30 * 60);
/// All tests together take a tenth of this. The runner stops single tests much earlier, see `.config/nextest.toml`.
pub(crate) const TEST_DEADLINE: Duration = Duration::from_secs(20 * 60);
/// Package managers on a slow line.
pub(crate) const INSTALL_DEADLINE: Duration = Duration::from_secs(10 * 60);
/// How often a running command is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Runs `work` under a heading.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("── {name}");
    let started = Instant::now();
    let result = work();
    let verdict = if result.is_ok() { "done" } else { "FAILED" };
    eprintln!(
        "   {name}: {verdict} in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    result.with_context(|| name.to_owned())
}

/// Runs a command with this process's input and output; fails if it fails or takes longer than `deadline`.
pub(crate) fn run(command: &mut Command, deadline: Duration) -> Result<()> {
    let status = status(command, deadline)?;
    if !status.success() {
        bail!("`{}` failed ({status})", describe(command));
    }
    Ok(())
}

/// Runs a command whose output matters only if it fails.
pub(crate) fn run_quietly(command: &mut Command, deadline: Duration) -> Result<()> {
    let log = tempfile()?;
    let status = status(
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?),
        deadline,
    )?;
    if !status.success() {
        bail!(
            "`{}` failed ({status}):\n{}",
            describe(command),
            read_from_start(log)?
        );
    }
    Ok(())
}

/// Runs a command and gives what it printed, without what it said on stderr.
pub(crate) fn output(command: &mut Command, deadline: Duration) -> Result<String> {
    let printed = tempfile()?;
    run(
        command.stdin(Stdio::null()).stdout(printed.try_clone()?),
        deadline,
    )?;
    read_from_start(printed)
}

/// Runs a command and gives its exit status; kills it, and everything it has started, at `deadline`.
pub(crate) fn status(command: &mut Command, deadline: Duration) -> Result<ExitStatus> {
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start `{}`", describe(command)))?;
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if started.elapsed() >= deadline {
            kill_tree(&mut child)?;
            bail!(
                "`{}` was killed after {deadline:?}: it hung",
                describe(command)
            );
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Kills a child and its descendants. They stay in this process group, so that Ctrl-C reaches them as well; hence the search.
fn kill_tree(child: &mut Child) -> Result<()> {
    let mut doomed = vec![child.id()];
    let mut next = 0;
    while let Some(parent) = doomed.get(next).copied() {
        doomed.extend(children_of(parent));
        next += 1;
    }
    for pid in doomed {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    child.wait()?;
    Ok(())
}

/// Children as proc(5) tells them; none where there is no `/proc`.
fn children_of(pid: u32) -> Vec<u32> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The command as a person would type it.
fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A file without a name, for output.
fn tempfile() -> Result<std::fs::File> {
    let path = std::env::temp_dir().join(format!(
        "xtask-{}-{:?}.log",
        std::process::id(),
        std::thread::current().id()
    ));
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .context("cannot create a temporary file")?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn read_from_start(mut file: std::fs::File) -> Result<String> {
    use std::io::{Read, Seek};
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn tells_success_from_failure() {
        let deadline = Duration::from_secs(10);
        run_quietly(&mut shell("true"), deadline).unwrap();
        let error = run_quietly(&mut shell("echo why; exit 3"), deadline)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("why"),
            "{error}"
        );
        assert!(run(&mut Command::new("no-such-program"), deadline).is_err());
    }

    #[test]
    fn kills_grandchildren_at_the_deadline() {
        let started = Instant::now();
        // The inner shell keeps the pipe open: reading to its end proves that it is gone too.
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut command = shell("sh -c 'sleep 60; true' ; true");
        command.stdout(writer);
        let error = status(&mut command, Duration::from_millis(100)).unwrap_err();
        drop(command);
        std::io::Read::read_to_end(&mut reader, &mut Vec::new()).unwrap();
        assert!(error.to_string().contains("hung"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
