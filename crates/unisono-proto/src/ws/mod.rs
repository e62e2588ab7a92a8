//! WebSocket (RFC 6455): frames to messages and back, and the opening handshake.
//!
//! ```text
//!  0                   1                   2                   3
//! +-+-+-+-+-------+-+-------------+-------------------------------+
//! |F|R|R|R| opcode|M| length (7)  | length (16 or 64, if 126/127) |
//! +-+-+-+-+-------+-+-------------+-------------------------------+
//! | masking key, if M             | payload …                     |
//! +-------------------------------+-------------------------------+
//! ```
//!
//! No extension is ever negotiated, so the reserved bits must be zero.

mod decode;
mod encode;
mod handshake;
mod mask;

use std::borrow::Cow;

pub use self::decode::Decoder;
pub use self::encode::{encode, encode_close, encode_masked, encode_text, header_len};
pub use self::handshake::{ClientHandshake, HandshakeError, accept_key};

/// Which end of the connection this is. Clients mask what they send, servers do not (section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// This end accepted the connection: frames it receives are masked.
    Server,
    /// This end opened the connection: frames it receives are not masked.
    Client,
}

/// What a frame carries (section 5.2). The ten other values are reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A further part of a fragmented message.
    Continuation = 0,
    /// A text message, or its first part.
    Text = 1,
    /// A binary message, or its first part.
    Binary = 2,
    /// The last frame of a side.
    Close = 8,
    /// Asks for a pong with the same payload.
    Ping = 9,
    /// Answers a ping.
    Pong = 10,
}

/// What a [`Decoder`] found. Data is borrowed from the input where a whole frame lay in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// A text message.
    Text(Cow<'b, str>),
    /// A binary message.
    Binary(Cow<'b, [u8]>),
    /// A ping, to be answered by a pong with the same payload.
    Ping(Cow<'b, [u8]>),
    /// A pong.
    Pong(Cow<'b, [u8]>),
    /// The peer will send nothing more; its code, if it gave one.
    Close(Option<CloseCode>),
}

/// A close code that may appear on the wire: 1000–1003, 1007–1014 or 3000–4999 (section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// Normal closure.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// This end is going away, for example a server that shuts down.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// A text that is not UTF-8.
    pub const INVALID_DATA: CloseCode = CloseCode(1007);
    /// The peer broke a rule of the application.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// A message larger than this end takes.
    pub const TOO_BIG: CloseCode = CloseCode(1009);

    /// The code with this number, unless it is reserved.
    pub fn new(code: u16) -> Option<CloseCode> {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(CloseCode(code))
    }

    /// Its number.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// How a peer broke the protocol. The connection is to be closed with [`Error::close_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A reserved bit is set although no extension was negotiated.
    #[error("a reserved bit is set")]
    ReservedBits,
    /// An opcode that RFC 6455 does not define.
    #[error("a reserved opcode")]
    ReservedOpcode,
    /// A client frame without mask, or a server frame with one.
    #[error("a frame masked by the wrong side")]
    Masking,
    /// A close, ping or pong of more than 125 bytes, or in several frames.
    #[error("a control frame that is fragmented or longer than 125 bytes")]
    ControlFrame,
    /// A 64-bit length with its highest bit set.
    #[error("a frame length beyond 63 bits")]
    Length,
    /// A continuation without a beginning, or a new message inside an unfinished one.
    #[error("fragments out of sequence")]
    Fragmentation,
    /// More frames in one message than [`MAX_FRAGMENTS`](crate::limits::MAX_FRAGMENTS).
    #[error("a message of too many fragments")]
    TooManyFragments,
    /// A close frame with half a code or a reserved one.
    #[error("a close frame without a valid code")]
    CloseCode,
    /// A text message or close reason that is not UTF-8.
    #[error("a text that is not UTF-8")]
    Utf8,
    /// A message larger than the decoder takes.
    #[error("a message larger than the limit")]
    TooBig,
}

impl Error {
    /// The code to close the connection with: 1002, 1007 or 1009.
    pub fn close_code(self) -> CloseCode {
        match self {
            Error::Utf8 => CloseCode::INVALID_DATA,
            Error::TooBig => CloseCode::TOO_BIG,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}
