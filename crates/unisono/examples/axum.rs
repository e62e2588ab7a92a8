//! Beside the routes of an axum server, on one port: `cargo run -p unisono --example axum`.
//!
//! ```sh
//! curl -X POST localhost:3000/announce/lobby -d 'doors open at eight'   # every client in the room hears it
//! curl localhost:3000/online                                            # how many are connected
//! ```

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use unisono::{Ack, Cors, Data, Io, Namespace, Socket, Space};

/// Open sessions get this long to end after Ctrl-C; see [`Io::drain`].
const DRAIN: Duration = Duration::from_secs(5);

async fn announce(
    State(space): State<Space>,
    Path(room): Path<String>,
    text: String,
) -> (StatusCode, String) {
    match space.to(&room).emit("announcement", &text) {
        Ok(()) => (StatusCode::ACCEPTED, String::new()),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
    }
}

async fn online(State(space): State<Space>) -> String {
    space.local_len().to_string()
}

async fn join(socket: Socket, Data(room): Data<String>, ack: Ack) {
    if let Err(error) = socket.join(&room) {
        println!("{} cannot join {room:?}: {error}", socket.id());
    }
    ack.send(&socket.rooms()).ok();
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let io = Io::builder()
        .cors(Cors::any())
        .namespace(Namespace::new("/").on("join", join))
        .build();
    // A handle to the namespace: routes emit without being in a Socket.IO handler.
    let space = io.of("/").expect("it was added above");
    let app = axum::Router::new()
        .route("/announce/{room}", post(announce))
        .route("/online", get(online))
        .with_state(space)
        .layer(io.layer());
    let port = std::env::var("PORT").unwrap_or("3000".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    let port = listener.local_addr()?.port();
    println!("listening on http://127.0.0.1:{port}");
    let shutdown = async move {
        // Without the signal there is nothing to wait for, and the server goes on.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        io.drain(DRAIN).await;
    };
    axum::serve(listener, app)
        .with_graceful_shutdown(shutdown)
        .await
}
