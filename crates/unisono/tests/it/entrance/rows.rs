//! Requests, ordinary and odd.

use super::{ECHO, FRAMES, PLAIN};

/// A request, and whether it is let in without hyper when it comes first and in one piece.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) is_quick: bool,
    /// What the client waits for before it sends another request: nothing in particular, mostly.
    pub(super) until: &'static str,
}

const QUICK: bool = true;
const HYPER: bool = false;

fn row(name: &'static str, is_quick: bool, bytes: impl AsRef<[u8]>) -> Row {
    let bytes = bytes.as_ref().to_vec();
    Row {
        name,
        bytes,
        is_quick,
        until: "",
    }
}

/// The plain request with another piece in place of one.
fn with(name: &'static str, is_quick: bool, piece: &str, other: &str) -> Row {
    assert_eq!(PLAIN.matches(piece).count(), 1, "{piece}");
    row(name, is_quick, PLAIN.replace(piece, other))
}

/// The plain request with lines behind its `Host`.
fn adding(name: &'static str, is_quick: bool, lines: &str) -> Row {
    let lines = format!("Host: x\r\n{lines}\r\n");
    with(name, is_quick, "Host: x\r\n", &lines)
}

/// With an answer that a layer changes.
fn layered(name: &'static str, is_quick: bool) -> Row {
    adding(name, is_quick, &format!("X-Layer: {name}"))
}

