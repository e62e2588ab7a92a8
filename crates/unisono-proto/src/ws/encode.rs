//! Messages to frames. Every message is one frame.

use super::{Opcode, mask};

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// Bytes in front of an unmasked payload of `len` bytes: 2, 4 or 10.
pub fn header_len(len: usize) -> usize {
    match len {
        0..126 => 2,
        126..65_536 => 4,
        _ => 10,
    }
}

/// Appends one whole unmasked frame, as a server sends it. A control frame's payload must not exceed 125 bytes:
/// what is beyond is left off.
pub fn encode(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    let payload = bounded(opcode, payload);
    out.reserve(header_len(payload.len()) + payload.len());
    header(opcode, payload.len(), 0, out);
    out.extend_from_slice(payload);
}

/// Appends one whole unmasked text frame, whose payload comes in pieces.
pub fn encode_text(pieces: &[&str], out: &mut Vec<u8>) {
    let len = pieces.iter().map(|piece| piece.len()).sum();
    out.reserve(header_len(len) + len);
    header(Opcode::Text, len, 0, out);
    for piece in pieces {
        out.extend_from_slice(piece.as_bytes());
    }
}

/// Appends one whole frame masked by `key`, as a client sends it. The key must be random (section 10.3). Control
/// payloads are bounded as by [`encode`].
pub fn encode_masked(opcode: Opcode, payload: &[u8], key: [u8; 4], out: &mut Vec<u8>) {
    let payload = bounded(opcode, payload);
    out.reserve(header_len(payload.len()) + key.len() + payload.len());
    header(opcode, payload.len(), MASKED, out);
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask::apply(&mut out[start..], key, 0);
}

/// Appends an unmasked close frame. A reason longer than 123 bytes is cut at a character's boundary.
pub fn encode_close(code: u16, reason: &str, out: &mut Vec<u8>) {
    const MAX_REASON: usize = crate::limits::MAX_CONTROL_PAYLOAD - 2;
    let reason = &reason[..reason.floor_char_boundary(MAX_REASON)];
    header(Opcode::Close, 2 + reason.len(), 0, out);
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

fn bounded(opcode: Opcode, payload: &[u8]) -> &[u8] {
    match opcode {
        Opcode::Close | Opcode::Ping | Opcode::Pong => {
            &payload[..payload.len().min(crate::limits::MAX_CONTROL_PAYLOAD)]
        }
        Opcode::Continuation | Opcode::Text | Opcode::Binary => payload,
    }
}

fn header(opcode: Opcode, len: usize, masked: u8, out: &mut Vec<u8>) {
    out.push(FIN | opcode as u8);
    match len {
        0..126 => out.push(masked | len as u8),
        126..65_536 => {
            out.push(masked | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}
