//! The classic adapter of `@socket.io/redis-adapter` 8, byte for byte.
//!
//! A broadcast is one `PUBLISH`. With `P` the channel prefix (default `socket.io`) and `N` the namespace with its leading slash:
//!
//! ```text
//! channel   P#N#          no target room, or several
//!           P#N#room#     exactly one target room, so that a node without it may skip the payload
//! payload   MessagePack   [uid, {"type": 2, "data": [event, args…], "nsp": N}, {"rooms": […], "except": […], "flags": {…}}]
//! ours      4th element   {"o": ordered, "r": revision, "n": note, "s": sequence number}, ignored by Node.js
//! ```
//!
//! Every node listens with one pattern, `P#N#*`. The room in the channel name is a hint only: `rooms` decides.
//!
//! Nodes also ask each other ([`Request`]) and answer ([`Answer`]), each a map, in JSON if its first byte is `{` and in MessagePack
//! otherwise. Node.js writes JSON except for a broadcast that wants acknowledgements (type 7) and those acknowledgements (type 9), and so
//! do we; either is read.
//!
//! ```text
//! P-request#N#        one for all: whoever is subscribed is counted by `PUBSUB NUMSUB` and must answer
//! P-response#N#       answers, for all nodes to hear
//! P-response#N#uid#   answers to the node that asked as `uid`, from nodes with `publishOnSpecificResponseChannel`
//! ```
//!
//! | type | request | fields | answers |
//! |---|---|---|---|
//! | 0 | ids of sockets | `uid`, `requestId`, `rooms` | `{requestId, sockets: [id]}` |
//! | 1 | all rooms | `uid`, `requestId` | `{requestId, rooms}` |
//! | 2, 3 | join, leave | `uid`, `opts: {rooms, except}`, `rooms` | none |
//! | 4 | disconnect | `uid`, `opts`, `close` | none |
//! | 2, 3, 4 | the same before version 8 | `uid`, `requestId`, `sid`, `room` or `close` | `{requestId}`, from the node that has the socket |
//! | 5 | sockets | `uid`, `requestId`, `opts` | `{requestId, sockets: [{id, handshake, rooms, data}]}` |
//! | 6 | an event for the nodes themselves | `uid`, `data`, and `requestId` if answers are wanted | `{type: 6, requestId, data}` |
//! | 7 | a broadcast that wants acknowledgements | `uid`, `requestId`, `packet`, `opts` | one `{type: 8, requestId, clientCount}`, then `{type: 9, requestId, packet}` for each acknowledgement |
//!
//! Of an acknowledgement only the first argument travels. An answer of ours says whose it is, as `from`: the name under which that server
//! asks. Node.js ignores it, and its own answers do not say.
//!
//! Servers of unisono also tell each other that they live, on `P-members`, to which no Node.js pod listens ([`Beat`]).
//!
//! Where Node.js would crash, broadcast to everybody or send garbage, [`decode()`] refuses (see [`DecodeError`]). The sequence number is
//! always the last thing in a message of ours and the uid always the first, so that both can be read without decoding it.

mod answer;
mod beat;
pub(crate) mod body;
mod channel;
mod decode;
pub(crate) mod encode;
mod error;
pub(crate) mod request;
mod sockets;

pub use answer::{Answer, AnswerBody, decode_answer, encode_answer};
pub use beat::{Beat, Identity, Published, decode_beat, encode_beat, members_channel};
pub use channel::{
    Subscriptions, Target, channel, private_response_channel, request_channel, response_channel,
    target_of_channel,
};
pub use decode::{Message, decode};
pub(crate) use decode::{peek_seq, peek_uid};
pub use encode::{Template, encode, encode_template};
pub use error::{DecodeError, EncodeError, RequestError};
pub use request::{
    Change, RESERVED_SERVER_SIDE, Request, RequestBody, decode_request, encode_request,
};
pub use sockets::SocketsAnswer;

/// The channel prefix that the Node.js adapter and emitter use when not told otherwise.
pub const DEFAULT_PREFIX: &str = "socket.io";

/// The uid that emitters use; no node may be called so.
pub const EMITTER_UID: &str = "emitter";
