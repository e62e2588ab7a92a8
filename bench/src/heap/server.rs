//! The server that is measured, and its clients in a process of their own.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, bail};
use unisono::{Args, Io, Namespace, Socket, Space, Value};

/// The room of all clients.
pub(super) const ROOM: &str = "room";

async fn join(socket: Socket) {
    socket.join(ROOM).ok();
}

async fn publish(space: Space, Args(mut args): Args) {
    let value = args.pop().unwrap_or(Value::Null);
    if let Err(error) = space.to(ROOM).emit("msg", &value) {
        eprintln!("cannot emit: {error}");
    }
}

/// Serves in the background until the runtime ends.
pub(super) async fn start() -> Result<(Io, SocketAddr)> {
    let io = Io::builder()
        .namespace(Namespace::new("/").on_connect(join).on("pub", publish))
        .build();
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let service = io.service();
    tokio::spawn(async move { unisono::serve(listener, service, std::future::pending()).await });
    Ok((io, address))
}

/// Clients that stay until this is dropped.
pub(super) struct Clients {
    child: Child,
    /// Closing it ends them.
    stdin: Option<ChildStdin>,
}

impl Clients {
    /// Starts so many, and waits until all are connected.
    pub(super) fn start(target: SocketAddr, transport: &str, count: usize) -> Result<Self> {
        let load = std::env::current_exe()?.with_file_name("load");
        let mut child = Command::new(&load)
            .args(["stay", "--target", &target.to_string()])
            .args(["--transport", transport, "--clients", &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| {
                format!(
                    "cannot start {}; build it with `--bins`",
                    load.to_string_lossy()
                )
            })?;
        let stdin = child.stdin.take();
        let stdout = child
            .stdout
            .take()
            .context("stdout was asked to be piped")?;
        let mut clients = Self { child, stdin };
        let mut lines = BufReader::new(stdout);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        if line.trim() != "up" {
            clients.stdin = None;
            bail!("the clients did not connect: {line:?}");
        }
        // Reads on, so that the report at the end finds somebody to take it.
        std::thread::spawn(move || lines.read_to_string(&mut String::new()));
        Ok(clients)
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stdin = None;
        // They end by themselves; if not, this benchmark hangs visibly instead of leaving processes behind.
        let _ = self.child.wait();
    }
}
