//! Plain Engine.IO: how sessions begin, live and end.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use unisono_proto::ws::Opcode;

use super::{SEPARATOR, Session, engine_socket, start};
use crate::examples::Example;
use crate::raw::{Answer, Frame, RawSocket, request};

/// Asserts that an open packet has these five fields and no others.
fn is_open_packet(packet: &str, upgrades: &Value) {
    let mut open: Value = serde_json::from_str(packet.strip_prefix('0').unwrap()).unwrap();
    let sid = open["sid"].take();
    assert_eq!(sid.as_str().unwrap().len(), 20);
    let expected = json!({
        "sid": null, "upgrades": upgrades, "pingInterval": 300, "pingTimeout": 200, "maxPayload": 1_000_000
    });
    assert_eq!(open, expected);
}

async fn ask(server: &Example, method: &str, query: &str) -> Answer {
    request(server.port, method, &format!("/engine.io/?{query}"), "", "").await
}

#[tokio::test]
async fn a_polling_session_opens_and_offers_the_upgrade() {
    let server = start().await;
    let answer = ask(&server, "GET", "EIO=4&transport=polling").await;
    is_open_packet(&answer.body, &json!(["websocket"]));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let content_type = answer.header("content-type");
    assert_eq!(content_type, Some("text/plain; charset=UTF-8"));
}

#[tokio::test]
async fn a_websocket_session_opens_and_offers_no_upgrade() {
    let server = start().await;
    let target = "/engine.io/?EIO=4&transport=websocket";
    let mut socket = RawSocket::connect_to(server.port, target).await.unwrap();
    is_open_packet(&socket.text().await, &json!([]));
}

#[tokio::test]
async fn handshakes_that_are_none_are_refused_with_their_code() {
    let server = start().await;
    for (method, query, code) in [
        ("GET", "EIO=4", 0),
        ("GET", "EIO=4&transport=abc", 0),
        ("GET", "EIO=4&transport=polling&sid=abc", 1),
        ("POST", "EIO=4&transport=polling", 2),
        ("PUT", "EIO=4&transport=polling", 2),
        ("GET", "EIO=4&transport=websocket", 3),
        ("GET", "transport=polling", 5),
        ("GET", "EIO=abc&transport=polling", 5),
    ] {
        let answer = ask(&server, method, query).await;
        assert_eq!(answer.status, 400, "{method} {query}");
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["code"], code, "{method} {query}");
    }
}

#[tokio::test]
async fn websocket_handshakes_that_are_none_are_refused() {
    let server = start().await;
    for query in [
        "transport=websocket",
        "EIO=abc&transport=websocket",
        "EIO=4",
        "EIO=4&transport=abc",
        "EIO=4&transport=websocket&sid=abc",
    ] {
        let target = format!("/engine.io/?{query}");
        let refused = RawSocket::connect_to(server.port, &target).await;
        assert_eq!(refused.map(|_| ()).unwrap_err().status, 400, "{query}");
    }
}

#[tokio::test]
async fn sessions_of_engine_io_3_are_refused_in_words() {
    let server = start().await;
    let unsupported = r#"{"code":5,"message":"Unsupported protocol version"}"#;
    let polling = ask(&server, "GET", "EIO=3&transport=polling").await;
    assert_eq!((polling.status, &*polling.body), (400, unsupported));
    let target = "/engine.io/?EIO=3&transport=websocket";
    let websocket = RawSocket::connect_to(server.port, target).await;
    assert_eq!(websocket.map(|_| ()).unwrap_err().body, unsupported);
}

#[tokio::test]
async fn any_web_page_may_connect() {
    let server = start().await;
    let origin = "Origin: https://elsewhere.example\r\n";
    for path in ["/engine.io/", "/socket.io/"] {
        let target = format!("{path}?EIO=4&transport=polling");
        let answer = request(server.port, "GET", &target, origin, "").await;
        assert_eq!(answer.status, 200, "{path}");
        let allowed = answer.header("access-control-allow-origin");
        assert!(allowed.is_some(), "{path} {answer:?}");
    }
}

#[tokio::test]
async fn polling_is_pinged_and_lives_as_long_as_it_answers() {
    let server = start().await;
    let session = Session::engine(&server).await;
    for _ in 0..3 {
        assert_eq!(session.get().await.body, "2");
        let posted = session.post("3").await;
        assert_eq!((posted.status, &*posted.body), (200, "ok"));
        assert_eq!(posted.header("content-type"), Some("text/html"));
    }
}

#[tokio::test]
async fn polling_that_does_not_answer_a_ping_ends() {
    let server = start().await;
    let session = Session::engine(&server).await;
    assert_eq!(session.get().await.body, "2");
    assert_eq!(session.get().await.body, "1");
    session.is_gone().await;
}

#[tokio::test]
async fn a_websocket_is_pinged_and_lives_as_long_as_it_answers() {
    let server = start().await;
    let mut socket = engine_socket(&server).await;
    for _ in 0..3 {
        assert_eq!(socket.text().await, "2");
        socket.send("3").await;
    }
}

