//! A Socket.IO server whose nodes play in unison.
//!
//! Stock Socket.IO clients of versions 3 and 4 connect to it unchanged, those of version 2 where [`IoBuilder::allow_eio3`] lets
//! them. Given a broker, every event for a room crosses to the other nodes, Node.js pods with `@socket.io/redis-adapter` among them.
//!
//! It never lets the bus stand between two clients of one node: without it, a node serves its own clients. It never waits for a
//! client: what a client does not read is queued up to a limit, then the client is closed.
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
//!
//! # A tour
//!
//! **The server.** [`Io::builder`] takes settings ([`Builder`]) and namespaces; [`Io`] is what it builds. [`Io::layer`] puts it in front of
//! axum routes or any tower service, on the same port ([`SocketIoLayer`]); [`Io::service`] is for a port of its own. [`serve()`] is a
//! small HTTP server for both. [`Io::drain`] ends it so that clients come back to another node.
//!
//! **Namespaces.** A [`Namespace`] is a name and its handlers, before the server runs; a [`Space`] is a namespace at work, for whoever wants to
//! emit. [`Namespace::matching`] takes many names, each a namespace of its own while somebody is in it.
//!
//! **Handlers** are async functions whose arguments say what they need: [`Socket`], [`Space`], [`Data`], [`Args`], [`Event`], [`Ack`],
//! [`Auth`], [`SocketData`], [`State`], [`DisconnectReason`], [`LeftRooms`], or something of the application's own ([`FromCall`]). Of one socket they run one
//! after another, in the order of its events; other sockets and namespaces do not wait for them.
//!
//! **Before a handler.** [`Namespace::middleware`] decides who is let in; [`Namespace::packet_middleware`] sees, changes or drops events;
//! [`Namespace::on_error`] hears of those that were dropped, [`Namespace::on_fallback`] gets those that nobody handles.
//!
//! **Emitting.** [`Socket::emit`] tells one client. [`Space::to`], [`Socket::to`] and [`Space::broadcast`] give a [`Broadcast`] for the members of
//! rooms, narrowed down by [`except`](Broadcast::except) or [`local`](Broadcast::local), and made [`volatile`](Broadcast::volatile) or
//! [`ordered`](Broadcast::ordered). A tuple is several arguments, `()` none. [`Socket::join`] puts a socket into a room.
//!
//! **Answers.** [`Ack`] answers a client; [`Socket::emit_with_ack`] asks one, [`Broadcast::emit_with_ack`] asks many.
//!
//! **Binary.** Byte strings travel as attachments, wherever they stand: [`Binary`] in types of the application, [`Value::Bin`] in what came.
//!
//! ```
//! use unisono::{Binary, Data, Namespace, Socket};
//!
//! #[derive(serde::Deserialize, serde::Serialize)]
//! struct Picture {
//!     name: String,
//!     bytes: Binary,
//! }
//!
//! async fn share(socket: Socket, Data(picture): Data<Picture>) {
//!     println!("{}: {} bytes", picture.name, picture.bytes.0.len());
//!     socket.broadcast().emit("picture", &picture).ok();
//! }
//!
//! # drop(
//! Namespace::new("/").on("share", share)
//! # );
//! ```
//!
//! **Many sockets.** [`Broadcast::fetch_sockets`], [`Broadcast::sockets_join`], [`Broadcast::sockets_leave`] and
//! [`Broadcast::disconnect_sockets`], on all nodes. [`Socket::set_data`] keeps what the application knows of a socket.
//!
//! **Several nodes.** [`IoBuilder::broker`] joins them, through Redis with the crate `unisono-redis` or in one process with [`MemoryBus`].
//! [`LinkState`] says how the link is. [`Space::prepare`], [`Namespace::on_note`] and [`Space::conduct`] make a broadcast part of a commit in a
//! store.
//!
//! **Limits.** Each has a default and is a setting of [`Builder`]; [`SlowReaders`] says what becomes of events for clients that do not read.
//! Whatever is refused is counted by reason: [`Refusal`], in [`Stats`].
//!
//! **Below Socket.IO.** [`engine`] serves plain Engine.IO with the same settings.

mod ack;
mod acks;
mod broadcast;
mod bucket;
mod builder;
mod bus;
mod conn;
mod cors;
mod data;
mod date;
mod dialect;
mod drain;
mod dynamic;
pub mod engine;
mod error;
mod event;
mod extract;
mod following;
mod guard;
mod handler;
mod http;
mod ids;
mod io;
mod limits;
mod middleware;
mod namespace;
mod nodes;
mod operations;
mod outgoing;
mod port;
mod prepared;
mod requests;
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
    Args, ArgumentError, Auth, Data, DisconnectReason, FromCall, LeftRooms, SocketData, State,
};
pub use self::handler::{Call, Handler};
pub use self::http::{
    AnswerBody, Cookie, CookieError, HandshakeRequest, NotFound, PeerAddr, ResponseBody,
    ResponseContext, SameSite, SocketIoLayer, SocketIoService,
};
pub use self::io::{Io, IoBuilder, SocketIo};
pub use self::namespace::Namespace;
pub use self::nodes::{Gap, NodeInfo};
pub use self::prepared::{Expectation, Prepared, REVISION_KEY};
pub use self::requests::{
    Answers, Nodes, RemoteHandshake, RemoteSocket, ServerSide, ServerSideAck,
};
pub use self::rooms::{MAX_ROOM_NAME, RoomError};
pub use self::serve::{RequestBody, serve};
pub use self::slow::{KeyOf, SlowReaders};
pub use self::socket::Socket;
pub use self::space::{Decision, Note, Space};
pub use self::stats::{LAG_BUCKETS_US, Refusal, Stats};

pub use ::http::{HeaderMap, Method, StatusCode, Uri};
pub use bytes::Bytes;
pub use ipnet::IpNet;
pub use unisono_cluster::{
    Adapter, Broker, CountEachFuture, CountError, CountFuture, Inbox, LinkState, LinkStats,
    MemoryBroker, MemoryBus, NodeName, NodeStats, PublishError, Subscription, SubscriptionMode,
    Template, UnknownMode,
};
pub use unisono_proto::Value;
pub use unisono_proto::connection::CloseReason;
pub use unisono_proto::engine::{Revision, Transport};
pub use unisono_proto::socket::EncodeError;
pub use unisono_proto::value::{Binary, ValueError};

/// The Rust code in the repository's documents: compiled, and run where it ends.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    mod readme {}

    #[doc = include_str!("../../../docs/api-from-node.md")]
    mod api_from_node {}
}
