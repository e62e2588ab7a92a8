//! The WebSocket layer: handshakes, extensions, lengths, probes. The rules of frames are in [`rfc6455`](super::rfc6455).

use tokio::io::AsyncWriteExt;
use unisono_proto::ws::{self, Opcode};

use super::arena::check;
use super::attack::{in_words, outcome};
use super::{Arena, Attack, BELOW, Got, HARMLESS, Row, row};
use crate::raw::{Frame, RawSocket, poll, post, request};

use Attack::{Bytes, Own, Raw, Request, Upgrade};

const BAD_REQUEST: (&str, u64) = ("bad_request", 1);
const UPGRADE: (&str, u64) = ("upgrade", 1);
const WEBSOCKET: &str = "EIO=4&transport=websocket";
const JOINED: &str = "101, joined, served";
/// Only this WebSocket ends; the session goes on with polling.
const NO_UPGRADE: &str = "hang-up; the session stays";

#[rustfmt::skip]
pub(super) const HANDSHAKES: &[Row] = &[
    row("CVE-2026-62963", "permessage-deflate is offered: not taken", JOINED, HARMLESS, Upgrade(WEBSOCKET, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n")),
    row("CVE-2026-62963", "a deflate bomb behind RSV1", "close 1002", ("frame", 1), Bytes(|| frame(0xc2, b"\xec\xc1\x01\x01\0\0\0\x80\x90\xfe\xaf\xee\x08\x0a"))),
    row("CVE-2026-62963", "the same in two fragments", "close 1002", ("frame", 1), Bytes(|| [frame(0x42, b"\xec\xc1\x01"), frame(0x80, b"\x01\0")].concat())),
    row("CVE-2026-2229", "`server_max_window_bits=7`", JOINED, HARMLESS, Upgrade(WEBSOCKET, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7\r\n")),
    row("CVE-2026-2229", "`server_max_window_bits=99999999999`", JOINED, HARMLESS, Upgrade(WEBSOCKET, "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99999999999\r\n")),
    row("CVE-2026-2229", "`client_max_window_bits=0`", JOINED, HARMLESS, Upgrade(WEBSOCKET, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=0\r\n")),
    row("CVE-2024-37890", "99 headers in front of `Upgrade`", "431", BELOW, Own(|arena| Box::pin(many_headers(arena)))),
    row("GHSA-5v72-xg48-5rpm", "`Sec-WebSocket-Extensions: constructor`", JOINED, HARMLESS, Upgrade(WEBSOCKET, "Sec-WebSocket-Extensions: constructor\r\n")),
    row("GHSA-5v72-xg48-5rpm", "`Sec-WebSocket-Extensions: ,;constructor`", JOINED, HARMLESS, Upgrade(WEBSOCKET, "Sec-WebSocket-Extensions: ,;constructor\r\n")),
    row("CVE-2020-7662", "an extension with an open quotation of 5,000 `\\x`", JOINED, HARMLESS, Own(|arena| Box::pin(offering(arena, "Sec-WebSocket-Extensions: a;b=\"".to_owned() + &"\\x".repeat(5000))))),
    row("CVE-2021-32640", "a subprotocol of 14,000 spaces", JOINED, HARMLESS, Own(|arena| Box::pin(offering(arena, format!("Sec-WebSocket-Protocol: x{}x", " ".repeat(14_000)))))),
    row("derived", "the key twice", "400 Bad request", BAD_REQUEST, Upgrade(WEBSOCKET, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")),
    row("derived", "the version twice", "400 Bad request", BAD_REQUEST, Upgrade(WEBSOCKET, "Sec-WebSocket-Version: 13\r\n")),
    row("derived", "no key", "400 Bad request", BAD_REQUEST, Request("GET", WEBSOCKET, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n", "")),
    row("derived", "a key of 15 bytes", "400 Bad request", BAD_REQUEST, Request("GET", WEBSOCKET, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\r\n", "")),
    row("derived", "version 8", "400 Bad request", BAD_REQUEST, Request("GET", WEBSOCKET, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "")),
    row("derived", "`Upgrade` without `Connection: Upgrade`", "400 Bad request", BAD_REQUEST, Request("GET", WEBSOCKET, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "")),
    row("derived", "a handshake of HTTP/1.0", "400 Bad request", BAD_REQUEST, Raw("GET /socket.io/?EIO=4&transport=websocket HTTP/1.0\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")),
    row("derived", "a session upgraded by POST", "400 Bad request; the session stays", BAD_REQUEST, Request("POST", "EIO=4&transport=websocket&sid={sid}", "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "")),
    row("derived", "a polling handshake that wants to upgrade", "400 Bad request", BAD_REQUEST, Upgrade("EIO=4&transport=polling", "")),
    row("CVE-2016-10542", "a frame of 256 MB is announced", "close 1009", ("too_large", 1), Bytes(|| header(0x82, 256 << 20))),
    row("CVE-2016-10542", "a frame of 2^63 bytes", "close 1002", ("frame", 1), Bytes(|| header(0x82, 1 << 63))),
    row("CVE-2016-10542", "a continuation that brings a message beyond the limit", "close 1009", ("too_large", 1), Bytes(|| [frame(0x02, b"0123456789"), header(0x80, 999_991)].concat())),
    row("CVE-2026-45736", "a close with a reason: the answer repeats the code and nothing else", "close 1000", HARMLESS, Bytes(|| frame(0x88, b"\x03\xe8why not"))),
    row("CVE-2016-10518", "pings of 0, 1 and 125 bytes: each comes back as it is", "served", HARMLESS, Own(|arena| Box::pin(pings(arena)))),
    row("CVE-2026-48779", "a message in frames of one byte, each byte in a segment", "42[\"message-back\",\"slow\"], served", HARMLESS, Own(|arena| Box::pin(one_byte_segments(arena)))),
    row("engine.io", "`2` from an EIO4 client", "close", ("packet", 1), Bytes(|| frame(0x81, b"2"))),
    row("engine.io", "`1` closes", "close", HARMLESS, Bytes(|| frame(0x81, b"1"))),
    row("engine.io", "`5` and `6` on a WebSocket mean nothing", "served", HARMLESS, Bytes(|| [frame(0x81, b"5"), frame(0x81, b"6")].concat())),
    row("engine.io", "`0` from a client", "close", ("packet", 1), Bytes(|| frame(0x81, b"0{}"))),
    row("engine.io", "an empty message", "close", ("packet", 1), Bytes(|| frame(0x81, b""))),
    row("engine.io", "a type nobody knows", "close", ("packet", 1), Bytes(|| frame(0x81, b"\xf0\x9f\x92\xa5"))),
];

/// What a WebSocket does that wants to take over a polling session.
#[rustfmt::skip]
pub(super) const PROBES: &[Row] = &[
    row("derived", "a message in place of `2probe`", NO_UPGRADE, UPGRADE, Own(|arena| Box::pin(probe(arena, text("42[\"message\",1]"))))),
    row("derived", "`5` in place of `2probe`", NO_UPGRADE, UPGRADE, Own(|arena| Box::pin(probe(arena, text("5"))))),
    row("derived", "`2` without `probe`", NO_UPGRADE, UPGRADE, Own(|arena| Box::pin(probe(arena, text("2"))))),
    row("derived", "bytes in place of `2probe`", NO_UPGRADE, UPGRADE, Own(|arena| Box::pin(probe(arena, frame(0x82, b"2probe"))))),
    row("derived", "a message between `2probe` and `5`", "3probe, hang-up; the session stays", UPGRADE, Own(|arena| Box::pin(probe(arena, [text("2probe"), text("42[\"message\",1]")].concat())))),
    row("derived", "bytes between `2probe` and `5`", "3probe, hang-up; the session stays", UPGRADE, Own(|arena| Box::pin(probe(arena, [text("2probe"), frame(0x82, b"x")].concat())))),
    row("derived", "`2probe` twice", "3probe, hang-up; the session stays", UPGRADE, Own(|arena| Box::pin(probe(arena, [text("2probe"), text("2probe")].concat())))),
    row("derived", "a frame with RSV3 during the probe", "3probe, hang-up; the session stays", UPGRADE, Own(|arena| Box::pin(probe(arena, [text("2probe"), frame(0x91, b"5")].concat())))),
    row("derived", "a close during the probe", "3probe, close, hang-up; the session stays", UPGRADE, Own(|arena| Box::pin(probe(arena, [text("2probe"), frame(0x88, b"")].concat())))),
    row("derived", "10,000 pings during the probe, then `5`", "pong of 3, 3probe, pong of 3, served", HARMLESS, Own(|arena| Box::pin(pinging_probe(arena)))),
    row("derived", "a second WebSocket while the first probes", "400 Bad request, served", BAD_REQUEST, Own(|arena| Box::pin(second_probe(arena)))),
    row("derived", "the session ends before the WebSocket says anything", "hang-up", UPGRADE, Own(|arena| Box::pin(probe_of_the_ended(arena, false)))),
    row("derived", "the session ends while the WebSocket probes", "hang-up", UPGRADE, Own(|arena| Box::pin(probe_of_the_ended(arena, true)))),
    row("Totodore/socketioxide#731", "50 upgrades that are begun and dropped", "the session stays", ("upgrade", 50), Own(|arena| Box::pin(dropped_probes(arena)))),
];

#[tokio::test]
async fn handshakes() {
    check(&Arena::with(|io| io).await, HANDSHAKES).await;
}

#[tokio::test]
async fn probes() {
    check(&Arena::with(|io| io).await, PROBES).await;
}

/// A masked frame of up to 125 bytes.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    ws::encode_masked(
        Opcode::Binary,
        payload,
        [0x37, 0xfa, 0x21, 0x3d],
        &mut frame,
    );
    frame[0] = first;
    frame
}

fn text(text: &str) -> Vec<u8> {
    frame(0x81, text.as_bytes())
}

/// Only the header of a frame of `len` bytes, in its longest form.
fn header(first: u8, len: u64) -> Vec<u8> {
    let mut header = vec![first, 0xff];
    header.extend(len.to_be_bytes());
    header.extend([1, 2, 3, 4]);
    header
}

async fn many_headers(arena: Arena) -> Got {
    let filler: String = (0..99).map(|n| format!("X-{n}: x\r\n")).collect();
    let headers = filler + "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    let target = format!("/socket.io/?{WEBSOCKET}");
    in_words(&request(arena.port(), "GET", &target, &headers, "").await).into()
}

async fn offering(arena: Arena, header: String) -> Got {
    let opened = RawSocket::try_connect(arena.port(), WEBSOCKET, &(header + "\r\n")).await;
    let mut socket = opened.unwrap_or_else(|answer| panic!("refused: {answer:?}"));
    assert!(
        !socket
            .head
            .to_ascii_lowercase()
            .contains("sec-websocket-protocol")
    );
    assert!(
        !socket
            .head
            .to_ascii_lowercase()
            .contains("sec-websocket-extensions")
    );
    assert!(socket.text().await.starts_with("0{"));
    socket.send("40").await;
    format!("101, {}", outcome(&mut socket).await).into()
}

async fn pings(arena: Arena) -> Got {
    let mut socket = RawSocket::join(arena.port()).await;
    for len in [0, 1, 125] {
        let payload: Vec<u8> = (0..len).collect();
        socket.send_frame(Opcode::Ping, &payload).await;
        assert_eq!(socket.next().await, Frame::Pong(payload));
    }
    outcome(&mut socket).await.into()
}

async fn one_byte_segments(arena: Arena) -> Got {
    let mut socket = RawSocket::join(arena.port()).await;
    socket.stream.set_nodelay(true).unwrap();
    let text = b"42[\"message\",\"slow\"]";
    for (index, byte) in text.iter().enumerate() {
        let opcode = u8::from(index == 0) | u8::from(index + 1 == text.len()) << 7;
        for byte in frame(opcode, &[*byte]) {
            socket.stream.write_all(&[byte]).await.unwrap();
        }
    }
    outcome(&mut socket).await.into()
}

/// A probing WebSocket of a session that polls.
async fn probing(arena: &Arena) -> (String, RawSocket) {
    let sid = arena.joined().await;
    let query = format!("EIO=4&transport=websocket&sid={sid}");
    let socket = RawSocket::connect(arena.port(), &query).await;
    (sid, socket)
}

async fn probe(arena: Arena, bytes: Vec<u8>) -> Got {
    let (sid, mut socket) = probing(&arena).await;
    socket.send_raw(&bytes).await;
    let frames = socket.until_end().await;
    let mut words: Vec<&str> = Vec::new();
    for frame in &frames {
        match frame {
            Frame::Text(text) => words.push(text),
            Frame::Close(None) => words.push("close"),
            other => panic!("a probe got {other:?}"),
        }
    }
    words.push("hang-up");
    // What the probe did to the waiting poll of the session is no answer to what follows.
    while poll_now(&arena, &sid).await == "6" {}
    Got::on(words.join(", "), sid)
}

/// A poll that finds something at once: an echo is asked for first.
async fn poll_now(arena: &Arena, sid: &str) -> String {
    assert_eq!(
        post(arena.port(), sid, "42[\"message\",0]").await.body,
        "ok"
    );
    poll(arena.port(), sid).await.body
}

async fn pinging_probe(arena: Arena) -> Got {
    let (_, mut socket) = probing(&arena).await;
    let mut words = Vec::new();
    for text in ["2probe", "5"] {
        socket.send_raw(&frame(0x89, b"hey").repeat(10_000)).await;
        socket.send(text).await;
        socket.send_raw(&frame(0x89, b"you")).await;
        if text == "2probe" {
            words.extend(until_pong(&mut socket, b"you").await);
        }
    }
    let rest = outcome(&mut socket).await;
    words.extend(rest.split(", ").map(str::to_owned));
    // A pong answers the latest of the pings that came together, and there may be more.
    words.dedup();
    words.join(", ").into()
}

/// What comes until the pong of this ping.
async fn until_pong(socket: &mut RawSocket, ping: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    loop {
        match socket.next().await {
            Frame::Pong(pong) if pong == ping => return words,
            Frame::Pong(pong) => words.push(format!("pong of {}", pong.len())),
            Frame::Text(text) => words.push(text),
            other => panic!("a probe got {other:?}"),
        }
    }
}

async fn second_probe(arena: Arena) -> Got {
    let (sid, mut first) = probing(&arena).await;
    let query = format!("EIO=4&transport=websocket&sid={sid}");
    let second = RawSocket::try_connect(arena.port(), &query, "").await;
    let refused = second.map(|_| ()).expect_err("one is enough");
    first.send("2probe").await;
    assert_eq!(first.text().await, "3probe");
    first.send("5").await;
    format!("{}, {}", in_words(&refused), outcome(&mut first).await).into()
}

async fn probe_of_the_ended(arena: Arena, begun: bool) -> Got {
    let (sid, mut socket) = probing(&arena).await;
    if begun {
        socket.send("2probe").await;
        assert_eq!(socket.text().await, "3probe");
    }
    assert_eq!(post(arena.port(), &sid, "1").await.body, "ok");
    assert_eq!(socket.until_end().await, []);
    "hang-up".into()
}

async fn dropped_probes(arena: Arena) -> Got {
    let sid = arena.joined().await;
    let query = format!("EIO=4&transport=websocket&sid={sid}");
    let before = arena.server.refused("upgrade");
    for round in 1..=50 {
        let socket = loop {
            // The server may not have noticed yet that the one before is gone.
            match RawSocket::try_connect(arena.port(), &query, "").await {
                Ok(socket) => break socket,
                Err(answer) => assert_eq!(answer.status, 400),
            }
        };
        drop(socket);
        unisono_test::await_until("the probe to end", crate::raw::PATIENCE, || {
            arena.server.refused("upgrade") == before + round
        })
        .await;
    }
    assert_eq!(arena.fate(&sid).await, "the session stays");
    "the session stays".into()
}
