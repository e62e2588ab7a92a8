//! Packets, and how polling joins them to a payload.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

/// What stands between the packets of a polling payload.
pub const SEPARATOR: char = '\u{1e}';

/// Takes base64 with or without padding, as Node does.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// One Engine.IO packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// The handshake, sent by the server first; its data is an [`Open`](super::Open) in JSON.
    Open(Cow<'a, str>),
    /// The session ends.
    Close,
    /// Asks for a pong; the data is `probe` on a WebSocket that is to take over from polling.
    Ping(Cow<'a, str>),
    /// Answers a ping with its data.
    Pong(Cow<'a, str>),
    /// A text for the layer above.
    Message(Cow<'a, str>),
    /// Bytes for the layer above.
    Binary(Cow<'a, [u8]>),
    /// The WebSocket takes over from polling.
    Upgrade,
    /// Nothing; releases a pending poll.
    Noop,
}

/// Why a text is not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The text is empty: not even a type.
    #[error("an empty packet")]
    Empty,
    /// The first character is not a packet type.
    #[error("an unknown packet type")]
    UnknownType,
    /// What follows `b` is not base64.
    #[error("binary data that is not base64")]
    Base64,
    /// A record of a polling payload is not UTF-8.
    #[error("a packet that is not UTF-8")]
    Utf8,
    /// The length in front of a packet (revision 3) is missing, not a number, or not the length of anything that follows: beyond the end,
    /// or in the middle of a character.
    #[error("a length that does not fit the payload")]
    Length,
    /// More packets in one payload than [`MAX_PAYLOAD_PACKETS`](crate::limits::MAX_PAYLOAD_PACKETS).
    #[error("too many packets in one payload")]
    TooManyPackets,
}

/// Reads one packet: a WebSocket text frame, or one record of a polling payload.
///
/// # Errors
/// See [`DecodeError`]; the session is to be closed with the reason `parse error`.
pub fn decode(text: &str) -> Result<Packet<'_>, DecodeError> {
    let mut chars = text.chars();
    let kind = chars.next().ok_or(DecodeError::Empty)?;
    let data = chars.as_str();
    Ok(match kind {
        '0' => Packet::Open(data.into()),
        '1' => Packet::Close,
        '2' => Packet::Ping(data.into()),
        '3' => Packet::Pong(data.into()),
        '4' => Packet::Message(data.into()),
        '5' => Packet::Upgrade,
        '6' => Packet::Noop,
        'b' => decode_base64(data)?,
        _ => return Err(DecodeError::UnknownType),
    })
}

/// Reads what is left of a binary packet that travels as text.
pub(super) fn decode_base64(data: &str) -> Result<Packet<'_>, DecodeError> {
    match LENIENT.decode(data) {
        Ok(bytes) => Ok(Packet::Binary(bytes.into())),
        Err(_) => Err(DecodeError::Base64),
    }
}

/// Appends one packet as text: a record of a polling payload, or a WebSocket text frame. (Over WebSocket
/// [`Packet::Binary`] travels as a bare binary frame instead, unless the client asked for `b64`.)
pub fn encode_record(packet: &Packet<'_>, out: &mut String) {
    let (kind, data) = match packet {
        Packet::Open(data) => ('0', &**data),
        Packet::Close => ('1', ""),
        Packet::Ping(data) => ('2', &**data),
        Packet::Pong(data) => ('3', &**data),
        Packet::Message(data) => ('4', &**data),
        Packet::Upgrade => ('5', ""),
        Packet::Noop => ('6', ""),
        Packet::Binary(bytes) => {
            out.push('b');
            STANDARD.encode_string(bytes, out);
            return;
        }
    };
    out.push(kind);
    out.push_str(data);
}

/// Appends packets as one polling payload.
pub fn encode_payload<'a>(packets: impl IntoIterator<Item = &'a Packet<'a>>, out: &mut String) {
    for (i, packet) in packets.into_iter().enumerate() {
        if i > 0 {
            out.push(SEPARATOR);
        }
        encode_record(packet, out);
    }
}
