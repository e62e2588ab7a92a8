//! HTTP and Engine.IO: requests, session ids, origins, bodies.

use std::collections::HashSet;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::arena::check;
use super::attack::{in_words, outcome, raw_request, raw_requests};
use super::{Arena, Attack, BELOW, Got, HARMLESS, Row, row};
use crate::raw::{RawSocket, get, open, parse, poll, post, request};
use crate::server::cors;

use Attack::{Get, Own, Raw, Request, Upgrade};

const UNKNOWN_TRANSPORT: (&str, u64) = ("unknown_transport", 1);
const UNKNOWN_SID: (&str, u64) = ("unknown_sid", 1);
const BAD_REQUEST: (&str, u64) = ("bad_request", 1);
const BAD_METHOD: (&str, u64) = ("bad_method", 1);
const ORIGIN: (&str, u64) = ("origin", 1);
const PACKET: (&str, u64) = ("packet", 1);

const NO_TRANSPORT: &str = "400 Transport unknown";
const NO_SESSION: &str = "400 Session ID unknown";
const CONTRADICTION: &str = "400 Bad request; the session stays";
const FOREIGN: &str = "403 Origin not allowed";

/// Names that are more than names in JavaScript, versions that contradict their session, upgrades to nowhere.
#[rustfmt::skip]
pub(super) const REQUESTS: &[Row] = &[
    row("CVE-2023-31125", "`transport=__proto__`", NO_TRANSPORT, UNKNOWN_TRANSPORT, Get("EIO=4&transport=__proto__")),
    row("CVE-2023-31125", "`transport=constructor`", NO_TRANSPORT, UNKNOWN_TRANSPORT, Get("EIO=4&transport=constructor")),
    row("CVE-2023-31125", "`transport=toString` as a WebSocket", NO_TRANSPORT, UNKNOWN_TRANSPORT, Upgrade("EIO=4&transport=toString", "")),
    row("CVE-2026-59724", "`transport=webtransport`, not offered", NO_TRANSPORT, UNKNOWN_TRANSPORT, Get("EIO=4&transport=webtransport")),
    row("CVE-2026-59724", "WebTransport with `sid=__proto__`", NO_TRANSPORT, UNKNOWN_TRANSPORT, Upgrade("EIO=4&transport=webtransport&sid=__proto__", "")),
    row("CVE-2026-102600", "`sid=__proto__`", NO_SESSION, UNKNOWN_SID, Get("EIO=4&transport=polling&sid=__proto__")),
    row("CVE-2026-102600", "`sid=constructor`, a POST", NO_SESSION, UNKNOWN_SID, Request("POST", "EIO=4&transport=polling&sid=constructor", "", "40")),
    row("CVE-2026-102600", "`sid=hasOwnProperty`, an upgrade", NO_SESSION, UNKNOWN_SID, Upgrade("EIO=4&transport=websocket&sid=hasOwnProperty", "")),
    row("CVE-2026-102599", "an EIO=4 session, upgraded with `EIO=3`", CONTRADICTION, BAD_REQUEST, Upgrade("EIO=3&transport=websocket&sid={sid}", "")),
    row("CVE-2026-102599", "the same without `EIO`", CONTRADICTION, BAD_REQUEST, Upgrade("transport=websocket&sid={sid}", "")),
    row("CVE-2026-102599", "the same with `EIO=%00`", CONTRADICTION, BAD_REQUEST, Upgrade("EIO=%00&transport=websocket&sid={sid}", "")),
    row("CVE-2026-102599", "an EIO=4 session, a POST with `EIO=3`", CONTRADICTION, BAD_REQUEST, Request("POST", "EIO=3&transport=polling&sid={sid}", "", "1:2")),
    row("engine.io 8b4d6a8", "a plain GET with `transport=websocket`", "400 Bad request", BAD_REQUEST, Get("EIO=4&transport=websocket")),
    row("engine.io 8b4d6a8", "the same on a session", CONTRADICTION, BAD_REQUEST, Get("EIO=4&transport=websocket&sid={sid}")),
    row("CVE-2022-41940", "`Upgrade: h2c` on a polling handshake", "200 and a session", HARMLESS, Request("GET", "EIO=4&transport=polling", "Upgrade: h2c\r\nConnection: Upgrade\r\n", "")),
    row("CVE-2022-41940", "`Upgrade: h2c` for a WebSocket", "400 Bad request", BAD_REQUEST, Request("GET", "EIO=4&transport=websocket", "Upgrade: h2c\r\nConnection: Upgrade\r\n", "")),
    row("CVE-2022-41940", "an upgrade on a foreign path, reset at once; 20 times", "nothing", HARMLESS, Own(|arena| Box::pin(reset_upgrades(arena, "/elsewhere")))),
    row("CVE-2022-41940", "an upgrade on our path, reset at once; 20 times", "nothing", HARMLESS, Own(|arena| Box::pin(reset_upgrades(arena, "/socket.io/?EIO=4&transport=websocket")))),
    row("CVE-2022-21676", "a frame with RSV2 in the segment of the handshake", "101, close 1002", ("frame", 1), Own(|arena| Box::pin(eager_frame(arena, 0xa2)))),
    row("CVE-2022-21676", "the same with RSV3", "101, close 1002", ("frame", 1), Own(|arena| Box::pin(eager_frame(arena, 0x92)))),
    row("CVE-2017-16031", "a session id nobody has", NO_SESSION, UNKNOWN_SID, Get("EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA")),
    row("CVE-2017-16031", "neighbours of a session id, each character changed", "400 Session ID unknown; the session stays", ("unknown_sid", 20), Own(|arena| Box::pin(neighbours(arena)))),
    row("derived", "a session id of 10 kB", NO_SESSION, UNKNOWN_SID, Own(|arena| Box::pin(long_sid(arena, 10_000)))),
    row("derived", "a session id of 10 MB", "431", BELOW, Own(|arena| Box::pin(long_sid(arena, 10_000_000)))),
    row("derived", "`sid=%ff%00`", NO_SESSION, UNKNOWN_SID, Get("EIO=4&transport=polling&sid=%ff%00")),
    row("derived", "every key twice; the last one counts", "200 and a session", HARMLESS, Get("EIO=3&transport=x&EIO=4&transport=polling")),
    row("derived", "`sid` twice, the second unknown", "400 Session ID unknown; the session stays", UNKNOWN_SID, Own(|arena| Box::pin(second_sid(arena)))),
    row("derived", "a handshake by POST", "400 Bad handshake method", BAD_METHOD, Request("POST", "EIO=4&transport=polling", "", "40")),
    row("derived", "PUT on a session", "500; the session stays", BAD_METHOD, Request("PUT", "EIO=4&transport=polling&sid={sid}", "", "")),
    row("derived", "HEAD on a session", "500; the session stays", BAD_METHOD, Request("HEAD", "EIO=4&transport=polling&sid={sid}", "", "")),
    row("derived", "no query", NO_TRANSPORT, UNKNOWN_TRANSPORT, Get("")),
    row("derived", "a query of 1,000 broken escapes", NO_TRANSPORT, UNKNOWN_TRANSPORT, Own(|arena| Box::pin(async move { in_words(&get(arena.port(), &"%=%f&%zz=+%".repeat(1000)).await).into() }))),
    row("derived", "a poll after the upgrade", "400 Bad request", BAD_REQUEST, Own(|arena| Box::pin(poll_after_upgrade(arena)))),
    row("derived", "a poll of somebody at another address", "200 42[\"message-back\",1]; the session stays", HARMLESS, Own(|arena| Box::pin(from_another_address(arena)))),
];

