//! The server that is measured: every socket joins `room`; on `pub` with one argument it emits `msg` with the same argument to
//! `room`, sender included. On `tell` with a room and an argument it does so to that room; on `join` with a list of rooms the client joins
//! them. On `ask` it asks the client for an acknowledgement, for a second.
//!
//! Environment: `PORT` (3000), `REDIS_URL` (alone if unset), `REDIS_ADAPTER` (`classic`, or `sharded`, whose subscriptions are dynamic), `WORKERS` (threads, one per core if unset),
//! `PING_INTERVAL_MS` (25000), `PING_TIMEOUT_MS` (20000), `QUEUE_BYTES` (the library's default of 1 MiB). Prints `up` when it listens.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use unisono::{Args, Data, Io, Namespace, Socket, Space, Value};
use unisono_cluster::{Adapter, SubscriptionMode};
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

async fn tell(space: Space, Data((room, value)): Data<(String, Value)>) {
    if let Err(error) = space.to(&room).emit("msg", &value) {
        eprintln!("cannot emit: {error}");
    }
}

async fn join_more(socket: Socket, Data(rooms): Data<Vec<String>>) {
    for room in rooms {
        if let Err(error) = socket.join(&room) {
            eprintln!("cannot join: {error}");
        }
    }
}

async fn ask(socket: Socket) {
    let answer = socket.emit_with_ack("question", &(), Duration::from_secs(1));
    // Whoever asks and does not answer is part of what is measured.
    answer.await.ok();
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

fn adapter() -> Result<Adapter, Box<dyn std::error::Error>> {
    match std::env::var("REDIS_ADAPTER").as_deref() {
        Err(_) | Ok("" | "classic") => Ok(Adapter::Classic),
        Ok("sharded") => Ok(Adapter::Sharded(SubscriptionMode::Dynamic)),
        Ok(other) => {
            Err(format!("REDIS_ADAPTER is `{other}`, but must be `classic` or `sharded`").into())
        }
    }
}

async fn run(port: u16) -> Result<(), Box<dyn std::error::Error>> {
    let namespace = Namespace::new("/")
        .on_connect(join)
        .on("pub", publish)
        .on("tell", tell)
        .on("join", join_more)
        .on("ask", ask);
    let mut io = Io::builder()
        .namespace(namespace)
        .ping_interval(milliseconds("PING_INTERVAL_MS", 25_000)?)
        .ping_timeout(milliseconds("PING_TIMEOUT_MS", 20_000)?);
    if let Ok(bytes) = std::env::var("QUEUE_BYTES") {
        io = io.queue_limits(bytes.parse()?, 4096);
    }
    if let Ok(url) = std::env::var("REDIS_URL") {
        let config = RedisConfig::parse(&url)?.speaking(adapter()?);
        io = io.broker(Arc::new(RedisBroker::start(config)), "socket.io");
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
