//! A Socket.IO server whose nodes play in unison.
//!
//! Stock Socket.IO clients of versions 3 and 4 connect to it unchanged, those of version 2 where [`IoBuilder::allow_eio3`] lets
//! them. Given a broker, every event for a room crosses to the other nodes, Node.js pods with `@socket.io/redis-adapter` among them.
//!
//! It never lets the bus stand between two clients of one node: without it, a node serves its own clients. It never waits for a
//! client: what a client does not read is queued up to a limit, then the client is closed.
//!
//! - [`Io`] is the server, built from [`Namespace`]s; it mounts into axum or any tower stack, or is served by [`serve()`].
//! - [`Socket`] is one client in one namespace; [`Space`] is a namespace at work; [`Broadcast`] is an event for many.
//! - Handlers are async functions whose arguments say what they need: [`Socket`], [`Data`], [`Args`], [`Ack`], [`State`], [`Space`].
//!
//! ```no_run
//! use unisono::{Data, Io, Namespace, Socket};
//!
//! async fn say(socket: Socket, Data(text): Data<String>) {
//!     // To everybody else, on every node.
//!     socket.broadcast().emit("said", &text).ok();
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let io = Io::builder().namespace(Namespace::new("/").on("say", say)).build();
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     unisono::serve(listener, io.service(), std::future::pending()).await
//! }
//! ```

mod ack;
mod acks;
mod broadcast;
mod bucket;
mod builder;
mod conn;
mod cors;
mod data;
mod dialect;
mod drain;
mod dynamic;
pub mod engine;
mod error;
mod event;
mod extract;
mod handler;
mod http;
mod ids;
mod io;
mod limits;
mod middleware;
mod namespace;
mod operations;
mod outgoing;
mod port;
mod prepared;
mod rooms;
mod seats;
mod serve;
mod server;
mod session;
mod slow;
mod socket;
mod space;
mod stats;
mod turnstile;

pub use self::ack::{Ack, AckError};
pub use self::acks::BroadcastAcks;
pub use self::broadcast::Broadcast;
pub use self::builder::Builder;
pub use self::conn::Handshake;
pub use self::cors::Cors;
pub use self::error::{ConnectError, EmitError};
pub use self::event::{Event, EventError};
pub use self::extract::{
    Args, ArgumentError, Auth, Data, DisconnectReason, FromCall, SocketData, State,
};
pub use self::handler::{Call, Handler};
pub use self::http::{
    Cookie, CookieError, HandshakeRequest, NotFound, PeerAddr, ResponseContext, SameSite,
    SocketIoLayer, SocketIoService,
};
pub use self::io::{Io, IoBuilder, SocketIo};
pub use self::namespace::Namespace;
pub use self::operations::RemoteSocket;
pub use self::prepared::{Expectation, Prepared, REVISION_KEY};
pub use self::rooms::{MAX_ROOM_NAME, RoomError};
pub use self::serve::serve;
pub use self::slow::{KeyOf, SlowReaders};
pub use self::socket::Socket;
pub use self::space::{Decision, Note, Space};
pub use self::stats::{LAG_BUCKETS_US, Refusal, Stats};

pub use ipnet::IpNet;
pub use unisono_cluster::{Broker, LinkState, LinkStats, MemoryBroker, MemoryBus};
pub use unisono_proto::Value;
pub use unisono_proto::engine::{Revision, Transport};
pub use unisono_proto::value::Binary;

/// The Rust code in the repository's documents: compiled, and run where it ends.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    mod readme {}

    #[doc = include_str!("../../../docs/api-from-node.md")]
    mod api_from_node {}
}
