//! WebSocket rules and packets that break a connection: the offender is told and closed, nobody else notices.

use unisono_proto::ws::Opcode;

use crate::raw::{Frame, RawSocket};
use crate::server::TestServer;

/// Sends `bytes` as they are after joining; what comes back until the end.
async fn after(server: &TestServer, bytes: &[u8]) -> Vec<Frame> {
    let mut socket = RawSocket::join(server.port).await;
    socket.send_raw(bytes).await;
    socket.until_end().await
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test]
async fn frames_that_break_rfc_6455_end_the_connection_with_its_code() {
    let server = TestServer::start().await;
    let mut witness = RawSocket::join(server.port).await;
    for (what, bytes, code) in [
        ("unmasked, section 5.1", vec![0x81, 0x01, b'2'], 1002),
        ("RSV1, section 5.2", masked(0xc1, b"2"), 1002),
        ("RSV2, section 5.2", masked(0xa1, b"2"), 1002),
        ("RSV3, section 5.2", masked(0x91, b"2"), 1002),
        ("reserved opcode 3, section 5.2", masked(0x83, b""), 1002),
        ("reserved opcode 11, section 5.2", masked(0x8b, b""), 1002),
        ("fragmented ping, section 5.5", masked(0x09, b""), 1002),
        (
            "ping of 126 bytes, section 5.5",
            vec![0x89, 0xfe, 0, 126, 0, 0, 0, 0],
            1002,
        ),
        (
            "continuation of nothing, section 5.4",
            masked(0x80, b"x"),
            1002,
        ),
        (
            "text within a fragmented text, section 5.4",
            [masked(0x01, b"4"), masked(0x81, b"2")].concat(),
            1002,
        ),
        (
            "length with the top bit, section 5.2",
            vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            1002,
        ),
        (
            "invalid UTF-8, section 8.1",
            masked(0x81, b"\xff\xfe"),
            1007,
        ),
        (
            "UTF-8 cut off, section 8.1",
            [masked(0x01, b"4\xe2\x82"), masked(0x80, b"2")].concat(),
            1007,
        ),
        ("close of one byte, section 5.5.1", masked(0x88, b"x"), 1002),
        (
            "close code 1005, section 7.4.1",
            masked(0x88, b"\x03\xed"),
            1002,
        ),
        ("close code 0, section 7.4.2", masked(0x88, b"\0\0"), 1002),
        (
            "a terabyte announced",
            vec![0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            1009,
        ),
    ] {
        let frames = after(&server, &bytes).await;
        assert_eq!(frames, [Frame::Close(Some(code))], "{what}");
    }
    witness.send("42[\"message\",1]").await;
    assert_eq!(witness.text().await, "42[\"message-back\",1]");
}

#[tokio::test]
async fn max_payload_is_exact() {
    let server = TestServer::with(|io| io.max_payload(100)).await;
    let packet = |len: usize| format!("42[\"message\",\"{}\"]", "x".repeat(len - 16));
    let mut socket = RawSocket::join(server.port).await;
    socket.send(&packet(100)).await;
    assert!(socket.text().await.starts_with("42[\"message-back\""));
    socket.send(&packet(101)).await;
    assert_eq!(socket.until_end().await, [Frame::Close(Some(1009))]);
    assert_eq!(server.refused("too_large"), 1);
}

#[tokio::test]
async fn packets_that_break_socket_io_end_the_connection() {
    let server = TestServer::start().await;
    let mut witness = RawSocket::join(server.port).await;
    let texts = [
        "4",
        "4abc",
        "40",
        "40[]",
        "42",
        "42{}",
        "42[]",
        "42[null]",
        "42[true,1]",
        "42[{\"toString\":\"foo\"}]",
        "42abc[]",
        "42[\"connect\"]",
        "42[\"disconnect\"]",
        "42[\"error",
        "43",
        "43{}",
        "44{}",
        "45",
        "450-[\"x\"]",
        "45 1-[\"x\"]",
        "451e1-[\"x\"]",
        "450x5-[\"x\"]",
        "45+3-[\"x\"]",
        "4599999999-[\"x\"]",
        "4511-[\"x\",{\"_placeholder\":true,\"num\":0}]",
        "42/other,[\"x\"]",
        "46",
        "47",
        "49",
        "2",
        "9",
        "x",
        "",
    ];
    let mut harmless = Vec::new();
    for text in texts {
        let mut socket = RawSocket::join(server.port).await;
        socket.send(text).await;
        socket.send("42[\"message\",\"still here\"]").await;
        match socket.next().await {
            Frame::Text(answer) => {
                assert_eq!(answer, "42[\"message-back\",\"still here\"]", "{text}");
                harmless.push(text);
            }
            end => assert_eq!(end, Frame::Close(None), "{text}"),
        }
    }
    // Node tolerates these: an event or an acknowledgement without a payload is nothing.
    for text in &harmless {
        assert!(matches!(*text, "42" | "43"), "{text} was let through");
    }
    witness.send("42[\"message\",1]").await;
    assert_eq!(witness.text().await, "42[\"message-back\",1]");
}

#[tokio::test]
async fn a_text_between_attachments_and_an_attachment_without_text_end_the_connection() {
    let server = TestServer::start().await;
    let mut socket = RawSocket::join(server.port).await;
    socket
        .send("451-[\"message\",{\"_placeholder\":true,\"num\":0}]")
        .await;
    socket.send("42[\"message\"]").await;
    assert_eq!(socket.until_end().await, [Frame::Close(None)]);
    let mut socket = RawSocket::join(server.port).await;
    socket.send_frame(Opcode::Binary, b"x").await;
    assert_eq!(socket.until_end().await, [Frame::Close(None)]);
}

#[tokio::test]
async fn a_websocket_ping_is_answered_and_a_close_is_returned() {
    let server = TestServer::start().await;
    let mut socket = RawSocket::join(server.port).await;
    socket.send_frame(Opcode::Ping, b"are you there").await;
    assert_eq!(socket.next().await, Frame::Pong(b"are you there".to_vec()));
    socket.send_frame(Opcode::Close, b"\x03\xe8bye").await;
    assert_eq!(socket.until_end().await, [Frame::Close(Some(1000))]);
}

#[tokio::test]
async fn nothing_follows_a_close_frame_and_what_was_asked_before_is_answered() {
    let server = TestServer::start().await;
    let text = |text: &str| masked(0x81, text.as_bytes());
    let ping = masked(0x89, b"there?");
    let pong = Frame::Pong(b"there?".to_vec());
    // Each in one segment with what is to be answered before.
    for (what, last, code) in [
        ("a close", masked(0x88, b"\x03\xe8"), Some(1000)),
        (
            "a frame that breaks the rules",
            masked(0x83, b""),
            Some(1002),
        ),
        ("a close of Engine.IO", text("1"), None),
        ("a packet that breaks the rules", text("42null"), None),
    ] {
        let frames = after(&server, &[ping.clone(), last.clone()].concat()).await;
        assert_eq!(frames, [pong.clone(), Frame::Close(code)], "{what}");
        let frames = after(&server, &[text("40/random"), last].concat()).await;
        let refusal = Frame::Text("44/random,{\"message\":\"Invalid namespace\"}".into());
        assert_eq!(frames, [refusal, Frame::Close(code)], "{what}");
    }
}

#[tokio::test]
async fn a_message_in_many_fragments_is_one_message() {
    let server = TestServer::start().await;
    let mut socket = RawSocket::join(server.port).await;
    let text = "42[\"message\",\"f\u{fc}nf\"]".as_bytes();
    let mut bytes = Vec::new();
    for (index, byte) in text.iter().enumerate() {
        let first =
            if index == 0 { 0x01 } else { 0x00 } | if index + 1 == text.len() { 0x80 } else { 0 };
        bytes.extend(masked(first, &[*byte]));
        bytes.extend(masked(0x8a, b"pong in between"));
    }
    // Byte by byte, as a slow network would.
    for byte in bytes {
        socket.send_raw(&[byte]).await;
    }
    assert_eq!(socket.text().await, "42[\"message-back\",\"f\u{fc}nf\"]");
}

#[tokio::test]
async fn a_namespace_that_does_not_exist_is_refused_and_the_connection_stays() {
    let server = TestServer::start().await;
    let mut socket = RawSocket::join(server.port).await;
    socket.send("40/random").await;
    assert_eq!(
        socket.text().await,
        "44/random,{\"message\":\"Invalid namespace\"}"
    );
    socket.send("40/custom,{\"a\":1}").await;
    assert!(socket.text().await.starts_with("40/custom,{\"sid\":\""));
    assert_eq!(socket.text().await, "42/custom,[\"auth\",{\"a\":1}]");
    socket.send("41/custom").await;
    socket.send("42[\"message\",1]").await;
    assert_eq!(socket.text().await, "42[\"message-back\",1]");
    assert_eq!(server.refused("namespace"), 1);
}