/// Origins that are not the allowed `https://jamz.example`, on both transports.
#[rustfmt::skip]
pub(super) const ORIGINS: &[Row] = &[
    row("CVE-2020-28481", "no origin: no browser", "200 and a session", HARMLESS, Get("EIO=4&transport=polling")),
    row("CVE-2020-28481", "the allowed origin", "200 and a session", HARMLESS, from("EIO=4&transport=polling", "Origin: https://jamz.example\r\n")),
    row("CVE-2020-28481", "a foreign origin", FOREIGN, ORIGIN, from("EIO=4&transport=polling", "Origin: https://evil.example\r\n")),
    row("CVE-2020-28481", "a foreign origin with a cookie, as a WebSocket", FOREIGN, ORIGIN, Upgrade("EIO=4&transport=websocket", "Origin: https://evil.example\r\nCookie: io=1\r\n")),
    row("CVE-2020-28481", "a foreign origin on an open session", "403 Origin not allowed; the session stays", ORIGIN, Request("POST", "EIO=4&transport=polling&sid={sid}", "Origin: https://evil.example\r\n", "40")),
    row("CVE-2020-28481", "a foreign origin that upgrades an open session", "403 Origin not allowed; the session stays", ORIGIN, Upgrade("EIO=4&transport=websocket&sid={sid}", "Origin: https://evil.example\r\n")),
    row("WS-2020-0443", "`Origin: null`", FOREIGN, ORIGIN, from("EIO=4&transport=polling", "Origin: null\r\n")),
    row("WS-2020-0443", "`Origin: null` as a WebSocket", FOREIGN, ORIGIN, Upgrade("EIO=4&transport=websocket", "Origin: null\r\n")),
    row("WS-2020-0443", "a lookalike suffix", FOREIGN, ORIGIN, Upgrade("EIO=4&transport=websocket", "Origin: https://jamz.example.evil\r\n")),
    row("WS-2020-0443", "a lookalike prefix", FOREIGN, ORIGIN, Upgrade("EIO=4&transport=websocket", "Origin: https://eviljamz.example\r\n")),
    row("CVE-2019-13611", "the allowed host by another scheme", FOREIGN, ORIGIN, from("EIO=4&transport=polling", "Origin: http://jamz.example\r\n")),
    row("CVE-2019-13611", "the allowed host on another port", FOREIGN, ORIGIN, from("EIO=4&transport=polling", "Origin: https://jamz.example:444\r\n")),
    row("CVE-2019-13611", "an origin with a backtick", FOREIGN, ORIGIN, from("EIO=4&transport=polling", "Origin: https://jamz.example`.evil\r\n")),
    row("CVE-2019-13611", "an origin with `$`", FOREIGN, ORIGIN, Upgrade("EIO=4&transport=websocket", "Origin: https://jamz.example$\r\n")),
    row("derived", "two origins, the allowed one first", FOREIGN, ORIGIN, from("EIO=4&transport=polling", "Origin: https://jamz.example\r\nOrigin: https://evil.example\r\n")),
    row("derived", "an origin of 10 kB", FOREIGN, ORIGIN, Own(|arena| Box::pin(async move {
        let origin = format!("Origin: https://{}\r\n", "jamz.example.".repeat(800));
        in_words(&request(arena.port(), "GET", "/socket.io/?EIO=4&transport=polling", &origin, "").await).into()
    }))),
];

