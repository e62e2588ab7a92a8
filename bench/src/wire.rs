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

/// The opening handshake of a client that goes straight to WebSocket, or of one that leaves the polling session `sid` for it.
pub fn upgrade_request(host: &str, sid: Option<&str>) -> Vec<u8> {
    let session = sid.map_or(String::new(), |sid| format!("&sid={sid}"));
    format!(
        "GET /socket.io/?EIO=4&transport=websocket{session} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// A GET of long-polling; without `sid` the one that opens a session.
pub fn poll_request(host: &str, sid: &str) -> Vec<u8> {
    let session = if sid.is_empty() {
        String::new()
    } else {
        format!("&sid={sid}")
    };
    format!(
        "GET /socket.io/?EIO=4&transport=polling{session} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n"
    )
    .into_bytes()
}

/// A POST of long-polling.
pub fn post_request(host: &str, sid: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain;charset=UTF-8\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A whole response at the front of a buffer.
#[derive(Debug, PartialEq)]
pub struct Response<'b> {
    /// 200 and so on.
    pub status: u16,
    /// What `Content-Length` announced.
    pub body: &'b [u8],
    /// Bytes of the buffer that the whole response takes.
    pub length: usize,
}

/// The first whole response of `input`, or `None` if there is none yet. Servers under test answer with `Content-Length`.
pub fn next_response(input: &[u8]) -> Option<Response<'_>> {
    let head_length = input.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&input[..head_length]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let body_length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(Some(0), |(_, value)| value.trim().parse::<usize>().ok())?;
    let length = head_length.checked_add(body_length)?;
    Some(Response {
        status,
        body: input.get(head_length..length)?,
        length,
    })
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

/// What stands before a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head {
    /// RFC 6455 opcode.
    pub opcode: u8,
    /// Bytes of the head itself.
    pub length: usize,
    /// Bytes of the payload behind it.
    pub payload: usize,
    /// The masking key, if the frame is masked.
    key: Option<[u8; 4]>,
}

/// The head at the front of `input`, or `None` if it has not arrived whole.
pub fn frame_head(input: &[u8]) -> Result<Option<Head>, FrameTooLong> {
    let [first, second, ..] = *input else {
        return Ok(None);
    };
    let (payload, key_at) = match second & 0x7f {
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
    if payload > MAX_FRAME as u64 {
        return Err(FrameTooLong);
    }
    let mut head = Head {
        opcode: first & 0x0f,
        length: key_at,
        payload: payload as usize,
        key: None,
    };
    if second & 0x80 != 0 {
        let Some(key) = input.get(key_at..key_at + 4) else {
            return Ok(None);
        };
        head.key = Some([key[0], key[1], key[2], key[3]]);
        head.length += key.len();
    }
    Ok(Some(head))
}

/// The first whole frame of `input`, or `None` if there is none yet.
pub fn next_frame(input: &mut [u8]) -> Result<Option<Frame<'_>>, FrameTooLong> {
    let Some(head) = frame_head(input)? else {
        return Ok(None);
    };
    let total = head.length + head.payload;
    if input.len() < total {
        return Ok(None);
    }
    let payload = &mut input[head.length..total];
    if let Some(key) = head.key {
        payload
            .iter_mut()
            .zip(key.iter().cycle())
            .for_each(|(byte, key)| *byte ^= key);
    }
    Ok(Some(Frame {
        opcode: head.opcode,
        payload,
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
    fn responses_come_back_whole() {
        let two = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: y\r\n\r\nokHTTP/1.1 400 Bad Request\r\n\r\n";
        let first = next_response(two).unwrap();
        assert_eq!((first.status, first.body), (200, &b"ok"[..]));
        let second = next_response(&two[first.length..]).unwrap();
        assert_eq!((second.status, second.body), (400, &b""[..]));
        assert_eq!(first.length + second.length, two.len());
        for cut in 0..first.length {
            assert_eq!(next_response(&two[..cut]), None, "{cut}");
        }
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
