//! Engine.IO, protocol revision 4: sessions over HTTP long-polling or WebSocket.
//!
//! A packet is one type digit and its data: `0` open, `1` close, `2` ping, `3` pong, `4` message, `5` upgrade, `6`
//! noop. Over WebSocket each packet is one text frame, and binary data a bare binary frame. Over polling, packets are
//! joined by the byte 0x1e, and binary data is the letter `b` and base64.

mod admission;
mod open;
mod packet;
mod query;
mod sid;

pub use self::admission::{Admission, Method, Rejection, check};
pub use self::open::{Open, OpenError};
pub use self::packet::{
    DecodeError, Packet, Payload, SEPARATOR, decode, encode_payload, encode_record,
};
pub use self::query::{Query, Transport, pairs, parse_query};
pub use self::sid::Sid;
