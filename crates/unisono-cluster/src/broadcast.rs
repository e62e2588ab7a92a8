//! One event on its way to the members of some rooms, on whichever node they are.

use bytes::Bytes;
use unisono_proto::Value;

/// An event and whom it is for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Broadcast {
    /// The event name (a string, or a number as JavaScript allows), then the arguments.
    pub args: Vec<Value>,
    /// Reaches members of any of these rooms; empty means everybody. "Nobody" cannot be said: send nothing instead.
    pub rooms: Vec<String>,
    /// Skips members of any of these rooms. Each node resolves them against its own rooms.
    pub except: Vec<String>,
    /// How to deliver it.
    pub flags: Flags,
    /// Our own part, which other implementations ignore.
    pub extension: Option<Extension>,
}

/// Whom something is for: members of any of `rooms` (empty means everybody) who are in none of `except`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// As [`Broadcast::rooms`].
    pub rooms: Vec<String>,
    /// As [`Broadcast::except`].
    pub except: Vec<String>,
}

/// How to deliver a broadcast.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Drop it for a client that cannot take it at this instant. Decided by the receiving node.
    pub volatile: bool,
    /// Whether the transport should compress it; `None` leaves it to the transport.
    pub compress: Option<bool>,
    /// How long to wait for acknowledgements, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// The emitter waits for one acknowledgement only.
    pub expect_single_response: bool,
    /// Only for members on this node: never published.
    pub local: bool,
}

/// What unisono nodes tell each other beside the event; Node.js pods ignore it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extension {
    /// Number of this message among those of its publisher in its namespace, from 1. Those at or above [`COMMIT_SEQ_BASE`] number
    /// commits, whose publication is up to a script, and say nothing about gaps.
    pub seq: u64,
    /// The publisher delivers it to its own members when it comes back, not before.
    pub ordered: bool,
    /// The revision of the state that this event tells of.
    pub revision: Option<u32>,
    /// Anything else the application wants to tell its other nodes.
    pub note: Option<Bytes>,
}

/// Sequence numbers from here on are those of commits: half of what a JavaScript number holds exactly.
pub const COMMIT_SEQ_BASE: u64 = 1 << 52;