const fn from(query: &'static str, headers: &'static str) -> Attack {
    Request("GET", query, headers, "")
}

/// Bodies, and requests that are hardly HTTP.
#[rustfmt::skip]
pub(super) const BODIES: &[Row] = &[
    row("CVE-2026-59725", "`application/octet-stream` on 20 sessions", "400; the session ends", ("packet", 20), Own(|arena| Box::pin(binary_bodies(arena)))),
    row("socketioxide PR#739", "an EIO3 payload on an EIO4 session: `10:42[\"x\"]`", "200 ok; the session ends", HARMLESS, body("10:42[\"x\"]")),
    row("socketioxide PR#739", "`99999999999999999999:4`", "200 ok; the session ends", PACKET, body("99999999999999999999:4")),
    row("socketioxide PR#739", "`2:💥4`", "200 ok; the session ends", PACKET, body("2:💥4")),
    row("socketioxide PR#739", "base64 that begins with 4: `b4AQIDBA==`", "200 ok; the session ends", PACKET, body("b4AQIDBA==")),
    row("socketioxide PR#739", "base64 of forbidden letters: `b*`", "200 ok; the session ends", PACKET, body("b*")),
    row("derived", "an empty body", "200 ok; the session ends", PACKET, body("")),
    row("derived", "only separators", "200 ok; the session ends", PACKET, body("\u{1e}\u{1e}\u{1e}")),
    row("derived", "a trailing separator", "200 ok; the session ends", PACKET, body("3\u{1e}")),
    row("derived", "bytes that are not UTF-8, called gzip", "200 ok; the session ends", PACKET, Own(|arena| Box::pin(gzip(arena)))),
    row("derived", "a body of exactly the limit", "200 ok; the session stays", HARMLESS, Own(|arena| Box::pin(sized(arena, 1_000_000)))),
    row("derived", "one byte more", "413; the session stays", ("too_large", 1), Own(|arena| Box::pin(sized(arena, 1_000_001)))),
    row("derived", "one byte more, in chunks", "413; the session stays", ("too_large", 1), Own(|arena| Box::pin(chunked(arena)))),
    row("derived", "two POSTs at the same time on one session", "400; the session ends", ("overlap", 1), Own(|arena| Box::pin(two_posts(arena)))),
    row("derived", "two polls at the same time on one session", "400; the session ends", ("overlap", 1), Own(|arena| Box::pin(two_polls(arena)))),
    row("derived", "a body shorter than its Content-Length, then the end", "400; the session ends", BAD_REQUEST, Own(|arena| Box::pin(short_body(arena)))),
    row("derived", "a body longer than its Content-Length", "200 ok, then 400; the session stays", BELOW, Own(|arena| Box::pin(long_body(arena)))),
    row("derived", "a chunk whose length is no number", "400; the session ends", BAD_REQUEST, Own(|arena| Box::pin(bad_chunk(arena)))),
    row("derived", "a POST to a session that has ended", NO_SESSION, ("unknown_sid", 1), Own(|arena| Box::pin(post_to_the_ended(arena)))),
    row("derived", "two different Content-Lengths", "400", BELOW, Raw("POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n40")),
    row("derived", "Content-Length and chunks at once: chunks count, and the connection ends", "400 Bad handshake method", BAD_METHOD, Raw("POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n")),
    row("CVE-2024-37890", "101 headers", "431", BELOW, Own(|arena| Box::pin(many_headers(arena, 101)))),
    row("derived", "a head of 20 kB", "431", BELOW, Own(|arena| Box::pin(async move {
        let headers = format!("X: {}\r\n", "x".repeat(20_000));
        in_words(&request(arena.port(), "GET", "/socket.io/?EIO=4&transport=polling", &headers, "").await).into()
    }))),
    row("RFC 9112, 3.2", "no Host", "400 Bad request", BAD_REQUEST, Raw("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nConnection: close\r\n\r\n")),
    row("RFC 9112, 3.2", "two Hosts", "400 Bad request", BAD_REQUEST, Raw("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nHost: y\r\nConnection: close\r\n\r\n")),
    row("derived", "a NUL in a header", "400", BELOW, Raw("GET /socket.io/ HTTP/1.1\r\nHost: x\0\r\n\r\n")),
    row("derived", "HTTP/0.9", "400", BELOW, Raw("GET /socket.io/\r\n\r\n")),
    row("derived", "the preface of HTTP/2", "hang-up", BELOW, Raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
    row("derived", "a TLS handshake on the plain port", "400", BELOW, Raw("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03")),
    row("derived", "nothing but line feeds, 20 kB", "431", BELOW, Own(|arena| Box::pin(async move { raw_request(arena.port(), "\r\n".repeat(10_000).as_bytes()).await.into() }))),
];

const fn body(body: &'static str) -> Attack {
    Request("POST", "EIO=4&transport=polling&sid={sid}", "", body)
}

#[tokio::test]
async fn requests() {
    check(&Arena::with(|io| io).await, REQUESTS).await;
}

#[tokio::test]
async fn origins() {
    check(&Arena::with(|io| io.cors(cors())).await, ORIGINS).await;
}

#[tokio::test]
async fn bodies() {
    check(&Arena::with(|io| io).await, BODIES).await;
}

/// Upgrades whose client is gone before the answer.
async fn reset_upgrades(arena: Arena, target: &str) -> Got {
    for _ in 0..20 {
        let mut stream = TcpStream::connect(("127.0.0.1", arena.port()))
            .await
            .unwrap();
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.set_zero_linger().unwrap();
    }
    "nothing".into()
}

/// A frame in the same segment as the handshake's request.
async fn eager_frame(arena: Arena, first: u8) -> Got {
    let frame = [first, 0x80, 1, 2, 3, 4];
    let mut socket = RawSocket::eager(arena.port(), "EIO=4&transport=websocket", &frame).await;
    assert!(socket.text().await.starts_with("0{"));
    format!("101, {}", outcome(&mut socket).await).into()
}

async fn neighbours(arena: Arena) -> Got {
    let sid = arena.joined().await;
    let mut answers = HashSet::new();
    for at in 0..sid.len() {
        let other = if &sid[at..=at] == "A" { "B" } else { "A" };
        let mut guess = sid.clone();
        guess.replace_range(at..=at, other);
        answers.insert(in_words(&poll(arena.port(), &guess).await));
    }
    Got::on(Vec::from_iter(answers).join(", "), sid)
}

async fn long_sid(arena: Arena, len: usize) -> Got {
    let sid = "x".repeat(len);
    let head = format!(
        "GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    );
    raw_request(arena.port(), head.as_bytes()).await.into()
}

async fn second_sid(arena: Arena) -> Got {
    let sid = arena.joined().await;
    let query = format!("EIO=4&transport=polling&sid={sid}&sid=AAAAAAAAAAAAAAAAAAAA");
    Got::on(in_words(&get(arena.port(), &query).await), sid)
}

async fn poll_after_upgrade(arena: Arena) -> Got {
    let sid = arena.joined().await;
    let mut socket = arena.upgrade(&sid).await;
    let answer = in_words(&poll(arena.port(), &sid).await);
    assert_eq!(outcome(&mut socket).await, "served");
    answer.into()
}

/// The id is the secret: a phone that moves from one network to another goes on.
async fn from_another_address(arena: Arena) -> Got {
    let sid = arena.joined().await;
    let posted = post(arena.port(), &sid, "42[\"message\",1]").await;
    assert_eq!(posted.body, "ok");
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    let server = ([127, 0, 0, 1], arena.port()).into();
    let mut stream = socket.connect(server).await.unwrap();
    let head = format!(
        "GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    Got::on(in_words(&parse(&answer)), sid)
}

/// A POST on a session.
fn post_head(sid: &str, length: &str) -> String {
    format!(
        "POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n"
    )
}

async fn binary_bodies(arena: Arena) -> Got {
    let mut last = Got::from("");
    for _ in 0..20 {
        let sid = arena.joined().await;
        let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        let binary = "Content-Type: application/octet-stream\r\n";
        let answer = request(arena.port(), "POST", &target, binary, "40").await;
        assert_eq!(in_words(&answer), "400");
        last = Got::on(in_words(&answer), sid);
    }
    last
}

/// Compressed bytes are bytes: nothing inflates them.
async fn gzip(arena: Arena) -> Got {
    let sid = arena.joined().await;
    let mut body = post_head(
        &sid,
        "Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: 14",
    )
    .into_bytes();
    body.extend_from_slice(b"\x1f\x8b\x08\0\0\0\0\0\0\xff\xed\xc1\x01\x0d");
    Got::on(raw_request(arena.port(), &body).await, sid)
}

async fn sized(arena: Arena, len: usize) -> Got {
    let sid = arena.joined().await;
    let body = format!("42[\"unheard\",\"{}\"]", "x".repeat(len - 16));
    assert_eq!(body.len(), len);
    Got::on(in_words(&post(arena.port(), &sid, &body).await), sid)
}

async fn chunked(arena: Arena) -> Got {
    let sid = arena.joined().await;
    let mut body = post_head(&sid, "Connection: close\r\nTransfer-Encoding: chunked");
    body += &format!("f4241\r\n{}\r\n", "x".repeat(1_000_001));
    Got::on(raw_request(arena.port(), body.as_bytes()).await, sid)
}

async fn bad_chunk(arena: Arena) -> Got {
    let sid = arena.joined().await;
    let body = post_head(&sid, "Connection: close\r\nTransfer-Encoding: chunked") + "zz\r\n";
    Got::on(raw_request(arena.port(), body.as_bytes()).await, sid)
}

async fn two_posts(arena: Arena) -> Got {
    let sid = arena.joined().await;
    let mut first = TcpStream::connect(("127.0.0.1", arena.port()))
        .await
        .unwrap();
    let head = post_head(&sid, "Expect: 100-continue\r\nContent-Length: 2");
    first.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body once the POST has begun.
    let mut asked = [0; 25];
    first.read_exact(&mut asked).await.unwrap();
    assert!(asked.starts_with(b"HTTP/1.1 100"));
    Got::on(in_words(&post(arena.port(), &sid, "3").await), sid)
}

async fn two_polls(arena: Arena) -> Got {
    let sid = arena.joined().await;
    let (one, two) = tokio::join!(poll(arena.port(), &sid), poll(arena.port(), &sid));
    let (refused, told) = if one.status == 400 {
        (one, two)
    } else {
        (two, one)
    };
    assert_eq!(told.body, "1");
    Got::on(in_words(&refused), sid)
}

async fn short_body(arena: Arena) -> Got {
    let sid = arena.joined().await;
    let mut stream = TcpStream::connect(("127.0.0.1", arena.port()))
        .await
        .unwrap();
    let head = post_head(&sid, "Content-Length: 10") + "42[";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    Got::on(in_words(&parse(&answer)), sid)
}

async fn long_body(arena: Arena) -> Got {
    let sid = arena.joined().await;
    let requests = post_head(&sid, "Content-Length: 1") + "3\0\0\0\r\n\r\n";
    let answers = raw_requests(arena.port(), requests.as_bytes()).await;
    Got::on(answers.join(", then "), sid)
}

async fn post_to_the_ended(arena: Arena) -> Got {
    let sid = open(arena.port()).await;
    assert_eq!(post(arena.port(), &sid, "1").await.body, "ok");
    let answer = post(arena.port(), &sid, "40").await;
    in_words(&answer).into()
}

async fn many_headers(arena: Arena, count: usize) -> Got {
    // Host, Connection and these.
    let headers: String = (2..count).map(|n| format!("X-{n}: x\r\n")).collect();
    let target = "/socket.io/?EIO=4&transport=polling";
    in_words(&request(arena.port(), "GET", target, &headers, "").await).into()
}
