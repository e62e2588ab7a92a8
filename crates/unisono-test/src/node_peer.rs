//! A Node.js process to talk to in lines of JSON.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// For a line to come. Node takes a second to start on a loaded machine.
const LINE_LIMIT: Duration = Duration::from_secs(20);

/// A script of the `e2e` directory, running. It reads one JSON value per line on its standard input and writes the same; what it writes to
/// its standard error is shown. Dropping it kills it.
pub struct NodePeer {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl NodePeer {
    /// Runs `node <script> <args>` in the `e2e` directory.
    ///
    /// # Panics
    /// When Node.js is not installed, or the packages of `e2e` are not.
    pub fn spawn(script: &str, args: &[&str]) -> Self {
        Self::spawn_with(script, args, &[])
    }

    /// The same, with variables added to its environment.
    ///
    /// # Panics
    /// As [`spawn`](Self::spawn).
    pub fn spawn_with(script: &str, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let directory = Self::directory();
        assert!(
            directory.join("node_modules").is_dir(),
            "the packages of e2e are not installed: run the tests with `cargo xtask test`, which installs them"
        );
        let mut command = Command::new("node");
        command
            .arg(script)
            .args(args)
            .envs(environment.iter().copied())
            .current_dir(&directory)
            .kill_on_drop(true);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = command
            .spawn()
            .expect("node is installed: run the tests with `cargo xtask test`");
        let stdin = child.stdin.take().expect("standard input is a pipe");
        let stdout = child.stdout.take().expect("standard output is a pipe");
        Self {
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
            .expect("the node process reads its input");
    }

    /// The next value it writes; lines that are no JSON are shown and skipped.
    ///
    /// # Panics
    /// When none comes.
    pub async fn receive(&mut self) -> Value {
        loop {
            let line = timeout(LINE_LIMIT, self.lines.next_line()).await;
            let line = line
                .unwrap_or_else(|_| panic!("the node process wrote nothing for {LINE_LIMIT:?}"));
            let line = line
                .expect("the output is readable")
                .expect("the node process has not ended");
            match serde_json::from_str(&line) {
                Ok(value) => return value,
                Err(_) => eprintln!("node: {line}"),
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
