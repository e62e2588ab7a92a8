//! What Engine.IO 3 writes otherwise than revision 4: binary data, and polling payloads.
//!
//! ```text
//! WebSocket   text frame    the packet, as in revision 4
//!             binary frame  04, then the bytes
//! polling     text body     <length>:<packet> …              length in UTF-16 code units; bytes are the packet `b4` and base64
//!             binary body   00|01 <digits> ff <packet> …     length in bytes, one byte of value 0 to 9 a digit;
//!                                                            00 is a text in UTF-8, 01 is 04 and then the bytes
//! ```
//!
//! Clients that cannot take binary bodies or frames say so with `b64` in the query, and get base64 everywhere.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::packet::{self, DecodeError, Packet};
use super::payload::PayloadEncoding;

/// The packet type in front of binary data: a message. Nothing else is ever binary.
pub const MESSAGE: u8 = 4;

/// Ends the length in a binary payload.
pub(super) const LENGTH_END: u8 = 0xff;

/// Most digits of a length. Ten count far beyond any body that is taken, and a search for their end is bounded by them.
pub(super) const MAX_LENGTH_DIGITS: usize = 10;

/// Reads one packet that is a text: a WebSocket text frame, or a record of a polling payload.
///
/// # Errors
/// See [`DecodeError`]; the session is to be closed with the reason `parse error`.
pub fn decode(text: &str) -> Result<Packet<'_>, DecodeError> {
    let Some(data) = text.strip_prefix('b') else {
        return packet::decode(text);
    };
    let data = data.strip_prefix('4').ok_or(DecodeError::UnknownType)?;
    packet::decode_base64(data)
}

/// Reads one packet that is binary: a WebSocket binary frame, or a record of a binary payload.
///
/// # Errors
/// [`DecodeError::Empty`], or [`DecodeError::UnknownType`] when it does not begin with [`MESSAGE`].
pub fn decode_binary(data: Cow<'_, [u8]>) -> Result<Packet<'_>, DecodeError> {
    match data.first() {
        None => Err(DecodeError::Empty),
        Some(&MESSAGE) => Ok(Packet::Binary(match data {
            Cow::Borrowed(data) => data[1..].into(),
            Cow::Owned(mut data) => {
                data.remove(0);
                data.into()
            }
        })),
        Some(_) => Err(DecodeError::UnknownType),
    }
}

/// Appends packets as one polling payload in the given encoding. (Of texts alone Node makes a text payload, whatever the client takes.)
pub fn encode_payload<'a>(
    packets: impl IntoIterator<Item = &'a Packet<'a>>,
    encoding: PayloadEncoding,
    out: &mut Vec<u8>,
) {
    let mut text = String::new();
    for packet in packets {
        if let Packet::Binary(data) = packet {
            encode_data(data, encoding, out);
        } else {
            text.clear();
            packet::encode_record(packet, &mut text);
            encode_text(&text, encoding, out);
        }
    }
}

/// Appends one record with a whole packet that is a text, its type digit included.
pub fn encode_text(packet: &str, encoding: PayloadEncoding, out: &mut Vec<u8>) {
    if encoding == PayloadEncoding::V3Binary {
        binary_head(0, packet.len(), out);
    } else {
        text_head(utf16_len(packet), out);
    }
    out.extend_from_slice(packet.as_bytes());
}

/// Appends one record with a message that is binary.
pub fn encode_data(data: &[u8], encoding: PayloadEncoding, out: &mut Vec<u8>) {
    if encoding == PayloadEncoding::V3Binary {
        binary_head(1, data.len() + 1, out);
        out.push(MESSAGE);
        out.extend_from_slice(data);
    } else {
        let base64 = STANDARD.encode(data);
        text_head(base64.len() + 2, out);
        out.extend_from_slice(b"b4");
        out.extend_from_slice(base64.as_bytes());
    }
}

fn text_head(len: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(len.to_string().as_bytes());
    out.push(b':');
}

fn binary_head(kind: u8, len: usize, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend(len.to_string().bytes().map(|digit| digit - b'0'));
    out.push(LENGTH_END);
}

/// Code units that JavaScript counts in a text: one for each character, two beyond the basic plane.
fn utf16_len(text: &str) -> usize {
    text.bytes().map(utf16_units).sum()
}

/// The code units that begin with this byte of UTF-8.
pub(super) fn utf16_units(byte: u8) -> usize {
    usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0)
}
