//! The rules of RFC 6455 for what a client may send, each against the running server.
//!
//! The texts are packets that the server echoes, so that a row shows whether the message has got through.

use unisono_proto::ws::{self, Opcode};

use super::arena::check;
use super::attack::outcome;
use super::websocket::frame;
use super::{Arena, Attack, HARMLESS, Row, row};
use crate::raw::RawSocket;

use Attack::{Frames, Text};
use Piece::{B, Echo, F, Wide};

/// Part of what is sent.
pub(crate) enum Piece {
    /// A masked frame: its first byte, its payload.
    F(u8, &'static [u8]),
    /// Bytes as they are.
    B(&'static [u8]),
    /// A text of this length that is echoed.
    Echo(usize),
    /// A masked text frame whose length is spelt in eight bytes although two or none would do.
    Wide(&'static [u8]),
}

impl Piece {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            F(first, payload) => frame(*first, payload),
            B(bytes) => bytes.to_vec(),
            Echo(len) => {
                let text = format!("42[\"message\",\"{}\"]", "x".repeat(len - 16));
                let mut bytes = Vec::new();
                ws::encode_masked(Opcode::Text, text.as_bytes(), [7; 4], &mut bytes);
                bytes
            }
            Wide(text) => {
                let mut bytes = vec![0x81, 0xff];
                bytes.extend((text.len() as u64).to_be_bytes());
                bytes.extend([0; 4]);
                bytes.extend_from_slice(text);
                bytes
            }
        }
    }
}

const FRAME: (&str, u64) = ("frame", 1);
const TOO_LARGE: (&str, u64) = ("too_large", 1);
/// Three ways to send it.
const THRICE: (&str, u64) = ("frame", 3);

const ECHO: &[u8] = b"42[\"message\",1]";
const ECHOED: &str = "42[\"message-back\",1], served";
const LONG: &str = "42[\"message-back\",\"xxxxxxxx…, served";

#[rustfmt::skip]
pub(super) const FRAMES: &[Row] = &[
    row("5.1", "a text without mask", "close 1002", FRAME, Frames(&[B(b"\x81\x01\x33")])),
    row("5.1", "a ping without mask", "close 1002", FRAME, Frames(&[B(b"\x89\x00")])),
    row("5.1", "a close without mask", "close 1002", FRAME, Frames(&[B(b"\x88\x00")])),
    row("5.2", "RSV1 on a text", "close 1002", FRAME, Frames(&[F(0xc1, b"3")])),
    row("5.2", "RSV2 on a text", "close 1002", FRAME, Frames(&[F(0xa1, b"3")])),
    row("5.2", "RSV3 on a text", "close 1002", FRAME, Frames(&[F(0x91, b"3")])),
    row("5.2", "all three on a binary message", "close 1002", FRAME, Frames(&[F(0xf2, b"3")])),
    row("5.2", "RSV1 on a ping", "close 1002", FRAME, Frames(&[F(0xc9, b"")])),
    row("5.2", "RSV1 on a continuation", "close 1002", FRAME, Frames(&[F(0x01, b"3"), F(0xc0, b"")])),
    row("5.2", "opcode 3", "close 1002", FRAME, Frames(&[F(0x83, b"")])),
    row("5.2", "opcode 4", "close 1002", FRAME, Frames(&[F(0x84, b"")])),
    row("5.2", "opcode 5", "close 1002", FRAME, Frames(&[F(0x85, b"")])),
    row("5.2", "opcode 6", "close 1002", FRAME, Frames(&[F(0x86, b"")])),
    row("5.2", "opcode 7", "close 1002", FRAME, Frames(&[F(0x87, b"")])),
    row("5.2", "opcode 11", "close 1002", FRAME, Frames(&[F(0x8b, b"")])),
    row("5.2", "opcode 12", "close 1002", FRAME, Frames(&[F(0x8c, b"")])),
    row("5.2", "opcode 13", "close 1002", FRAME, Frames(&[F(0x8d, b"")])),
    row("5.2", "opcode 14", "close 1002", FRAME, Frames(&[F(0x8e, b"")])),
    row("5.2", "opcode 15", "close 1002", FRAME, Frames(&[F(0x8f, b"")])),
    row("5.2", "a reserved opcode within a fragmented message", "close 1002", FRAME, Frames(&[F(0x01, b"3"), F(0x03, b"")])),
    row("5.2", "a length of 125, in the header's second byte", LONG, HARMLESS, Frames(&[Echo(125)])),
    row("5.2", "a length of 126, in two bytes", LONG, HARMLESS, Frames(&[Echo(126)])),
    row("5.2", "a length of 65,535, in two bytes", LONG, HARMLESS, Frames(&[Echo(65_535)])),
    row("5.2", "a length of 65,536, in eight bytes", LONG, HARMLESS, Frames(&[Echo(65_536)])),
    row("5.2", "a short length in eight bytes: the sender should not, the receiver may", ECHOED, HARMLESS, Frames(&[Wide(ECHO)])),
    row("5.2", "a length with the highest of its 64 bits", "close 1002", FRAME, Frames(&[B(b"\x81\xff\x80\0\0\0\0\0\0\0\0\0\0\0")])),
    row("5.2", "a length with the second highest", "close 1009", TOO_LARGE, Frames(&[B(b"\x81\xff\x40\0\0\0\0\0\0\0\0\0\0\0")])),
    row("5.3", "a mask of zeros", ECHOED, HARMLESS, Frames(&[B(b"\x81\x8f\0\0\0\x0042[\"message\",1]")])),
    row("5.4", "a message in three frames", ECHOED, HARMLESS, Frames(&[F(0x01, b"42["), F(0x00, b"\"message\""), F(0x80, b",1]")])),
    row("5.4", "empty frames before, between and after", ECHOED, HARMLESS, Frames(&[F(0x01, b""), F(0x00, b"42[\"mess"), F(0x00, b""), F(0x00, b"age\",1]"), F(0x80, b"")])),
    row("5.4", "a ping between two fragments", "pong of 4, 42[\"message-back\",1], served", HARMLESS, Frames(&[F(0x01, b"42[\"mess"), F(0x89, b"ping"), F(0x80, b"age\",1]")])),
    row("5.4", "a pong between two fragments", ECHOED, HARMLESS, Frames(&[F(0x01, b"42[\"mess"), F(0x8a, b"pong"), F(0x80, b"age\",1]")])),
    row("5.4", "a close between two fragments", "close 1000", HARMLESS, Frames(&[F(0x01, b"42[\"mess"), F(0x88, b"\x03\xe8"), F(0x80, b"age\",1]")])),
    row("5.4", "a continuation of nothing", "close 1002", FRAME, Frames(&[F(0x80, b"3")])),
    row("5.4", "a continuation of nothing that is not the last", "close 1002", FRAME, Frames(&[F(0x00, b"3")])),
    row("5.4", "a continuation behind the last", "close 1002", FRAME, Frames(&[F(0x01, b""), F(0x80, b"3"), F(0x80, b"3")])),
    row("5.4", "a text within a fragmented text", "close 1002", FRAME, Frames(&[F(0x01, b"3"), F(0x81, b"3")])),
    row("5.4", "bytes within a fragmented text", "close 1002", FRAME, Frames(&[F(0x01, b"3"), F(0x82, b"3")])),
    row("5.4", "a second beginning", "close 1002", FRAME, Frames(&[F(0x01, b"3"), F(0x01, b"3")])),
    row("5.5", "a ping of 125 bytes", "pong of 125, served", HARMLESS, Frames(&[F(0x89, &[b'x'; 125])])),
    row("5.5", "a ping of 126 bytes", "close 1002", FRAME, Frames(&[B(b"\x89\xfe\0\x7e\0\0\0\0")])),
    row("5.5", "a pong of 126 bytes", "close 1002", FRAME, Frames(&[B(b"\x8a\xfe\0\x7e\0\0\0\0")])),
    row("5.5", "a close of 126 bytes", "close 1002", FRAME, Frames(&[B(b"\x88\xfe\0\x7e\0\0\0\0")])),
    row("5.5", "a ping of a length in eight bytes", "close 1002", FRAME, Frames(&[B(b"\x89\xff\0\0\0\0\0\0\0\x01\0\0\0\0x")])),
    row("5.5", "a ping in fragments", "close 1002", FRAME, Frames(&[F(0x09, b"a"), F(0x80, b"b")])),
    row("5.5", "a pong in fragments", "close 1002", FRAME, Frames(&[F(0x0a, b"a"), F(0x80, b"b")])),
    row("5.5", "a close in fragments", "close 1002", FRAME, Frames(&[F(0x08, b"\x03"), F(0x80, b"\xe8")])),
    row("5.5.1", "a close without code", "close", HARMLESS, Frames(&[F(0x88, b"")])),
    row("5.5.1", "a close of one byte", "close 1002", FRAME, Frames(&[F(0x88, b"\x03")])),
    row("5.5.1", "a close with the longest reason", "close 1000", HARMLESS, Frames(&[F(0x88, b"\x03\xe8\
        012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012")])),
    row("5.5.1", "a reason that is not UTF-8", "close 1007", FRAME, Frames(&[F(0x88, b"\x03\xe8\xff")])),
    row("5.5.1", "a reason that ends within a character", "close 1007", FRAME, Frames(&[F(0x88, b"\x03\xe8\xe2\x82")])),
    row("5.5.1", "a message behind the close is not read", "close 1000", HARMLESS, Frames(&[F(0x88, b"\x03\xe8"), F(0x81, ECHO)])),
    row("5.5.1", "rubbish behind the close is not read", "close 1000", HARMLESS, Frames(&[F(0x88, b"\x03\xe8"), B(b"\xff\xff\xff\xff")])),
    row("5.5.1", "a second close", "close 1000", HARMLESS, Frames(&[F(0x88, b"\x03\xe8"), F(0x88, b"\x03\xe9")])),
    row("5.5.2", "a ping without payload", "pong of 0, served", HARMLESS, Frames(&[F(0x89, b"")])),
    row("5.5.2", "a ping behind the close gets no pong", "close 1000", HARMLESS, Frames(&[F(0x88, b"\x03\xe8"), F(0x89, b"")])),
    row("5.5.3", "a pong that nobody asked for", "served", HARMLESS, Frames(&[F(0x8a, b"here I am")])),
    row("7.4.1", "1000", "close 1000", HARMLESS, Frames(&[F(0x88, b"\x03\xe8")])),
    row("7.4.1", "1001", "close 1001", HARMLESS, Frames(&[F(0x88, b"\x03\xe9")])),
    row("7.4.1", "1002", "close 1002", HARMLESS, Frames(&[F(0x88, b"\x03\xea")])),
    row("7.4.1", "1003", "close 1003", HARMLESS, Frames(&[F(0x88, b"\x03\xeb")])),
    row("7.4.1", "1004, reserved", "close 1002", FRAME, Frames(&[F(0x88, b"\x03\xec")])),
    row("7.4.1", "1005, never sent", "close 1002", FRAME, Frames(&[F(0x88, b"\x03\xed")])),
    row("7.4.1", "1006, never sent", "close 1002", FRAME, Frames(&[F(0x88, b"\x03\xee")])),
    row("7.4.1", "1007", "close 1007", HARMLESS, Frames(&[F(0x88, b"\x03\xef")])),
    row("7.4.1", "1011", "close 1011", HARMLESS, Frames(&[F(0x88, b"\x03\xf3")])),
    row("7.4.1", "1014, registered later", "close 1014", HARMLESS, Frames(&[F(0x88, b"\x03\xf6")])),
    row("7.4.1", "1015, never sent", "close 1002", FRAME, Frames(&[F(0x88, b"\x03\xf7")])),
    row("7.4.2", "0", "close 1002", FRAME, Frames(&[F(0x88, b"\0\0")])),
    row("7.4.2", "999", "close 1002", FRAME, Frames(&[F(0x88, b"\x03\xe7")])),
    row("7.4.2", "1016", "close 1002", FRAME, Frames(&[F(0x88, b"\x03\xf8")])),
    row("7.4.2", "2000", "close 1002", FRAME, Frames(&[F(0x88, b"\x07\xd0")])),
    row("7.4.2", "2999", "close 1002", FRAME, Frames(&[F(0x88, b"\x0b\xb7")])),
    row("7.4.2", "3000", "close 3000", HARMLESS, Frames(&[F(0x88, b"\x0b\xb8")])),
    row("7.4.2", "3999", "close 3999", HARMLESS, Frames(&[F(0x88, b"\x0f\x9f")])),
    row("7.4.2", "4000", "close 4000", HARMLESS, Frames(&[F(0x88, b"\x0f\xa0")])),
    row("7.4.2", "4999", "close 4999", HARMLESS, Frames(&[F(0x88, b"\x13\x87")])),
    row("7.4.2", "5000", "close 1002", FRAME, Frames(&[F(0x88, b"\x13\x88")])),
    row("7.4.2", "65,535", "close 1002", FRAME, Frames(&[F(0x88, b"\xff\xff")])),
];

/// Section 8.1. Each is sent in one frame, in frames of one byte, and in segments of one byte.
#[rustfmt::skip]
pub(super) const TEXTS: &[Row] = &[
    row("8.1", "U+0000 as an escape, U+0001 bare", "close", ("packet", 3), Text(b"\\u0000\x01")),
    row("8.1", "U+00E9, two bytes", "echo, served", HARMLESS, Text("é".as_bytes())),
    row("8.1", "U+0080, the first of two bytes", "echo, served", HARMLESS, Text(b"\xc2\x80")),
    row("8.1", "U+0800, the first of three bytes", "echo, served", HARMLESS, Text(b"\xe0\xa0\x80")),
    row("8.1", "U+D7FF, before the surrogates", "echo, served", HARMLESS, Text(b"\xed\x9f\xbf")),
    row("8.1", "U+E000, behind them", "echo, served", HARMLESS, Text(b"\xee\x80\x80")),
    row("8.1", "U+FFFF, no character and yet legal", "echo, served", HARMLESS, Text(b"\xef\xbf\xbf")),
    row("8.1", "U+10000, the first of four bytes", "echo, served", HARMLESS, Text(b"\xf0\x90\x80\x80")),
    row("8.1", "U+10FFFF, the last", "echo, served", HARMLESS, Text(b"\xf4\x8f\xbf\xbf")),
    row("8.1", "a lone continuation byte, 80", "close 1007", THRICE, Text(b"\x80")),
    row("8.1", "a lone continuation byte, BF", "close 1007", THRICE, Text(b"\xbf")),
    row("8.1", "a first byte of two, alone", "close 1007", THRICE, Text(b"\xc3")),
    row("8.1", "two bytes of three", "close 1007", THRICE, Text(b"\xe2\x82")),
    row("8.1", "three bytes of four", "close 1007", THRICE, Text(b"\xf0\x9f\x98")),
    row("8.1", "a character that another interrupts", "close 1007", THRICE, Text(b"\xe2\x41\x82\xac")),
    row("8.1", "an ASCII byte where a continuation belongs", "close 1007", THRICE, Text(b"\xc3\x28")),
    row("8.1", "an overlong slash in two bytes, C0 AF", "close 1007", THRICE, Text(b"\xc0\xaf")),
    row("8.1", "an overlong slash in three bytes", "close 1007", THRICE, Text(b"\xe0\x80\xaf")),
    row("8.1", "an overlong slash in four bytes", "close 1007", THRICE, Text(b"\xf0\x80\x80\xaf")),
    row("8.1", "an overlong NUL, C0 80", "close 1007", THRICE, Text(b"\xc0\x80")),
    row("8.1", "the largest overlong of two bytes, C1 BF", "close 1007", THRICE, Text(b"\xc1\xbf")),
    row("8.1", "the largest overlong of three bytes", "close 1007", THRICE, Text(b"\xe0\x9f\xbf")),
    row("8.1", "the largest overlong of four bytes", "close 1007", THRICE, Text(b"\xf0\x8f\xbf\xbf")),
    row("8.1", "a high surrogate, U+D800", "close 1007", THRICE, Text(b"\xed\xa0\x80")),
    row("8.1", "a low surrogate, U+DFFF", "close 1007", THRICE, Text(b"\xed\xbf\xbf")),
    row("8.1", "a pair of surrogates", "close 1007", THRICE, Text(b"\xed\xa0\xbd\xed\xb8\x80")),
    row("8.1", "U+110000, beyond the last", "close 1007", THRICE, Text(b"\xf4\x90\x80\x80")),
    row("8.1", "a first byte of five", "close 1007", THRICE, Text(b"\xf8\x88\x80\x80\x80")),
    row("8.1", "a first byte of six", "close 1007", THRICE, Text(b"\xfc\x84\x80\x80\x80\x80")),
    row("8.1", "FE", "close 1007", THRICE, Text(b"\xfe")),
    row("8.1", "FF", "close 1007", THRICE, Text(b"\xff")),
];

#[tokio::test]
async fn frames() {
    check(&Arena::with(|io| io).await, FRAMES).await;
}

#[tokio::test]
async fn texts() {
    check(&Arena::with(|io| io).await, TEXTS).await;
}

/// What a text with `bytes` in it leads to, the same in every way it can be cut.
pub(super) async fn text(port: u16, bytes: &[u8]) -> String {
    let text = [b"42[\"message\",\"", bytes, b"\"]"].concat();
    let whole = frame(0x81, &text);
    let last = text.len() - 1;
    let fragments = text.iter().enumerate().flat_map(|(index, byte)| {
        let first = u8::from(index == 0) | u8::from(index == last) << 7;
        frame(first, &[*byte])
    });
    let fragments: Vec<u8> = fragments.collect();
    let mut outcomes = Vec::new();
    for (bytes, segment) in [(&whole, whole.len()), (&fragments, 7), (&whole, 1)] {
        let mut socket = RawSocket::join(port).await;
        socket.stream.set_nodelay(true).unwrap();
        for segment in bytes.chunks(segment) {
            socket.send_raw(segment).await;
        }
        outcomes.push(outcome(&mut socket).await);
    }
    outcomes.dedup();
    let [outcome] = &outcomes[..] else {
        panic!("the same text, cut otherwise: {outcomes:?}");
    };
    let echo = String::from_utf8_lossy(&text).replace("message", "message-back");
    outcome.replace(&echo, "echo")
}
