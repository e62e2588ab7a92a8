//! The client pings.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use unisono::Socket;

use super::{configured, joined, poll, poll_for, post, record, silent, websocket};
use crate::raw::Frame;
use crate::server::{TestServer, quick};

#[tokio::test]
async fn the_client_keeps_the_session_alive_by_pinging() {
    let server = configured(quick, silent()).await;
    // On polling: nothing is heard for 500 ms.
    let sid = joined(server.port).await;
    assert_eq!(poll(server.port, &sid).await.body, "1:1");
    assert_eq!(server.io.stats().connections_polling, 0);
    // On a WebSocket: pings keep it for longer than that.
    let (mut socket, _) = websocket(server.port).await;
    let start = tokio::time::Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(150));
    while start.elapsed() < Duration::from_millis(1200) {
        ticks.tick().await;
        socket.send("2").await;
        assert_eq!(socket.text().await, "3");
    }
    // Events do not.
    let last = tokio::time::Instant::now();
    loop {
        socket.send("42[\"message\"]").await;
        match socket.next().await {
            Frame::Text(text) => assert_eq!(text, "42[\"message-back\"]"),
            Frame::Close(code) => break assert_eq!(code, None),
            other => panic!("{other:?}"),
        }
        ticks.tick().await;
    }
    assert!(
        last.elapsed() >= Duration::from_millis(450),
        "closed too early"
    );
    let ended = server.io.stats().disconnects;
    let timeouts = ended.iter().find(|(reason, _)| *reason == "ping timeout");
    assert_eq!(timeouts.map(|(_, n)| *n), Some(2));
}

/// A handler that waits, in a namespace with short time-outs.
async fn with_gate() -> (TestServer, Arc<Notify>) {
    let gate = Arc::new(Notify::new());
    let opened = gate.clone();
    let wait = move || {
        let gate = opened.clone();
        async move { gate.notified().await }
    };
    let namespace = silent().on("wait", wait);
    (configured(quick, namespace).await, gate)
}

#[tokio::test]
async fn a_client_hears_of_the_server_while_handlers_hold_reading_back() {
    let (server, gate) = with_gate().await;
    let (mut socket, _) = websocket(server.port).await;
    socket.send("42[\"wait\"]").await;
    for _ in 0..100 {
        socket.send("42[\"message\"]").await;
    }
    // Its ping lies behind what is not read, so it is not answered; yet something comes within each time-out, for longer than all of
    // them together.
    socket.send("2unread").await;
    for _ in 0..10 {
        let text = tokio::time::timeout(Duration::from_millis(190), socket.text()).await;
        assert_eq!(text.expect("within the ping time-out"), "3");
    }
    gate.notify_one();
    let mut seen = 0;
    loop {
        match &*socket.text().await {
            "42[\"message-back\"]" => seen += 1,
            "3" => {}
            "3unread" => break,
            other => panic!("{other}"),
        }
    }
    while seen < 100 {
        seen += usize::from(socket.text().await == "42[\"message-back\"]");
    }
    // From now on it is the client's turn again.
    assert_eq!(socket.until_end().await, [Frame::Close(None)]);
}

#[tokio::test]
async fn a_client_hears_of_the_server_while_ends_by_the_application_hold_reading_back() {
    // So many may leave before nothing more is read.
    const DEPARTING: usize = 16;
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let namespace = silent()
        .on("bye", async |socket: Socket| socket.disconnect())
        .on_disconnect(move || {
            let gate = opened.clone();
            async move { drop(gate.acquire().await) }
        });
    let server = configured(quick, namespace).await;
    let (mut socket, _) = websocket(server.port).await;
    for left in 1..=DEPARTING {
        socket.send("42[\"bye\"]").await;
        while socket.text().await != "41" {}
        if left < DEPARTING {
            socket.send("40").await;
            assert_eq!(socket.text().await, "40");
        }
    }
    for _ in 0..5 {
        let text = tokio::time::timeout(Duration::from_millis(190), socket.text()).await;
        assert_eq!(text.expect("within the ping time-out"), "3");
    }
    gate.close();
}

#[tokio::test]
async fn a_polling_client_hears_of_the_server_while_handlers_hold_reading_back() {
    let (server, gate) = with_gate().await;
    let sid = joined(server.port).await;
    let port = server.port;
    let body = record("42[\"wait\"]") + &record("42[\"message\"]").repeat(100) + "1:2";
    let posted = sid.clone();
    let posting = tokio::spawn(async move { post(port, &posted, &body).await });
    for _ in 0..10 {
        assert_eq!(poll(server.port, &sid).await.body, "1:3");
    }
    assert!(!posting.is_finished());
    gate.notify_one();
    assert_eq!(posting.await.unwrap().body, "ok");
    let mut seen = 0;
    while seen < 100 {
        let got = poll_for(server.port, &sid, &[":"]).await;
        seen += got.matches("message-back").count();
    }
    // From now on it is the client's turn again.
    let last = poll(server.port, &sid).await.body;
    assert!(
        last == "1:1" || last.ends_with("1:3") && poll(server.port, &sid).await.body == "1:1",
        "{last}"
    );
}
