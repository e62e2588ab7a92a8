//! Payloads: lengths, bytes, and what is wrong with them.

use unisono_test::await_until;

use super::{
    ATTACHED, OCTETS, joined, poll, poll_for, post, post_bytes, record, returning_bytes, serve,
    start,
};
use crate::raw::{Answer, PATIENCE, get, sid_of};
use crate::server::TestServer;

#[tokio::test]
async fn a_polling_session_opens_joins_and_answers_in_lengths() {
    let server = start().await;
    let answer = get(server.port, "EIO=3&transport=polling").await;
    let sid = sid_of(&answer.body);
    let open = format!(
        "0{{\"sid\":\"{sid}\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}}"
    );
    assert_eq!(answer.body, format!("118:{open}"));
    let text = Some("text/plain; charset=UTF-8");
    assert_eq!(answer.header("content-type"), text);
    let answer = poll(server.port, &sid).await;
    assert_eq!(answer.body, "2:4010:42[\"auth\"]");
    assert_eq!(answer.header("content-type"), text);
    // Lengths count UTF-16 code units, both ways.
    let body = "19:42[\"message\",\"\u{20ac}\u{1f600}\"]1:26:2hello";
    assert_eq!(post(server.port, &sid, body).await.body, "ok");
    let got = poll_for(server.port, &sid, &["message-back"]).await;
    let back = "24:42[\"message-back\",\"\u{20ac}\u{1f600}\"]";
    assert!(got.contains("1:36:3hello"), "{got}");
    assert_eq!(got.replace("1:36:3hello", ""), back);
    // An end.
    assert_eq!(post(server.port, &sid, "1:1").await.body, "ok");
    await_until("the session to end", PATIENCE, || {
        server.io.stats().connections_polling == 0
    })
    .await;
    assert_eq!(poll(server.port, &sid).await.status, 400);
}

/// Everything that the session gets until the bytes are back.
async fn bytes_back(server: &TestServer, sid: &str) -> Vec<Answer> {
    let mut answers = vec![poll(server.port, sid).await];
    while !answers.last().unwrap().body.contains("back") {
        answers.push(poll(server.port, sid).await);
    }
    answers
}

#[tokio::test]
async fn polling_carries_bytes_as_they_are() {
    let server = serve(returning_bytes()).await;
    let sid = joined(server.port).await;
    let head = "451-[\"bin\",{\"_placeholder\":true,\"num\":0}]";
    let text = format!("{}10:b4AQIDBA==", record(head));
    let mut octets = b"\x00\x04\x01\xff".to_vec();
    octets.extend_from_slice(head.as_bytes());
    octets.extend_from_slice(b"\x01\x05\xff\x04\x01\x02\x03\x04");
    for (headers, body) in [("", text.as_bytes()), (OCTETS, &octets)] {
        let answer = post_bytes(server.port, &sid, headers, body).await;
        assert_eq!(answer.body, "ok");
        let answers = bytes_back(&server, &sid).await;
        let last = answers.last().unwrap();
        assert_eq!(
            last.header("content-type"),
            Some("application/octet-stream")
        );
        let mut expected = Vec::new();
        if answers.len() == 1 {
            expected.extend_from_slice(b"\x00\x01\x07\xff");
            expected.extend_from_slice("42[\"t\",\"\u{20ac}\u{1f600}\"]".as_bytes());
        }
        expected.extend_from_slice(b"\x00\x04\x02\xff");
        expected.extend_from_slice(ATTACHED.as_bytes());
        expected.extend_from_slice(b"\x01\x05\xff\x04\x01\x02\x03\x04");
        assert_eq!(last.bytes, expected);
    }
}

