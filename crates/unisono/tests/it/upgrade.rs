//! From polling to WebSocket, in every order that goes wrong.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use unisono_test::await_until;

use crate::raw::{Frame, PATIENCE, RawSocket, open, poll, post};
use crate::server::TestServer;

async fn joined(server: &TestServer) -> String {
    let sid = open(server.port).await;
    assert_eq!(post(server.port, &sid, "40").await.body, "ok");
    assert!(poll(server.port, &sid).await.body.starts_with("40{"));
    sid
}

fn query(sid: &str) -> String {
    format!("EIO=4&transport=websocket&sid={sid}")
}

#[tokio::test]
async fn a_probed_websocket_takes_over_and_nothing_is_lost() {
    let server = TestServer::start().await;
    let sid = joined(&server).await;
    let mut socket = RawSocket::connect(server.port, &query(&sid)).await;
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");
    // The waiting poll is released so that the client can pause.
    assert_eq!(poll(server.port, &sid).await.body, "6");
    assert_eq!(
        post(
            server.port,
            &sid,
            "42[\"message\",1]\u{1e}42[\"message\",2]"
        )
        .await
        .body,
        "ok"
    );
    socket.send("5").await;
    socket.send("42[\"message\",3]").await;
    for n in 1..=3 {
        assert_eq!(socket.text().await, format!("42[\"message-back\",{n}]"));
    }
    let stats = server.io.stats();
    assert_eq!(
        (
            stats.connections_polling,
            stats.connections_websocket,
            stats.upgrades
        ),
        (0, 1, 1)
    );
    // The session is a WebSocket's now.
    assert_eq!(
        poll(server.port, &sid).await.body,
        r#"{"code":3,"message":"Bad request"}"#
    );
}

#[tokio::test]
async fn a_post_that_breaks_off_after_the_upgrade_does_not_end_the_session() {
    let server = TestServer::start().await;
    let sid = joined(&server).await;
    let mut post = TcpStream::connect(("127.0.0.1", server.port))
        .await
        .unwrap();
    let head = format!(
        "POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    );
    post.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 1024];
    let n = timeout(PATIENCE, post.read(&mut answer)).await.unwrap();
    assert!(answer[..n.unwrap()].starts_with(b"HTTP/1.1 100"));
    let mut socket = RawSocket::connect(server.port, &query(&sid)).await;
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");
    socket.send("5").await;
    socket.send("42[\"message\",1]").await;
    assert_eq!(socket.text().await, "42[\"message-back\",1]");
    // Its body is none: the request is given up, and answered behind that.
    post.write_all(b"no length\r\n").await.unwrap();
    let n = timeout(PATIENCE, post.read(&mut answer)).await.unwrap();
    assert!(answer[..n.unwrap()].starts_with(b"HTTP/1.1 400"));
    socket.send("42[\"message\",2]").await;
    assert_eq!(socket.text().await, "42[\"message-back\",2]");
}

#[tokio::test]
async fn an_upgrade_packet_in_the_same_segment_as_events_is_understood() {
    let server = TestServer::start().await;
    let sid = joined(&server).await;
    let mut socket = RawSocket::connect(server.port, &query(&sid)).await;
    let mut bytes = Vec::new();
    for text in ["2probe", "5", "42[\"message\",1]", "42[\"message\",2]"] {
        unisono_proto::ws::encode_masked(
            unisono_proto::ws::Opcode::Text,
            text.as_bytes(),
            [9; 4],
            &mut bytes,
        );
    }
    socket.send_raw(&bytes).await;
    assert_eq!(socket.text().await, "3probe");
    assert_eq!(socket.text().await, "42[\"message-back\",1]");
    assert_eq!(socket.text().await, "42[\"message-back\",2]");
}

#[tokio::test]
async fn a_failed_probe_leaves_polling_alive() {
    for wrong in ["2", "3probe", "5", "42[\"message\"]", "1", "2probe\u{1e}5"] {
        let server = TestServer::start().await;
        let sid = joined(&server).await;
        let mut socket = RawSocket::connect(server.port, &query(&sid)).await;
        socket.send(wrong).await;
        assert_eq!(socket.next().await, Frame::End, "{wrong}");
        assert_eq!(server.refused("upgrade"), 1, "{wrong}");
        assert_eq!(
            post(server.port, &sid, "42[\"message\",1]").await.body,
            "ok",
            "{wrong}"
        );
        assert_eq!(
            poll(server.port, &sid).await.body,
            "42[\"message-back\",1]",
            "{wrong}"
        );
        // And another may try.
        let mut socket = RawSocket::connect(server.port, &query(&sid)).await;
        socket.send("2probe").await;
        assert_eq!(socket.text().await, "3probe", "{wrong}");
    }
}

#[tokio::test]
async fn a_second_websocket_is_refused_without_harm() {
    let server = TestServer::start().await;
    let sid = joined(&server).await;
    let mut first = RawSocket::connect(server.port, &query(&sid)).await;
    first.send("2probe").await;
    assert_eq!(first.text().await, "3probe");
    for _ in 0..2 {
        let refused = RawSocket::try_connect(server.port, &query(&sid), "").await;
        assert_eq!(refused.map(|_| ()).unwrap_err().status, 400);
    }
    first.send("5").await;
    first.send("42[\"message\",1]").await;
    assert_eq!(first.text().await, "42[\"message-back\",1]");
    let refused = RawSocket::try_connect(server.port, &query(&sid), "").await;
    assert_eq!(refused.map(|_| ()).unwrap_err().status, 400);
    first.send("42[\"message\",2]").await;
    assert_eq!(first.text().await, "42[\"message-back\",2]");
}

#[tokio::test]
async fn a_session_that_ends_while_probing_takes_the_websocket_along() {
    let server = TestServer::start().await;
    let sid = joined(&server).await;
    let mut socket = RawSocket::connect(server.port, &query(&sid)).await;
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");
    assert_eq!(post(server.port, &sid, "1").await.body, "ok");
    assert_eq!(socket.next().await, Frame::End);
    await_until("the session to end", PATIENCE, || {
        server.io.stats().connections_polling == 0
    })
    .await;
}