pub(super) fn all() -> Vec<Row> {
    [
        ordinary(),
        lines(),
        tokens(),
        request_lines(),
        refused(),
        bodies(),
        layers(),
        sizes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn ordinary() -> Vec<Row> {
    let browser = PLAIN.replace(
        "Connection: Upgrade\r\n",
        "Connection: keep-alive, Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Origin: https://jamz.example\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: de,en-US;q=0.7\r\n\
         Cookie: a=1; b=\"2\"\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
    );
    let with_frames = [PLAIN.as_bytes(), FRAMES].concat();
    let with_request = [PLAIN, "GET /next HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
    vec![
        row("plain", QUICK, PLAIN),
        row("a browser's", QUICK, browser),
        Row {
            until: ECHO,
            ..row("frames behind the head", QUICK, &with_frames)
        },
        row(
            "half a frame behind the head",
            QUICK,
            &with_frames[..PLAIN.len() + 4],
        ),
        row("a request behind the head", QUICK, with_request),
        row("an empty line before", QUICK, format!("\r\n{PLAIN}")),
        row("line feeds alone", QUICK, PLAIN.replace("\r\n", "\n")),
        adding(
            "a subprotocol",
            QUICK,
            "Sec-WebSocket-Protocol: chat, super",
        ),
        adding(
            "two subprotocols",
            QUICK,
            "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b",
        ),
        adding("let in by the application, later", QUICK, "X-Allow: later"),
        adding("not let in by the application", QUICK, "X-Allow: no"),
        adding("trailers are welcome", HYPER, "TE: trailers"),
    ]
}

fn lines() -> Vec<Row> {
    vec![
        adding("a header twice", QUICK, "X-A: 1\r\nx-b: 2\r\nx-a: 3"),
        adding("an empty value", QUICK, "X-A:\r\nX-B: "),
        adding("blanks around a value", QUICK, "X-A: \t one  two \t "),
        adding("upper and lower case", QUICK, "x-LOUD: Quiet"),
        adding("bytes that are not ASCII", QUICK, "X-A: \u{e9}\u{4e2d}"),
        adding("every token of a name", QUICK, "!#$%&'*+-.^_`|~0a: 1"),
        adding("a blank before the colon", HYPER, "X-A : 1"),
        adding("a blank in a name", HYPER, "X A: 1"),
        adding("no colon", HYPER, "X-A"),
        adding("no name", HYPER, ": 1"),
        adding("a folded line", HYPER, "X-A: 1\r\n 2"),
        adding("a NUL in a value", HYPER, "X-A: \0"),
        adding("a carriage return in a value", HYPER, "X-A: 1\r2"),
        adding("DEL in a value", HYPER, "X-A: \x7f"),
        adding("a name that is not ASCII", HYPER, "X-\u{e9}: 1"),
        with("no Host", QUICK, "Host: x\r\n", ""),
        adding("two Hosts", QUICK, "Host: y"),
        adding("a foreign origin", QUICK, "Origin: https://evil.example"),
        adding("an origin that is no text", QUICK, "Origin: \u{e9}"),
    ]
}

fn tokens() -> Vec<Row> {
    let connection = |name, is_quick, value| {
        let line = format!("Connection: {value}\r\n");
        with(name, is_quick, "Connection: Upgrade\r\n", &line)
    };
    let upgrade = |name, is_quick, lines| with(name, is_quick, "Upgrade: websocket\r\n", lines);
    vec![
        connection("keep-alive, Upgrade", QUICK, "keep-alive, Upgrade"),
        connection("UPGRADE", QUICK, "UPGRADE"),
        connection(
            "Connection twice",
            QUICK,
            "keep-alive\r\nConnection: upgrade",
        ),
        connection("close, Upgrade", HYPER, "close, Upgrade"),
        connection("Upgrade, close", HYPER, "Upgrade, close"),
        connection(
            "close in a second line",
            HYPER,
            "Upgrade\r\nConnection: Close",
        ),
        connection(
            "a token that nobody knows",
            HYPER,
            "Upgrade, HTTP2-Settings",
        ),
        connection("an empty token", HYPER, "Upgrade,"),
        connection("no upgrade", QUICK, "keep-alive"),
        connection("no value", HYPER, ""),
        upgrade("Upgrade: WebSocket", QUICK, "Upgrade: WebSocket\r\n"),
        upgrade("two upgrades", HYPER, "Upgrade: websocket, h2c\r\n"),
        upgrade(
            "Upgrade twice",
            QUICK,
            "Upgrade: websocket\r\nUpgrade: websocket\r\n",
        ),
        upgrade("h2c", HYPER, "Upgrade: h2c\r\n"),
        upgrade("no Upgrade", HYPER, ""),
    ]
}

fn request_lines() -> Vec<Row> {
    let target = |name, is_quick, target| {
        with(
            name,
            is_quick,
            "/socket.io/?EIO=4&transport=websocket",
            target,
        )
    };
    vec![
        target(
            "a whole URL",
            HYPER,
            "http://x/socket.io/?EIO=4&transport=websocket",
        ),
        target("an authority", HYPER, "x:80"),
        target("an asterisk", HYPER, "*"),
        target("no slash", HYPER, "socket.io/?EIO=4&transport=websocket"),
        target(
            "two slashes",
            QUICK,
            "//socket.io/?EIO=4&transport=websocket",
        ),
        target(
            "a fragment",
            QUICK,
            "/socket.io/?EIO=4&transport=websocket#x",
        ),
        target(
            "escapes",
            QUICK,
            "/socket.io/?EIO=4&transport=web%73ocket&x=%ff%zz",
        ),
        target(
            "bytes that are not ASCII",
            QUICK,
            "/socket.io/?EIO=4&transport=websocket&x=\u{e9}",
        ),
        target(
            "a quotation mark",
            HYPER,
            "/socket.io/?EIO=4&transport=websocket&x=\"<>",
        ),
        target("a control character", HYPER, "/socket.io/?\x01"),
        target("somewhere else", QUICK, "/elsewhere"),
        target("nowhere", QUICK, "/"),
        with("HTTP/1.0", HYPER, "HTTP/1.1", "HTTP/1.0"),
        with("HTTP/2.0", HYPER, "HTTP/1.1", "HTTP/2.0"),
        with("http/1.1", HYPER, "HTTP/1.1", "http/1.1"),
        with("HEAD", HYPER, "GET ", "HEAD "),
        with("POST", HYPER, "GET ", "POST "),
        with("get", HYPER, "GET ", "get "),
        with("two blanks", HYPER, "GET ", "GET  "),
        with("a method that is no token", HYPER, "GET ", "G(T "),
    ]
}

fn refused() -> Vec<Row> {
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    vec![
        with("no key", QUICK, key, ""),
        with("a short key", QUICK, key, "Sec-WebSocket-Key: x\r\n"),
        with("two keys", QUICK, key, &key.repeat(2)),
        with("no version", QUICK, version, ""),
        with("version 8", QUICK, version, "Sec-WebSocket-Version: 8\r\n"),
        with("two versions", QUICK, version, &version.repeat(2)),
        with("EIO=3", QUICK, "EIO=4", "EIO=3"),
        with("another transport", QUICK, "=websocket", "=polling"),
        with(
            "an unknown session",
            QUICK,
            "=websocket",
            "=websocket&sid=AAAAAAAAAAAAAAAAAAAA",
        ),
    ]
}

fn bodies() -> Vec<Row> {
    vec![
        adding("a length of nothing", HYPER, "Content-Length: 0"),
        adding("a length that is none", HYPER, "Content-Length: x"),
        adding(
            "two lengths",
            HYPER,
            "Content-Length: 1\r\nContent-Length: 2",
        ),
        adding("chunks", HYPER, "Transfer-Encoding: chunked"),
        adding("an encoding that is none", HYPER, "Transfer-Encoding: gzip"),
        adding("an expectation", HYPER, "Expect: 100-continue"),
        adding("trailers to come", HYPER, "Trailer: x"),
    ]
}

fn layers() -> Vec<Row> {
    vec![
        layered("cookies", QUICK),
        layered("no sid", QUICK),
        layered("date", QUICK),
        layered("connection", QUICK),
        layered("trailer", QUICK),
        layered("encoding", QUICK),
        layered("length", QUICK),
        layered("reason", QUICK),
        layered("version", QUICK),
        layered("body", QUICK),
        layered("forbidden", QUICK),
    ]
}

fn sizes() -> Vec<Row> {
    let many = |count: usize| "a: 1\r\n".repeat(count - 6) + "b: 2";
    let long = |len: usize| format!("X-A: {}", "x".repeat(len));
    let long_target = format!("=websocket&x={}", "x".repeat(9_000));
    vec![
        adding("100 lines", QUICK, &many(100)),
        adding("101 lines", HYPER, &many(101)),
        adding("a line of 4 kB", QUICK, &long(4_000)),
        adding("a line of 15 kB", QUICK, &long(15_000)),
        adding("a line of 17 kB", HYPER, &long(17_000)),
        with("a target of 9 kB", QUICK, "=websocket", &long_target),
    ]
}
