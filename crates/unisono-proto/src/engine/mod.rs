//! Engine.IO, protocol revision 4: sessions over HTTP long-polling or WebSocket. [`v3`] is where revision 3 differs.
//!
//! A packet is one type digit and its data: `0` open, `1` close, `2` ping, `3` pong, `4` message, `5` upgrade, `6`
//! noop. Over WebSocket each packet is one text frame, and binary data a bare binary frame. Over polling, packets are
//! joined by the byte 0x1e, and binary data is the letter `b` and base64.

mod admission;
pub mod jsonp;
mod open;
mod packet;
mod payload;
mod query;
mod revision;
mod sid;
pub mod v3;

pub use self::admission::{Admission, Method, Rejection, check};
pub use self::open::{Open, OpenError};
pub use self::packet::{DecodeError, Packet, SEPARATOR, decode, encode_payload, encode_record};
pub use self::payload::{Payload, PayloadDecoder, PayloadEncoding};
pub use self::query::{Query, Transport, pairs, parse_query};
pub use self::revision::Revision;
pub use self::sid::Sid;
