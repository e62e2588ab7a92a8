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
//! Where Node.js would crash, broadcast to everybody or send garbage, [`decode()`] refuses (see [`DecodeError`]). The sequence number is
//! always the last thing in a message of ours and the uid always the first, so that both can be read without decoding it.

mod channel;
mod decode;
mod encode;
mod error;

pub use channel::{Subscriptions, Target, channel, target_of_channel};
pub use decode::{Message, decode};
pub(crate) use decode::{peek_seq, peek_uid};
pub use encode::{Template, encode, encode_template};
pub use error::{DecodeError, EncodeError};

/// The channel prefix that the Node.js adapter and emitter use when not told otherwise.
pub const DEFAULT_PREFIX: &str = "socket.io";

/// The uid that emitters use; no node may be called so.
pub const EMITTER_UID: &str = "emitter";
