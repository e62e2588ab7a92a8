//! Socket.IO, protocol revision 5: packets of namespaces, inside Engine.IO messages.
//!
//! ```text
//! <type>[<attachments>-][<namespace>,][<ack id>][<JSON>]
//! ```
//!
//! Types are `0` connect, `1` disconnect, `2` event, `3` ack, `4` connect error, `5` binary event and `6` binary ack.
//! The namespace `/` is left out. A binary packet is followed by its attachments, one binary message each, and by
//! nothing else in between.

mod decode;
mod encode;

use crate::Value;

pub use self::decode::{DecodeError, Decoder};
pub use self::encode::{EncodeError, Encoded, encode, encode_ack, encode_connected, encode_event};

/// Event names that Socket.IO keeps for itself: a peer that sends one breaks the protocol.
pub const RESERVED_EVENTS: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

/// One Socket.IO packet. Events and acks that hold [`Value::Bin`] are the binary ones.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet {
    /// A client asks to join a namespace, with its credentials; or a server grants it, with the socket's id.
    Connect {
        /// The namespace.
        nsp: String,
        /// A map, if given.
        data: Option<Value>,
    },
    /// A side leaves a namespace.
    Disconnect {
        /// The namespace.
        nsp: String,
    },
    /// An event.
    Event {
        /// The namespace.
        nsp: String,
        /// The id under which the sender waits for an ack.
        id: Option<u64>,
        /// The event's name (a text or number), then its arguments; empty if the packet had no payload at all,
        /// which is tolerated and means nothing.
        args: Vec<Value>,
    },
    /// The answer to an event.
    Ack {
        /// The namespace.
        nsp: String,
        /// The event's id.
        id: u64,
        /// The answer.
        args: Vec<Value>,
    },
    /// A server refuses a client in a namespace.
    ConnectError {
        /// The namespace.
        nsp: String,
        /// A map with `message` and maybe `data`, or a text; null if not given.
        data: Value,
    },
}

impl Packet {
    /// The namespace that the packet belongs to.
    pub fn nsp(&self) -> &str {
        match self {
            Packet::Connect { nsp, .. }
            | Packet::Disconnect { nsp }
            | Packet::Event { nsp, .. }
            | Packet::Ack { nsp, .. }
            | Packet::ConnectError { nsp, .. } => nsp,
        }
    }
}

/// Why a value cannot be the name of an event.
enum BadName {
    /// Not a text or finite number.
    Kind,
    /// One of [`RESERVED_EVENTS`].
    Reserved,
}

/// Checks the first argument of an event, as receivers do.
fn check_name(args: &[Value]) -> Result<(), BadName> {
    match args.first() {
        Some(Value::Str(name)) if RESERVED_EVENTS.contains(&name.as_str()) => {
            Err(BadName::Reserved)
        }
        Some(Value::Str(_) | Value::Int(_)) => Ok(()),
        // An infinity would be sent on as null, which is no name.
        Some(Value::Float(number)) if number.is_finite() => Ok(()),
        _ => Err(BadName::Kind),
    }
}
