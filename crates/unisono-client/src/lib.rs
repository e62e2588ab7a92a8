//! A small Socket.IO v5 client: WebSocket only, one namespace per connection, no reconnection.
//!
//! It is what `jamz-server verify` and `demo`, health probes and tests need: connect, emit, await acknowledgements, take events in order. The protocol
//! is `unisono-proto`'s; this crate adds the TCP socket, the clock and randomness. It never speaks TLS, never polls over HTTP and never reconnects by
//! itself: a caller who wants to hear that a connection broke gets [`Event::Closed`], and may call [`Client::connect_within`] again.
//!
//! - [`Client`] sends: cheap to clone; the session ends when the last clone is dropped, or by [`Client::close`].
//! - [`Events`] receives, in order. Not taking events stops the reading from the socket, as TCP stops a fast sender; nothing is dropped. Dropping
//!   [`Events`] discards them instead.
//!
//! ```no_run
//! use std::time::Duration;
//! use unisono_client::{Client, Event, Options};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, mut events) = Client::connect("http://127.0.0.1:5000", Options::default()).await?;
//! client.emit("join", &("room", 1)).await?; // two arguments
//! let answer = client.emit_with_ack("ping", &(), Duration::from_secs(1)).await?;
//! while let Some(Event::Message(message)) = events.next().await {
//!     println!("{} {:?}, {answer:?}", message.name, message.args);
//! }
//! # Ok(())
//! # }
//! ```

mod client;
mod driver;
mod error;
mod event;
mod options;
mod session;
mod target;

pub use client::Client;
pub use error::{ConnectError, EmitError, UrlError};
pub use event::{AckId, Event, Events, Message};
pub use options::Options;
pub use unisono_proto::Value;
pub use unisono_proto::client::CloseReason;
