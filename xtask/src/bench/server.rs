//! The programs that are measured, and the ones that help.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::step;
use crate::workspace;

/// Programs start in well under a second, Node with its modules included.
const START_DEADLINE: Duration = Duration::from_secs(20);
/// The longest load takes half a minute; it gives up by itself when a server stops answering.
pub(super) const LOAD_DEADLINE: Duration = Duration::from_secs(180);

/// A server that keeps the benchmark's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Server {
    /// The least that can be done.
    Floor,
    /// Node.js with `socket.io`.
    Node,
    /// The other Socket.IO server in Rust; `bench/peers/socketioxide`.
    Socketioxide,
    /// This project.
    Unisono,
}

impl Server {
    pub(super) const ALL: [Server; 4] = [
        Server::Floor,
        Server::Node,
        Server::Socketioxide,
        Server::Unisono,
    ];
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Server::Floor => "floor",
            Server::Node => "Node",
            Server::Socketioxide => "socketioxide",
            Server::Unisono => "unisono",
        })
    }
}

/// Where the built programs are.
pub(super) struct Programs {
    pub(super) release: PathBuf,
    /// Built apart, since it is a workspace of its own.
    pub(super) socketioxide: PathBuf,
}

impl Programs {
    fn command(&self, server: Server) -> Command {
        match server {
            Server::Floor => Command::new(self.release.join("floor")),
            Server::Unisono => Command::new(self.release.join("examples/fanout")),
            Server::Socketioxide => Command::new(&self.socketioxide),
            Server::Node => {
                let mut command = Command::new("node");
                command.arg(workspace::root().join("e2e/servers/fanout.js"));
                command
            }
        }
    }

    /// Starts a server, on a bus if one is given, and waits until it listens.
    pub(super) fn start(
        &self,
        server: Server,
        redis: Option<&Redis>,
        environment: &[(&str, &str)],
    ) -> Result<Running> {
        let address = free_address()?;
        let mut command = self.command(server);
        command
            .env("PORT", address.port().to_string())
            .env("RUST_LOG", "warn")
            .env_remove("REDIS_URL")
            .envs(environment.iter().copied());
        if let Some(redis) = redis {
            command.env("REDIS_URL", format!("redis://{}", redis.0.address));
        }
        Running::start(command, address, |line| line == "up")
    }

    /// Runs the load generator and gives what it reports.
    pub(super) fn load(&self, arguments: &[String], deadline: Duration) -> Result<Value> {
        self.report("load", arguments, deadline)
    }

    /// Runs the library under the allocator that counts, and gives what it reports.
    pub(super) fn heap(&self, arguments: &[String]) -> Result<Value> {
        self.report("heap", arguments, LOAD_DEADLINE)
    }

    fn report(&self, program: &str, arguments: &[String], deadline: Duration) -> Result<Value> {
        let mut command = Command::new(self.release.join(program));
        let output = step::output(command.args(arguments), deadline)?;
        serde_json::from_str(&output).with_context(|| format!("{program} reported {output:?}"))
    }
}

/// A program that listens, killed when dropped.
pub(super) struct Running {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Running {
    fn start(
        mut command: Command,
        address: SocketAddr,
        is_up: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<Running> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let stdout = child.stdout.take().expect("stdout was asked to be piped");
        let running = Running { child, address };
        let (up, is_started) = mpsc::channel();
        // Reads on after that, so that the program never blocks on a full pipe; ends with it.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if is_up(&line) {
                    // Nobody waits for a second one.
                    let _ = up.send(());
                }
            }
        });
        match is_started.recv_timeout(START_DEADLINE) {
            Ok(()) => Ok(running),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                bail!("{program} did not start within {START_DEADLINE:?}")
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                bail!("{program} ended at once; its last words are above")
            }
        }
    }

    /// The load generator's arguments that name this server.
    pub(super) fn as_target(&self) -> String {
        format!("--target {} --pid {}", self.address, self.pid())
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A private redis-server without a file.
pub(super) struct Redis(pub(super) Running);

impl Redis {
    pub(super) fn start() -> Result<Redis> {
        let address = free_address()?;
        let mut command = Command::new("redis-server");
        command.args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--port",
            &address.port().to_string(),
        ]);
        Running::start(command, address, |line| {
            line.contains("Ready to accept connections")
        })
        .map(Redis)
    }
}

/// Below the ports that systems give to outgoing connections, so that no client of a run before, whose port rests for a minute, is in the way.
const PORTS: std::ops::Range<u16> = 15_000..30_000;

/// A port that nobody uses, on any address. Nothing else on a benchmark's machine opens ports of this range between now and its use.
fn free_address() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let (count, start) = (
        PORTS.end - PORTS.start,
        (std::process::id() % 10_000) as u16,
    );
    for _ in 0..count {
        let port = PORTS.start + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % count;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return Ok((Ipv4Addr::LOCALHOST, port).into());
        }
    }
    bail!("no port of {PORTS:?} is free")
}
