//! A chat room, whole: `cargo run -p unisono --example chat`, then connect stock Socket.IO clients to port 3000.
//!
//! With `REDIS_URL` set, start it on several ports (`PORT`): everybody hears everybody.

use std::sync::Arc;

use unisono::{Ack, Cors, Data, Io, Namespace, Socket};
use unisono_redis::{RedisBroker, RedisConfig};

async fn join(socket: Socket, Data(room): Data<String>, ack: Ack) {
    let answer = match socket.join(&room) {
        Ok(()) => "joined".to_owned(),
        Err(error) => error.to_string(),
    };
    ack.send(&answer).ok();
}

async fn say(socket: Socket, Data((room, text)): Data<(String, String)>) {
    socket.to(&room).emit("said", &(socket.id(), text)).ok();
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut io = Io::builder()
        .cors(Cors::new(["http://localhost:8080"]))
        .namespace(Namespace::new("/").on("join", join).on("say", say));
    if let Ok(url) = std::env::var("REDIS_URL") {
        io = io.broker(
            Arc::new(RedisBroker::start(RedisConfig::parse(&url)?)),
            "socket.io",
        );
    }
    let port = std::env::var("PORT").unwrap_or("3000".into());
    let listener = tokio::net::TcpListener::bind(format!("0.0.0.0:{port}")).await?;
    let port = listener.local_addr()?.port();
    println!("listening on http://127.0.0.1:{port}");
    let app = axum::Router::new()
        .route("/", axum::routing::get(|| async { "hello" }))
        .layer(io.build().layer());
    unisono::serve(listener, app, std::future::pending()).await?;
    Ok(())
}
