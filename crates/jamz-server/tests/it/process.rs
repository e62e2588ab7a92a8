//! The binary as a process: started, read, signalled.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use jamz_server::config::names;

use crate::support::PATIENCE;

/// A pod on free ports of this host.
pub(crate) const FREE: [(&str, &str); 4] = [
    (names::HOST, "127.0.0.1"),
    (names::PORT, "0"),
    (names::ADMIN_PORT, "0"),
    (names::DRAIN_SECONDS, "2"),
];

/// The binary with an environment of its own.
pub(crate) fn binary(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jamz-server"));
    command
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied());
    command.stdin(Stdio::null());
    // Looked up by the commands that start a redis-server.
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// A running pod, killed when the test fails before it ends it.
pub(crate) struct Served {
    pub(crate) child: Child,
    /// Read by a thread all the time: a pod whose log nobody takes would wait for the pipe.
    lines: Receiver<String>,
    /// Read on the way to other lines: the tasks of a pod log in no order.
    passed_over: Vec<String>,
}

impl Served {
    pub(crate) fn start(environment: &[(&str, &str)]) -> Self {
        Self::spawn(binary(&[], environment))
    }

    /// The same for a command that becomes the binary.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            lines,
            passed_over: Vec::new(),
        }
    }

    /// A log line that contains `text` and was not given before; fails when the process ends or is silent.
    pub(crate) fn line(&mut self, text: &str) -> String {
        let known = self.passed_over.iter().position(|line| line.contains(text));
        if let Some(known) = known {
            return self.passed_over.remove(known);
        }
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            if line.contains(text) {
                return line;
            }
            self.passed_over.push(line);
        }
        panic!("no line with {text:?} in {:#?}", self.passed_over);
    }

    pub(crate) fn signal(&self, name: &str) {
        let signal = format!("-{name}");
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([&signal, &id])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address behind `name=` in a log line.
pub(crate) fn address(line: &str, name: &str) -> String {
    let (_, rest) = line.split_once(&format!("{name}=")).unwrap();
    rest.split(' ').next().unwrap().to_owned()
}

impl Served {
    /// A pod that listens; with the addresses of its two ports.
    pub(crate) fn listening(environment: &[(&str, &str)]) -> (Self, String, String) {
        let mut pod = Self::start(&[FREE.as_slice(), environment].concat());
        let line = pod.line("listening");
        (pod, address(&line, "clients"), address(&line, "admin"))
    }
}
