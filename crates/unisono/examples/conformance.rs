//! The server that conformance suites of the protocols talk to: Socket.IO under `/socket.io/`, an echo of plain Engine.IO under
//! `/engine.io/`. `cargo run -p unisono --example conformance`; it listens on port 3000, or on `PORT`.
//!
//! The suites do not wait for the defaults: a heartbeat takes 0.3 s, its answer 0.2 s, the first CONNECT a second.

use std::time::Duration;

use serde::ser::{Serialize, SerializeTuple, Serializer};
use unisono::engine::{Engine, EngineSocket, Message};
use unisono::{Ack, Args, Builder, Cors, Io, Namespace, Socket, Value};

const PING_INTERVAL: Duration = Duration::from_millis(300);
const PING_TIMEOUT: Duration = Duration::from_millis(200);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_PAYLOAD: usize = 1_000_000;

fn common<P>(builder: Builder<P>) -> Builder<P> {
    builder
        .ping_interval(PING_INTERVAL)
        .ping_timeout(PING_TIMEOUT)
        .max_payload(MAX_PAYLOAD)
        .cors(Cors::any())
}

/// A list as several arguments, of whatever length.
struct Spread(Vec<Value>);

impl Serialize for Spread {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for value in &self.0 {
            tuple.serialize_element(value)?;
        }
        tuple.end()
    }
}

/// Tells the client with what it has come in.
async fn greet(socket: Socket) {
    let auth = match socket.auth() {
        Value::Null => &Value::Map(Vec::new()),
        auth => auth,
    };
    socket.emit("auth", auth).ok();
}

fn namespace(name: &str) -> Namespace {
    Namespace::new(name)
        .on_connect(greet)
        .on("message", async |socket: Socket, Args(args): Args| {
            socket.emit("message-back", &Spread(args)).ok();
        })
        .on("message-with-ack", async |Args(args): Args, ack: Ack| {
            ack.send(&Spread(args)).ok();
        })
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let io = common(Io::builder())
        .connect_timeout(CONNECT_TIMEOUT)
        .namespace(namespace("/"))
        .namespace(namespace("/custom"))
        .build();
    let engine = common(Engine::builder())
        .path("/engine.io/")
        .on_message(async |socket: EngineSocket, message: Message| {
            socket.send(message).ok();
        })
        .build();
    let port = std::env::var("PORT").unwrap_or("3000".into());
    // Suites connect to `localhost`, which may be the address of either family: the one socket takes both, where there is IPv6 at all.
    let listener = match tokio::net::TcpListener::bind(format!("[::]:{port}")).await {
        Ok(listener) => listener,
        Err(_) => tokio::net::TcpListener::bind(format!("0.0.0.0:{port}")).await?,
    };
    let port = listener.local_addr()?.port();
    println!("listening on http://127.0.0.1:{port}");
    let app = axum::Router::new().layer(io.layer()).layer(engine.layer());
    unisono::serve(listener, app, std::future::pending()).await
}
