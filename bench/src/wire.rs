//! The few bytes of WebSocket (RFC 6455) and Socket.IO that both ends of a benchmark need. Unfragmented text frames only.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// Appended to the client's key before hashing (RFC 6455, section 1.3).
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// A client must mask; the cost of unmasking does not depend on the key.
const MASK: [u8; 4] = [0x5a, 0x17, 0xc3, 0x81];
/// Largest frame accepted: a hundred times what a benchmark sends; a longer one means that the two ends have lost step.
pub const MAX_FRAME: usize = 128 * 1024;

/// Text frame.
pub const TEXT: u8 = 1;
/// Close frame.
pub const CLOSE: u8 = 8;

/// The answer to a `Sec-WebSocket-Key`.
pub fn accept_key(key: &[u8]) -> String {
    STANDARD.encode(
        Sha1::new()
            .chain_update(key)
            .chain_update(ACCEPT_SUFFIX)
            .finalize(),
    )
}

/// The opening handshake of a client that goes straight to WebSocket.
pub fn upgrade_request(host: &str) -> Vec<u8> {
    format!(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// Appends an unmasked text frame, as servers send it.
pub fn encode_server(text: &[u8], out: &mut Vec<u8>) {
    encode_header(text.len(), 0, out);
    out.extend_from_slice(text);
}

/// Appends a masked text frame, as clients send it.
pub fn encode_client(text: &[u8], out: &mut Vec<u8>) {
    encode_header(text.len(), 0x80, out);
    out.extend_from_slice(&MASK);
    out.extend(
        text.iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
}

fn encode_header(length: usize, mask_bit: u8, out: &mut Vec<u8>) {
    assert!(
        length <= MAX_FRAME,
        "a benchmark sends no frame of {length} bytes"
    );
    out.push(0x80 | TEXT);
    match length {
        0..=125 => out.push(mask_bit | length as u8),
        126..=0xffff => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// One frame at the front of a buffer, unmasked in place.
#[derive(Debug, PartialEq)]
pub struct Frame<'b> {
    /// RFC 6455 opcode.
    pub opcode: u8,
    /// Unmasked payload.
    pub payload: &'b [u8],
    /// Bytes of the buffer that the whole frame takes.
    pub length: usize,
}

/// The two ends no longer understand each other.
#[derive(Debug, PartialEq)]
pub struct FrameTooLong;

/// The first whole frame of `input`, or `None` if there is none yet.
pub fn next_frame(input: &mut [u8]) -> Result<Option<Frame<'_>>, FrameTooLong> {
    let [first, second, ..] = *input else {
        return Ok(None);
    };
    let (length, mut header) = match second & 0x7f {
        126 if input.len() >= 4 => (u64::from(u16::from_be_bytes([input[2], input[3]])), 4),
        127 if input.len() >= 10 => (
            input[2..10]
                .iter()
                .fold(0, |length, byte| length << 8 | u64::from(*byte)),
            10,
        ),
        126 | 127 => return Ok(None),
        length => (u64::from(length), 2),
    };
    if length > MAX_FRAME as u64 {
        return Err(FrameTooLong);
    }
    let masked = second & 0x80 != 0;
    let key_at = header;
    header += if masked { 4 } else { 0 };
    let total = header + length as usize;
    if input.len() < total {
        return Ok(None);
    }
    if masked {
        let key: [u8; 4] = std::array::from_fn(|index| input[key_at + index]);
        input[header..total]
            .iter_mut()
            .zip(key.iter().cycle())
            .for_each(|(byte, key)| *byte ^= key);
    }
    Ok(Some(Frame {
        opcode: first & 0x0f,
        payload: &input[header..total],
        length: total,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(length: usize) {
        let text: Vec<u8> = (0..length).map(|index| b'a' + (index % 26) as u8).collect();
        let (mut server, mut client) = (Vec::new(), Vec::new());
        encode_server(&text, &mut server);
        encode_client(&text, &mut client);
        assert_eq!(client.len(), server.len() + 4);
        for bytes in [&mut server, &mut client] {
            for cut in [0, 1, 2, 5, bytes.len() - 1] {
                assert_eq!(
                    next_frame(&mut bytes.clone()[..cut.min(length + 1)]),
                    Ok(None)
                );
            }
            let total = bytes.len();
            assert_eq!(
                next_frame(bytes),
                Ok(Some(Frame {
                    opcode: TEXT,
                    payload: &text,
                    length: total
                }))
            );
        }
    }

    #[test]
    fn frames_come_back_whole() {
        [0, 1, 125, 126, 0xffff, 0x1_0000]
            .into_iter()
            .for_each(check);
    }

    #[test]
    fn refuses_a_length_it_cannot_hold() {
        assert_eq!(
            next_frame(&mut [0x81, 127, 0xff, 0, 0, 0, 0, 0, 0, 0]),
            Err(FrameTooLong)
        );
    }

    #[test]
    fn accepts_the_key_of_the_specification() {
        assert_eq!(
            accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }
}
