//! One client of plain Engine.IO, and what it says.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use unisono_proto::connection::CloseReason;

use crate::conn::{Conn, Handshake};
use crate::outgoing::Outgoing;

/// A session, for handlers and whoever else wants to tell its client something. Cheap to clone, and good for nothing once the session has
/// ended.
#[derive(Clone)]
pub struct EngineSocket {
    conn: Arc<Conn>,
}

/// A message of a session, in either direction: on a WebSocket a text frame that begins with `4`, or a binary frame of the bytes alone; in
/// long-polling a record that begins with `4`, or with `b` and the bytes in base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
}

/// The session has ended, or ends because its client does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session is closed")]
pub struct Closed;

impl EngineSocket {
    pub(crate) fn new(conn: Arc<Conn>) -> Self {
        Self { conn }
    }

    /// The session's id, 20 characters of base64url. It is a secret: who knows it can use the session.
    pub fn id(&self) -> &str {
        self.conn.sid.as_str()
    }

    /// The request that opened the session.
    pub fn handshake(&self) -> &Handshake {
        &self.conn.handshake
    }

    /// Queues a message for the client. Never waits: a client for which more than the [limits](crate::Builder::queue_limits) waits is closed.
    ///
    /// # Errors
    /// [`Closed`]: the client does not get it.
    pub fn send(&self, message: impl Into<Message>) -> Result<(), Closed> {
        let outgoing = match message.into() {
            Message::Text(text) => Outgoing::plain_text(&text),
            Message::Binary(bytes) => Outgoing::plain_bytes(&bytes),
        };
        match self.conn.push(outgoing) {
            true => {
                self.conn.counters.events_sent.fetch_add(1, Relaxed);
                Ok(())
            }
            false => Err(Closed),
        }
    }

    /// Ends the session once what was sent before is out. The close handler gets [`CloseReason::ForcedClose`].
    pub fn close(&self) {
        self.conn.close(CloseReason::ForcedClose);
    }
}

impl fmt::Debug for EngineSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineSocket")
            .field("id", &self.conn.sid)
            .finish_non_exhaustive()
    }
}

impl Message {
    /// Bytes of the text, or of the bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}
