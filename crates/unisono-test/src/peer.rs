//! A process to talk to in lines of JSON.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// For a line to come. Node takes a second to start on a loaded machine, Chromium a few.
const LINE_LIMIT: Duration = Duration::from_secs(20);

/// A peer of the `e2e` directory, running. It reads one JSON value per line on its standard input and writes the same; what it writes to
/// its standard error is shown. Dropping it kills it.
pub struct Peer {
    /// For messages: what runs.
    name: String,
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// Runs `node <script> <args>` in the `e2e` directory, with variables added to its environment.
    ///
    /// # Panics
    /// When Node.js is not installed, or the packages of `e2e` are not.
    pub fn node(script: &str, args: &[&str], environment: &[(&str, &str)]) -> Self {
        assert_installed(&Self::directory().join("node_modules"));
        let mut command = Command::new("node");
        command
            .arg(script)
            .args(args)
            .envs(environment.iter().copied());
        Self::spawn(script, command)
    }

    /// Runs a script with the Python of `e2e/python/.venv`, in the `e2e` directory, with variables added to its environment.
    ///
    /// # Panics
    /// When that environment is not there.
    pub fn python(script: &str, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let interpreter = Self::directory().join("python/.venv/bin/python");
        assert_installed(&interpreter);
        let mut command = Command::new(interpreter);
        // Reads and writes UTF-8 whatever the locale, and leaves no bytecode beside the scripts.
        command.args(["-X", "utf8", "-B"]).arg(script).args(args);
        command.envs(environment.iter().copied());
        Self::spawn(script, command)
    }

    /// Runs the program of `e2e/rust-client`.
    ///
    /// # Panics
    /// When it is not built.
    pub fn rust_client() -> Self {
        let program = Self::directory().join("rust-client/target/debug/rust-client");
        assert_installed(&program);
        Self::spawn("rust-client", Command::new(program))
    }

    /// Runs a program of the caller's, in the `e2e` directory; `name` is for messages.
    ///
    /// # Panics
    /// When it does not start.
    pub fn program(name: &str, command: std::process::Command) -> Self {
        Self::spawn(name, command.into())
    }

    fn spawn(name: &str, mut command: Command) -> Self {
        command.current_dir(Self::directory()).kill_on_drop(true);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{name} does not start ({error}): run the tests with `cargo xtask test`")
        });
        let stdin = child.stdin.take().expect("standard input is a pipe");
        let stdout = child.stdout.take().expect("standard output is a pipe");
        Self {
            name: name.to_owned(),
            child,
            stdin,
            lines: BufReader::new(stdout).lines(),
        }
    }

    /// The `e2e` directory of this workspace.
    pub fn directory() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e")
    }

    /// Sends one value.
    ///
    /// # Panics
    /// When the process has ended.
    pub async fn send(&mut self, value: &Value) {
        self.stdin
            .write_all(format!("{value}\n").as_bytes())
            .await
            .unwrap_or_else(|error| panic!("{} does not read its input: {error}", self.name));
    }

    /// The next value it writes; lines that are no JSON are shown and skipped.
    ///
    /// # Panics
    /// When none comes.
    pub async fn receive(&mut self) -> Value {
        let name = &self.name;
        loop {
            let line = timeout(LINE_LIMIT, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("{name} wrote nothing for {LINE_LIMIT:?}"));
            let line = line
                .unwrap_or_else(|error| panic!("the output of {name} is not readable: {error}"))
                .unwrap_or_else(|| panic!("{name} has ended"));
            match serde_json::from_str(&line) {
                Ok(value) => return value,
                Err(_) => eprintln!("{name}: {line}"),
            }
        }
    }

    /// The next value for which `wanted` holds; others are skipped.
    ///
    /// # Panics
    /// When none comes.
    pub async fn receive_where(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        loop {
            let value = self.receive().await;
            if wanted(&value) {
                return value;
            }
        }
    }

    /// Suspends it (`SIGSTOP`) and waits until it is: it keeps its connections and does nothing.
    ///
    /// # Panics
    /// When it has ended.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        // Until then some of its threads may go on.
        waitpid(Some(self.pid()), WaitOptions::UNTRACED).expect("our own child can be waited for");
    }

    /// Ends the suspension (`SIGCONT`).
    ///
    /// # Panics
    /// When it has ended.
    pub fn cont(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("our own child can be signalled");
    }

    fn pid(&self) -> Pid {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        id.and_then(Pid::from_raw).expect("the process runs")
    }

    /// Kills it and waits until it is gone.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub async fn kill(&mut self) {
        self.child
            .kill()
            .await
            .expect("our own child can be killed");
    }
}

fn assert_installed(path: &Path) {
    assert!(
        path.exists(),
        "{} is not there: run the tests with `cargo xtask test`, which installs it",
        path.display()
    );
}
