//! What a client tells its shell and its user.

use bytes::Bytes;

use crate::Value;
use crate::limits::Limits;
use crate::socket::EncodeError;

/// How a client behaves.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The limits of what the server may send.
    pub limits: Limits,
    /// Milliseconds from the first [`Client::handle_timeout`](super::Client::handle_timeout) or message within which the open packet must come.
    pub open_timeout_ms: u64,
}

impl Default for Config {
    /// Default limits; 20 seconds to open, as the JavaScript client's `timeout`.
    fn default() -> Config {
        Config {
            limits: Limits::default(),
            open_timeout_ms: 20_000,
        }
    }
}

/// What the shell is to do next, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this text message.
    Text(String),
    /// Send this binary message.
    Binary(Bytes),
    /// Tell the user.
    Event(Event),
    /// Close the WebSocket; nothing follows.
    Close,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The session is open.
    Opened {
        /// The Engine.IO session id, a secret.
        sid: String,
    },
    /// The server let the client into a namespace.
    Connected {
        /// The namespace.
        nsp: String,
        /// The id of the client's socket there.
        sid: String,
    },
    /// The server refused the client in a namespace.
    ConnectError {
        /// The namespace.
        nsp: String,
        /// A map with `message` and maybe `data`, or a text.
        data: Value,
    },
    /// An event.
    Event {
        /// The namespace.
        nsp: String,
        /// The id to answer to with [`Client::ack`](super::Client::ack), if the server waits for an answer.
        id: Option<u64>,
        /// The event's name, then its arguments.
        args: Vec<Value>,
    },
    /// The answer to an event sent by [`Client::emit_with_ack`](super::Client::emit_with_ack); given once per id.
    Ack {
        /// The namespace.
        nsp: String,
        /// The id that [`Client::emit_with_ack`](super::Client::emit_with_ack) returned.
        id: u64,
        /// The answer.
        args: Vec<Value>,
    },
    /// The server made the client leave a namespace.
    Disconnected {
        /// The namespace.
        nsp: String,
    },
    /// The session is over, and with it every namespace.
    Closed(CloseReason),
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// [`Client::close`](super::Client::close) was called.
    #[error("closed by this side")]
    Local,
    /// The server sent an Engine.IO close packet.
    #[error("closed by the server")]
    Remote,
    /// The WebSocket ended ([`Client::handle_transport_closed`](super::Client::handle_transport_closed)).
    #[error("the transport closed")]
    Transport,
    /// No open packet came in time.
    #[error("the server did not open a session in time")]
    OpenTimeout,
    /// No ping came within interval and timeout.
    #[error("the server's ping is overdue")]
    PingTimeout,
    /// The server sent something that is not the protocol.
    #[error("the server broke the protocol")]
    Protocol,
}

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The session is over; make a new client.
    #[error("the session is over; make a new client")]
    Closed,
    /// The client is not in this namespace; connect to it first and await [`Event::Connected`].
    #[error("not in this namespace; connect to it first")]
    NotConnected,
    /// The client is in this namespace already, or has asked to be.
    #[error("connected to this namespace already")]
    AlreadyConnected,
    /// More than [`MAX_NAMESPACES`](crate::limits::MAX_NAMESPACES) namespaces.
    #[error("too many namespaces on one connection")]
    TooManyNamespaces,
    /// Credentials that are no map; a server would close the connection.
    #[error("credentials must be a map")]
    AuthNotAMap,
    /// More than [`MAX_PENDING_ACKS`](crate::limits::MAX_PENDING_ACKS) answers are awaited.
    #[error("too many answers are awaited")]
    TooManyAcks,
    /// The data cannot be sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}
