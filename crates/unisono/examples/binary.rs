//! Bytes in events, at any depth: `cargo run -p unisono --example binary`, then connect a stock Socket.IO client to port 3000.
//!
//! ```js
//! const socket = io("http://localhost:3000");
//! socket.on("cover", ({ track, jpeg }) => console.log(track, jpeg.byteLength));
//! socket.emit("cover", { track: "a", jpeg: new Uint8Array([1, 2, 3]) });   // goes to everybody
//! await socket.emitWithAck("last cover");                                   // { track: "a", jpeg: <bytes> }
//! ```
//!
//! A byte string travels as a binary WebSocket frame of its own (base64 on long-polling); the JSON holds its place.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use unisono::{Ack, Binary, Cors, Data, Io, Namespace, Space, State};

/// `Binary` and not `Vec<u8>`, which serde would write as a list of numbers.
#[derive(Clone, Serialize, Deserialize)]
struct Cover {
    track: String,
    jpeg: Binary,
}

type Last = Arc<Mutex<Option<Cover>>>;

/// Receives a cover and passes it on. The bytes are shared, not copied, however many clients get them.
async fn cover(space: Space, State(last): State<Last>, Data(cover): Data<Cover>) {
    if let Err(error) = space.emit("cover", &cover) {
        println!("not passed on: {error}");
    }
    *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(cover);
}

async fn last_cover(State(last): State<Last>, ack: Ack) {
    let cover = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Err(error) = ack.send(&cover) {
        println!("not answered: {error}");
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let covers = Namespace::with_state("/", Last::default())
        .on("cover", cover)
        .on("last cover", last_cover);
    let io = Io::builder()
        .cors(Cors::any())
        // Covers are larger than the million bytes that a message may have by default.
        .max_payload(8 << 20)
        .namespace(covers)
        .build();
    let port = std::env::var("PORT").unwrap_or("3000".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let port = listener.local_addr()?.port();
    println!("listening on http://127.0.0.1:{port}");
    unisono::serve(listener, io.service(), std::future::pending()).await
}
