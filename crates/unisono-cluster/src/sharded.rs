//! The sharded adapter of `@socket.io/redis-adapter` 8.
//!
//! Everything is one `SPUBLISH` of a map. With `P` the channel prefix (default `socket.io`) and `N` the namespace with its leading slash:
//!
//! ```text
//! P#N#        everything that is not listed below; whoever is subscribed is counted by `PUBSUB SHARDNUMSUB` and must answer
//! P#N#uid#    answers to the node that asked as `uid`
//! P#N#room#   in the modes that have it (see SubscriptionMode): a broadcast to exactly this room that wants no acknowledgements
//! ```
//!
//! ```text
//! {"type": 3, "data": {"packet": {"type": 2, "data": [event, args…]}, "opts": {"rooms": […], "except": […], "flags": {…}}},
//!  "unisono": {"o": ordered, "r": revision, "n": note, "s": sequence number},  (ours, ignored by Node.js)
//!  "uid": "f80004f8d68c26c6", "nsp": N}
//! ```
//!
//! | type | is | data | answers |
//! |---|---|---|---|
//! | 3 | a broadcast | `packet`, `opts` | none |
//! | 3 | one that wants acknowledgements | the same, and `requestId` | one 11, then 12 for each acknowledgement |
//! | 4, 5 | join, leave | `opts`, `rooms` | none |
//! | 6 | disconnect | `opts`, `close` | none |
//! | 7 | sockets | `opts`, `requestId` | 8: `requestId`, `sockets: [{id, handshake, rooms, data}]` |
//! | 9 | an event for the nodes themselves | `packet`, and `requestId` if answers are wanted | 10: `requestId`, `packet` |
//! | 11 | how many clients were asked | `requestId`, `clientCount` | |
//! | 12 | an acknowledgement | `requestId`, `packet` | |
//!
//! Node.js writes MessagePack where `data` holds binary and JSON otherwise, and takes either for anything by its first byte. So do we; but
//! lists of sockets, and messages whose revision a script puts in, are always MessagePack.
//!
//! Everybody drops their own messages by `uid`, so whoever tells others to move or end sockets does it here by itself. Where Node.js would
//! crash, [`decode()`] refuses, and also where it would take a target that cannot be read for everybody.
//!
//! An ordered broadcast, and a commit, goes on `P#N#` whatever its rooms: order is kept by Redis within one channel only. Only messages on
//! `P#N#` have sequence numbers of their own, because a node does not hear all of the others.

mod channel;
mod decode;
mod encode;
mod followed;
mod sink;
mod sockets;
mod tail;

pub use channel::{channel, main_channel, private_channel, room_apart, target_of_channel};
pub use decode::{Body, Message, decode};
pub use encode::{encode, encode_answer, encode_request, encode_template};
pub use followed::Followed;
pub use sockets::SocketsAnswer;
pub(crate) use tail::{Tail, seq_of};

const BROADCAST: i64 = 3;
const SOCKETS_JOIN: i64 = 4;
const SOCKETS_LEAVE: i64 = 5;
const DISCONNECT_SOCKETS: i64 = 6;
const FETCH_SOCKETS: i64 = 7;
const FETCH_SOCKETS_RESPONSE: i64 = 8;
const SERVER_SIDE_EMIT: i64 = 9;
const SERVER_SIDE_EMIT_RESPONSE: i64 = 10;
const BROADCAST_CLIENT_COUNT: i64 = 11;
const BROADCAST_ACK: i64 = 12;

/// The key of our own part of a message.
const EXTENSION: &str = "unisono";

/// Levels around the arguments of an event: the message, its data, the packet. Those of an event itself are counted from its list on.
const LEVELS: usize = 3;
