//! The client against a scripted server: plain TCP that plays the server's part of the protocol.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod connecting;
mod ending;
mod peer;
mod talking;

use std::time::Duration;

use peer::{Listener, Peer};
use unisono_client::{Client, Events, Options};

/// No single wait of these tests takes a tenth of this on a slow machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client in `/`, and its server.
async fn connected() -> (Client, Events, Peer) {
    let listener = Listener::bind().await;
    let (client, peer) = tokio::join!(
        Client::connect(&listener.url, Options::default()),
        listener.join()
    );
    let (client, events) = client.unwrap();
    (client, events, peer)
}