#[tokio::test]
async fn a_websocket_that_does_not_answer_a_ping_ends() {
    let server = start().await;
    let mut socket = engine_socket(&server).await;
    assert_eq!(socket.until_end().await, [Frame::Close(None)]);
}

#[tokio::test]
async fn traffic_does_not_replace_a_pong() {
    let server = start().await;
    let mut socket = engine_socket(&server).await;
    assert_eq!(socket.text().await, "2");
    socket.send("4talk").await;
    assert_eq!(
        socket.until_end().await,
        [Frame::Text("4talk".into()), Frame::Close(None)]
    );
}

#[tokio::test]
async fn a_client_that_pings_is_closed() {
    let server = start().await;
    let mut socket = engine_socket(&server).await;
    socket.send("2").await;
    socket.until_end().await;
    let session = Session::engine(&server).await;
    session.post("2").await;
    session.is_gone().await;
}

#[tokio::test]
async fn a_close_by_post_releases_the_waiting_get_with_a_noop() {
    let server = start().await;
    loop {
        let session = Session::engine(&server).await;
        let mut waiting = begin_get(&session).await;
        assert_eq!(session.post("1").await.body, "ok");
        let answer = rest_of(&mut waiting).await;
        session.is_gone().await;
        // The two came on connections of their own, and the server may take the later first.
        if !answer.starts_with("HTTP/1.1 400") {
            assert!(is_answered_with(&answer, "6"), "{answer}");
            return;
        }
    }
}

#[tokio::test]
async fn a_close_over_a_websocket_ends_it() {
    let server = start().await;
    let mut socket = engine_socket(&server).await;
    socket.send("1").await;
    assert_eq!(socket.until_end().await, [Frame::Close(None)]);
    let mut socket = engine_socket(&server).await;
    socket.send_frame(Opcode::Close, &[]).await;
    assert_eq!(socket.until_end().await, [Frame::Close(None)]);
}

#[tokio::test]
async fn two_gets_at_a_time_end_the_session() {
    let server = start().await;
    let session = Session::engine(&server).await;
    let mut first = begin_get(&session).await;
    let second = session.get().await;
    let first = rest_of(&mut first).await;
    // Whichever came first is told of the end; the other is refused.
    let refused = first.starts_with("HTTP/1.1 400") || second.status == 400;
    let told = is_answered_with(&first, "1") || second.body == "1";
    assert!(refused && told, "{first} {second:?}");
    session.is_gone().await;
}

#[tokio::test]
async fn a_get_that_is_given_up_ends_the_session() {
    let server = start().await;
    let session = Session::engine(&server).await;
    drop(begin_get(&session).await);
    // Until then it is one GET too many, or it is answered with a ping; the session does not outlive either.
    while session.get().await.status != 400 {}
    session.is_gone().await;
}

#[tokio::test]
async fn the_websocket_takes_over_after_its_probe() {
    let server = start().await;
    let session = Session::engine(&server).await;
    let mut socket = session.candidate().await;
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");
    assert_eq!(session.get().await.body, "6");
    let body = format!("4before{SEPARATOR}bAQID");
    assert_eq!(session.post(&body).await.body, "ok");
    socket.send("5").await;
    socket.send("4behind").await;
    assert_eq!(socket.text().await, "4before");
    assert_eq!(socket.next().await, Frame::Binary(vec![1, 2, 3]));
    assert_eq!(socket.text().await, "4behind");
    let late = session.get().await;
    assert_eq!(late.body, r#"{"code":3,"message":"Bad request"}"#);
}

#[tokio::test]
async fn a_probe_that_fails_leaves_polling_alone() {
    let server = start().await;
    let session = Session::engine(&server).await;
    let mut socket = session.candidate().await;
    socket.send("2probes").await;
    assert_eq!(socket.next().await, Frame::End);
    session.post("4still").await;
    assert_eq!(session.get().await.body, "4still");
}

#[tokio::test]
async fn a_second_websocket_gets_nothing_and_harms_nobody() {
    let server = start().await;
    let session = Session::engine(&server).await;
    let mut first = session.candidate().await;
    let target = session.target.replace("polling", "websocket");
    for done in [false, true] {
        let second = RawSocket::connect_to(server.port, &target).await;
        assert_eq!(second.map(|_| ()).unwrap_err().status, 400, "{done}");
        if !done {
            first.send("2probe").await;
            assert_eq!(first.text().await, "3probe");
            first.send("5").await;
            first.send("4a").await;
        }
        assert_eq!(first.text().await, if done { "2" } else { "4a" });
    }
}

/// Sends a GET and does not wait for its answer.
async fn begin_get(session: &Session) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", session.port))
        .await
        .unwrap();
    let target = &session.target;
    let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn rest_of(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

fn is_answered_with(answer: &str, body: &str) -> bool {
    answer.starts_with("HTTP/1.1 200")
        && answer.split_once("\r\n\r\n").map(|(_, b)| b) == Some(body)
}
