//! The server that is measured: every socket joins `room`; on `pub` with one argument it emits `msg` with the same argument to
//! `room`, sender included.
//!
//! Environment: `PORT` (3000), `REDIS_URL` (alone if unset), `REDIS_ADAPTER` (`classic`), `WORKERS` (threads, one per core if unset).
//! Prints `up` when it listens.

use std::net::SocketAddr;
use std::sync::Arc;

use unisono::{Args, Io, Namespace, Socket, Space, Value};
use unisono_redis::{RedisBroker, RedisConfig};

async fn join(socket: Socket) {
    socket.join("room").expect("one room is within bounds");
}

async fn publish(space: Space, Args(mut args): Args) {
    let value = args.pop().unwrap_or(Value::Null);
    if let Err(error) = space.to("room").emit("msg", &value) {
        eprintln!("cannot emit: {error}");
    }
}

async fn run(port: u16) -> Result<(), Box<dyn std::error::Error>> {
    let namespace = Namespace::new("/").on_connect(join).on("pub", publish);
    let mut io = Io::builder().namespace(namespace);
    if let Ok(url) = std::env::var("REDIS_URL") {
        let adapter = std::env::var("REDIS_ADAPTER").unwrap_or_else(|_| "classic".to_owned());
        if adapter != "classic" {
            return Err(
                format!("REDIS_ADAPTER `{adapter}` is not supported; use `classic`").into(),
            );
        }
        io = io.broker(
            Arc::new(RedisBroker::start(RedisConfig::parse(&url)?)),
            "socket.io",
        );
    }
    let io = io.build();
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from(([0, 0, 0, 0], port)))?;
    let listener = socket.listen(4096)?;
    println!("up");
    unisono::serve(listener, io.service(), std::future::pending()).await?;
    Ok(())
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
