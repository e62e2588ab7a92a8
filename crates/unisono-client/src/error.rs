//! What can go wrong.

use std::io;

use unisono_proto::Value;
use unisono_proto::client::{CloseReason, CommandError};
use unisono_proto::value::ValueError;
use unisono_proto::ws::HandshakeError;

/// Why a URL cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// `https` or `wss`.
    #[error(
        "TLS is not supported by this client yet: use http:// or ws://, on the server's side of the TLS proxy"
    )]
    Tls,
    /// Any other scheme, or none.
    #[error("the URL must begin with http:// or ws://")]
    Scheme,
    /// No host, or a port that is not a number up to 65535.
    #[error("the URL must name a host, and a port from 1 to 65535 if any: http://host:port")]
    Authority,
    /// A user name or password, which this client does not send.
    #[error("the URL must not hold a user name or password: use a header or the auth option")]
    Credentials,
    /// A path: stock clients take it for the namespace, so that it would be ambiguous.
    #[error("the URL must not have a path: use the namespace option, or the path option")]
    Path,
}

/// Why a connection did not come about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL cannot be used.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// No TCP connection, or it broke.
    #[error("cannot reach the server")]
    Io(#[from] io::Error),
    /// Not done within the connect timeout.
    #[error("the server did not answer in time")]
    Timeout,
    /// The server did not become a WebSocket.
    #[error("no WebSocket: {0}")]
    Handshake(#[from] HandshakeError),
    /// The session ended before the namespace answered.
    #[error("the session ended: {0}")]
    Closed(CloseReason),
    /// The namespace refused this client.
    #[error("refused by the server: {message}")]
    Refused {
        /// The server's reason.
        message: String,
        /// What it attached, or null.
        data: Value,
    },
    /// The namespace or the credentials cannot be sent.
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl ConnectError {
    /// Could the same attempt succeed later, when a server has started or has room again?
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Io(_) | Self::Timeout | Self::Closed(_) => true,
            // A proxy without a backend, or a server that drains.
            Self::Handshake(HandshakeError::Status(status)) => *status >= 500,
            Self::Handshake(_) | Self::Url(_) | Self::Refused { .. } | Self::Command(_) => false,
        }
    }
}

/// Why an event was not sent, or not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// The arguments cannot be turned into Socket.IO values.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// The event cannot be sent.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The session is over.
    #[error("the session is over; connect again")]
    Closed,
    /// No acknowledgement in time. The server may have handled the event all the same.
    #[error("no acknowledgement in time")]
    Timeout,
}
