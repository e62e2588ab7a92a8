//! The socketioxide server that is measured beside ours: every socket joins `room`; on `pub` with one argument it emits `msg` with the same argument to
//! `room`, sender included; on `ask` it asks the client for an acknowledgement, for a second. Served by hyper alone, as ours is, so that no web framework is
//! measured.
//!
//! Environment: `PORT` (3000), `WORKERS` (threads, one per core if unset), `PING_INTERVAL_MS` (25000), `PING_TIMEOUT_MS` (20000). Prints `up` when it listens.

use std::net::SocketAddr;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use socketioxide::SocketIo;
use socketioxide::extract::{Data, SocketRef};
use tokio::net::TcpSocket;

async fn publish(io: SocketIo, Data(payload): Data<serde_json::Value>) {
    if let Err(error) = io.to("room").emit("msg", &payload).await {
        eprintln!("cannot emit: {error}");
    }
}

async fn ask(socket: SocketRef) {
    let asked = socket
        .timeout(Duration::from_secs(1))
        .emit_with_ack::<_, serde_json::Value>("question", &());
    // Whoever asks and does not answer is part of what is measured.
    if let Ok(answer) = asked {
        answer.await.ok();
    }
}

fn milliseconds(name: &str, default: u64) -> Result<Duration, std::num::ParseIntError> {
    let text = std::env::var(name).unwrap_or_default();
    let number = if text.is_empty() {
        default
    } else {
        text.parse()?
    };
    Ok(Duration::from_millis(number))
}

async fn run(port: u16) -> Result<(), Box<dyn std::error::Error>> {
    let (service, io) = SocketIo::builder()
        .ping_interval(milliseconds("PING_INTERVAL_MS", 25_000)?)
        .ping_timeout(milliseconds("PING_TIMEOUT_MS", 20_000)?)
        .build_svc();
    io.ns("/", async |socket: SocketRef| {
        socket.join("room");
        socket.on("pub", publish);
        socket.on("ask", ask);
    });
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from(([0, 0, 0, 0], port)))?;
    // A burst of handshakes must queue, not be refused.
    let listener = socket.listen(4096)?;
    println!("up");
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service.clone())
            .with_upgrades();
        // A connection that ends badly is its client's loss, not the server's.
        tokio::spawn(connection);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::var("PORT")
        .ok()
        .map_or(Ok(3000), |port| port.parse())?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Ok(workers) = std::env::var("WORKERS") {
        runtime.worker_threads(workers.parse()?);
    }
    runtime.enable_all().build()?.block_on(run(port))
}
