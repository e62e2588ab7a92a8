//! The WebSocket handshake of a client.

use unisono_proto::ws::{ClientHandshake, HandshakeError};

/// The key of RFC 6455, section 1.3.
const RANDOM: [u8; 16] = *b"the sample nonce";

const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn handshake() -> ClientHandshake {
    ClientHandshake::new(
        "h:1",
        "/socket.io/?EIO=4",
        RANDOM,
        &[("Origin", "https://a")],
    )
    .unwrap()
}

#[test]
fn the_request() {
    let expected = "GET /socket.io/?EIO=4 HTTP/1.1\r\nHost: h:1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://a\r\n\r\n";
    assert_eq!(handshake().request(), expected.as_bytes());
}

#[test]
fn nothing_can_be_smuggled_into_the_request() {
    let check = |host, path, header| {
        assert_eq!(
            ClientHandshake::new(host, path, RANDOM, &[header]).unwrap_err(),
            HandshakeError::Request
        );
    };
    check("a b", "/", ("a", "b"));
    check("a", "/\r\nx: y", ("a", "b"));
    check("a", "", ("a", "b"));
    check("a", "/", ("a:", "b"));
    check("a", "/", ("", "b"));
    check("a", "/", ("a", "b\r\nc: d"));
}

fn check(response: &str, expected: Result<Option<usize>, HandshakeError>) {
    assert_eq!(
        handshake().check_response(response.as_bytes()),
        expected,
        "{response}"
    );
}

#[test]
fn answers() {
    check(GOOD, Ok(Some(GOOD.len())));
    check(&format!("{GOOD}\u{1}frame"), Ok(Some(GOOD.len())));
    (0..GOOD.len()).for_each(|len| check(&GOOD[..len], Ok(None)));
    check(
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        Err(HandshakeError::Status(400)),
    );
    check("HTTP/1.0 101 x\r\n\r\n", Err(HandshakeError::Malformed));
    check("SSH-2.0\r\n\r\n", Err(HandshakeError::Malformed));
    check(
        &GOOD.replace("xOo=", "xOO="),
        Err(HandshakeError::Header("Sec-WebSocket-Accept")),
    );
    check(
        &GOOD.replace("WebSocket\r", "h2c\r"),
        Err(HandshakeError::Header("Upgrade")),
    );
    check(
        &GOOD.replace("Connection", "Disconnection"),
        Err(HandshakeError::Header("Connection")),
    );
    let extended = GOOD.replace(
        "\r\n\r\n",
        "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    );
    check(
        &extended,
        Err(HandshakeError::Header("Sec-WebSocket-Extensions")),
    );
    check(
        &format!("HTTP/1.1 101 x\r\nA: {}", "a".repeat(20_000)),
        Err(HandshakeError::TooLarge),
    );
    check(
        &format!("HTTP/1.1 101 x\r\n{}\r\n", "A: a\r\n".repeat(100)),
        Err(HandshakeError::TooLarge),
    );
}