#[tokio::test]
async fn polling_carries_base64_where_the_client_asks_for_it() {
    let server = serve(returning_bytes()).await;
    let opened = get(server.port, "EIO=3&transport=polling&b64=1").await;
    let sid = sid_of(&opened.body);
    let head = "451-[\"bin\",{\"_placeholder\":true,\"num\":0}]";
    let body = format!("{}10:b4AQIDBA==", record(head));
    assert_eq!(post(server.port, &sid, &body).await.body, "ok");
    let answers = bytes_back(&server, &sid).await;
    let last = answers.last().unwrap();
    assert_eq!(
        last.header("content-type"),
        Some("text/plain; charset=UTF-8")
    );
    let expected = format!("{}10:b4AQIDBA==", record(ATTACHED));
    assert!(last.body.ends_with(&expected), "{}", last.body);
    assert!(!last.body.contains('\u{1e}'));
}

#[tokio::test]
async fn broken_payloads_end_their_session_and_no_other() {
    let server = start().await;
    let witness = joined(server.port).await;
    let texts = [
        "",
        "1",
        "2:2",
        "1:2x",
        "x:2",
        "-1:2",
        "1:\u{1f600}",
        "2:\u{1f600}",
        ":2",
        "1e0:2",
        "1:9",
        "7:bAQIDBA",
        "3:b4*",
        "99999999999999999999:2",
        "9007199254740993:2",
        "4:40\u{1e}2",
        "1:3",
        "1:0",
        "42[\"message\"]",
    ];
    let octets: [&[u8]; 6] = [
        b"\x00",
        b"\x02\x01\xff2",
        b"\x00\x09\x09\xff2",
        b"\x00\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\xff2",
        b"\x01\x01\xff\x02",
        b"\x00\x02\xff4\x80",
    ];
    let texts = texts.iter().map(|text| ("", text.as_bytes()));
    for (headers, body) in texts.chain(octets.into_iter().map(|body| (OCTETS, body))) {
        let before = server.refused("packet");
        let sid = joined(server.port).await;
        // Node says `ok` to a body that it could read, whatever the packets in it lead to.
        let answer = post_bytes(server.port, &sid, headers, body).await;
        assert_eq!(answer.body, "ok", "{body:?}");
        assert_eq!(post(server.port, &sid, "1:2").await.status, 400, "{body:?}");
        assert_eq!(server.refused("packet"), before + 1, "{body:?}");
    }
    assert_eq!(post(server.port, &witness, "1:2").await.body, "ok");
    assert_eq!(poll(server.port, &witness).await.body, "1:3");
}

/// CVE-2020-36048.
#[tokio::test]
async fn a_flood_of_tiny_packets_ends_the_session_and_costs_nobody_else() {
    let server = TestServer::with(|io| io.allow_eio3(true).max_payload(8 << 20)).await;
    let witness = joined(server.port).await;
    for (record, headers) in [
        ("1:2", ""),
        ("0:", ""),
        ("1:6", ""),
        ("\u{0}\u{1}\u{7f}2", OCTETS),
    ] {
        let mut body = record.as_bytes().to_vec();
        body.iter_mut()
            .filter(|byte| **byte == 0x7f)
            .for_each(|byte| *byte = 0xff);
        let body = body.repeat((8 << 20) / body.len());
        let sid = joined(server.port).await;
        post_bytes(server.port, &sid, headers, &body).await;
        assert_eq!(post(server.port, &sid, "1:2").await.status, 400);
    }
    assert_eq!(server.refused("packet") + server.refused("slow_reader"), 4);
    assert_eq!(post(server.port, &witness, "1:2").await.body, "ok");
    assert_eq!(poll(server.port, &witness).await.body, "1:3");
    // What an honest client might have saved up passes.
    let body = "13:42[\"message\"]".repeat(4000);
    assert_eq!(post(server.port, &witness, &body).await.body, "ok");
    let mut seen = 0;
    while seen < 4000 {
        let got = poll(server.port, &witness).await.body;
        assert!(got.starts_with("18:42[\"message-back\"]"), "{got}");
        seen += got.matches("message-back").count();
    }
}
