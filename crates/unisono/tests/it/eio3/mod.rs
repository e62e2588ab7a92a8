//! Engine.IO 3, byte by byte. What is expected is what Node's server was seen to send with `allowEIO3`, unless it says otherwise.

mod heartbeat;
mod jsonp;
mod polling;

use tokio::sync::mpsc;
use unisono::{ConnectError, Io, IoBuilder, Namespace, Revision, Socket, Value};
use unisono_proto::ws::Opcode;

use crate::raw::{Answer, Frame, PATIENCE, RawSocket, get, request, request_bytes, sid_of};
use crate::server::{TestServer, quick};

const OCTETS: &str = "Content-Type: application/octet-stream\r\n";

async fn start() -> TestServer {
    TestServer::with(|io| io.allow_eio3(true)).await
}

async fn serve<S: Clone + Send + Sync + 'static>(namespace: Namespace<S>) -> TestServer {
    configured(|io| io, namespace).await
}

async fn configured<S: Clone + Send + Sync + 'static>(
    configure: impl FnOnce(IoBuilder) -> IoBuilder,
    namespace: Namespace<S>,
) -> TestServer {
    let io = Io::builder().allow_eio3(true).namespace(namespace);
    TestServer::serve(configure(io).build()).await
}

/// A namespace that says nothing by itself.
fn silent() -> Namespace {
    Namespace::new("/").on("message", async |socket: Socket| {
        socket.emit("message-back", &()).unwrap();
    })
}

/// Opens a polling session.
async fn open(port: u16) -> String {
    sid_of(&get(port, "EIO=3&transport=polling").await.body)
}

/// The same, and takes the packet that says that `/` was joined, and what is with it.
async fn joined(port: u16) -> String {
    let sid = open(port).await;
    assert!(poll(port, &sid).await.body.starts_with("2:40"));
    sid
}

async fn poll(port: u16, sid: &str) -> Answer {
    get(port, &format!("EIO=3&transport=polling&sid={sid}")).await
}

/// Polls until all of `expected` has come.
async fn poll_for(port: u16, sid: &str, expected: &[&str]) -> String {
    let mut got = String::new();
    while !expected.iter().all(|text| got.contains(text)) {
        let answer = poll(port, sid).await;
        assert_eq!(answer.status, 200, "{got}");
        got.push_str(&answer.body);
    }
    got
}

async fn post(port: u16, sid: &str, body: &str) -> Answer {
    post_bytes(port, sid, "", body.as_bytes()).await
}

async fn post_bytes(port: u16, sid: &str, headers: &str, body: &[u8]) -> Answer {
    let target = format!("/socket.io/?EIO=3&transport=polling&sid={sid}");
    request_bytes(port, "POST", &target, headers, body).await
}

/// A packet of ASCII as a record.
fn record(packet: &str) -> String {
    format!("{}:{packet}", packet.len())
}

async fn websocket(port: u16) -> (RawSocket, String) {
    let mut socket = RawSocket::connect(port, "EIO=3&transport=websocket").await;
    let sid = sid_of(&socket.text().await);
    assert_eq!(socket.text().await, "40");
    (socket, sid)
}

#[tokio::test]
async fn it_is_refused_unless_it_is_allowed() {
    let server = TestServer::start().await;
    for eio in ["EIO=3&", "", "EIO=5&", "EIO=x&"] {
        let query = format!("{eio}transport=polling");
        let answer = get(server.port, &query).await;
        let body = r#"{"code":5,"message":"Unsupported protocol version"}"#;
        assert_eq!((answer.status, &*answer.body), (400, body), "{query}");
        let query = format!("{eio}transport=websocket");
        let refused = RawSocket::try_connect(server.port, &query, "").await;
        assert_eq!(refused.map(|_| ()).unwrap_err().status, 400, "{query}");
    }
    assert_eq!(server.refused("unsupported_version"), 8);
    let server = start().await;
    for eio in ["EIO=3&", "", "EIO=5&", "EIO=x&"] {
        let query = format!("{eio}transport=polling");
        assert_eq!(get(server.port, &query).await.status, 200, "{query}");
    }
}

#[tokio::test]
async fn a_namespace_has_a_query_and_an_id_of_the_session() {
    let server = start().await;
    let sid = joined(server.port).await;
    let mut body = record("40/custom?token=a%2Cb&x=1,");
    body += &record("42/custom,1[\"join\"]");
    body += &record("422[\"join\"]");
    assert_eq!(post(server.port, &sid, &body).await.body, "ok");
    let got = poll_for(server.port, &sid, &["432[", "43/custom,1["]).await;
    for expected in [
        record("40/custom,"),
        record("42/custom,[\"auth\",{\"token\":\"a,b\",\"x\":\"1\"}]"),
        record(&format!("43/custom,1[[\"/custom#{sid}\"]]")),
        record(&format!("432[[\"{sid}\"]]")),
    ] {
        assert!(got.contains(&expected), "{expected} in {got}");
    }
    let space = server.io.of("/custom").unwrap();
    let socket = space.local_socket(&format!("/custom#{sid}")).unwrap();
    assert_eq!(socket.revision(), Revision::V3);
    // By its id, as by any room.
    space.to(socket.id()).emit("you", &()).unwrap();
    assert_eq!(
        poll(server.port, &sid).await.body,
        record("42/custom,[\"you\"]")
    );
    // An unknown one is told so, under its name.
    post(server.port, &sid, &record("40/nope?x=1,")).await;
    assert_eq!(
        poll(server.port, &sid).await.body,
        "39:44/nope,{\"message\":\"Invalid namespace\"}"
    );
}

const ATTACHED: &str = "451-[\"back\",{\"_placeholder\":true,\"num\":0}]";

fn returning_bytes() -> Namespace {
    Namespace::new("/").on(
        "bin",
        async |socket: Socket, unisono::Args(args): unisono::Args| {
            // A text in front: where there is binary, all of the payload is.
            socket.emit("t", "\u{20ac}\u{1f600}").unwrap();
            socket.emit("back", &args[0]).unwrap();
        },
    )
}

#[tokio::test]
async fn a_websocket_carries_bytes_behind_their_type() {
    let server = serve(returning_bytes()).await;
    let head = "451-[\"bin\",{\"_placeholder\":true,\"num\":0}]";
    let text = "42[\"t\",\"\u{20ac}\u{1f600}\"]";
    let (mut socket, _) = websocket(server.port).await;
    for as_text in [false, true] {
        socket.send(head).await;
        if as_text {
            socket.send("b4AQID").await;
        } else {
            socket.send_frame(Opcode::Binary, &[4, 1, 2, 3]).await;
        }
        assert_eq!(socket.text().await, text);
        assert_eq!(socket.text().await, ATTACHED);
        assert_eq!(socket.next().await, Frame::Binary(vec![4, 1, 2, 3]));
    }
    // With `b64` only texts come back; in revision 4 too.
    for (eio, bytes, expected) in [(3, &[4, 1, 2, 3][..], "b4AQID"), (4, &[1, 2, 3], "bAQID")] {
        let query = format!("EIO={eio}&transport=websocket&b64=1");
        let mut socket = RawSocket::connect(server.port, &query).await;
        socket.text().await;
        if eio == 4 {
            socket.send("40").await;
        }
        assert!(socket.text().await.starts_with("40"));
        socket.send(head).await;
        socket.send_frame(Opcode::Binary, bytes).await;
        assert_eq!(socket.text().await, text);
        assert_eq!(socket.text().await, ATTACHED);
        assert_eq!(socket.text().await, expected);
    }
}

#[tokio::test]
async fn a_broadcast_reaches_each_session_in_its_dialect() {
    let server = serve(silent()).await;
    let (mut old, _) = websocket(server.port).await;
    let mut new = RawSocket::enter(server.port).await;
    let sid = joined(server.port).await;
    let space = server.io.of("/").unwrap();
    let bytes = Value::Bin(vec![1, 2, 3].into());
    space.emit("back", &bytes).unwrap();
    assert_eq!(old.text().await, ATTACHED);
    assert_eq!(old.next().await, Frame::Binary(vec![4, 1, 2, 3]));
    assert_eq!(new.text().await, ATTACHED);
    assert_eq!(new.next().await, Frame::Binary(vec![1, 2, 3]));
    assert!(
        poll(server.port, &sid)
            .await
            .bytes
            .ends_with(b"\x01\x04\xff\x04\x01\x02\x03")
    );
    // Large enough that the kernel takes it in pieces.
    let large = Value::Bin(vec![7; 900_000].into());
    for _ in 0..3 {
        space.emit("back", &large).unwrap();
        for (socket, extra) in [(&mut old, 1), (&mut new, 0)] {
            assert_eq!(socket.text().await, ATTACHED);
            let Frame::Binary(bytes) = socket.next().await else {
                panic!("no bytes");
            };
            assert_eq!(bytes.len(), 900_000 + extra);
        }
    }
}

#[tokio::test]
async fn packets_that_have_no_place_end_the_websocket() {
    let server = serve(silent()).await;
    let wrong = [
        (Opcode::Text, "3"),
        (Opcode::Text, "0{}"),
        (Opcode::Text, "7"),
        (Opcode::Text, ""),
        (Opcode::Text, "bAQID"),
        (Opcode::Text, "b"),
        (Opcode::Text, "b4AQID"),
        (Opcode::Binary, ""),
        (Opcode::Binary, "\u{2}"),
        (Opcode::Binary, "4x"),
        (Opcode::Binary, "\u{4}x"),
        (Opcode::Text, "40"),
        (Opcode::Text, "40/?a=1"),
        (Opcode::Text, "44"),
        (Opcode::Text, "42/x,[\"e\"]"),
    ];
    for (opcode, payload) in wrong {
        let (mut socket, _) = websocket(server.port).await;
        socket.send_frame(opcode, payload.as_bytes()).await;
        assert_eq!(socket.until_end().await, [Frame::Close(None)], "{payload}");
    }
    assert_eq!(server.refused("packet"), wrong.len() as u64);
    for harmless in ["2", "5", "6", "41/?x"] {
        let (mut socket, _) = websocket(server.port).await;
        socket.send(harmless).await;
        socket.send("2again").await;
        let mut text = socket.text().await;
        if harmless == "2" {
            assert_eq!(text, "3");
            text = socket.text().await;
        }
        assert_eq!(text, "3again", "{harmless}");
    }
}

/// CVE-2026-102599 killed a Node server by the heartbeat that came after.
#[tokio::test]
async fn a_session_keeps_its_revision() {
    let server = start().await;
    for (own, others) in [
        (4, ["EIO=3&", "", "EIO=x&"]),
        (3, ["EIO=4&", "EIO=3&EIO=4&", "EIO=4&b64=1&"]),
    ] {
        let opened = get(server.port, &format!("EIO={own}&transport=polling")).await;
        let sid = sid_of(&opened.body);
        for other in others {
            for (method, body) in [("GET", ""), ("POST", "1:2"), ("POST", "2"), ("POST", "3")] {
                let target = format!("/socket.io/?{other}transport=polling&sid={sid}");
                let answer = request(server.port, method, &target, "", body).await;
                let expected = r#"{"code":3,"message":"Bad request"}"#;
                assert_eq!(
                    (answer.status, &*answer.body),
                    (400, expected),
                    "{own} {other}"
                );
            }
            let query = format!("{other}transport=websocket&sid={sid}");
            let refused = RawSocket::try_connect(server.port, &query, "").await;
            assert_eq!(
                refused.map(|_| ()).unwrap_err().status,
                400,
                "{own} {other}"
            );
        }
        // It lives, and can be upgraded in its own.
        let query = format!("EIO={own}&transport=websocket&sid={sid}");
        let mut socket = RawSocket::connect(server.port, &query).await;
        socket.send("2probe").await;
        assert_eq!(socket.text().await, "3probe");
        socket.send("5").await;
        if own == 3 {
            assert_eq!(socket.text().await, "40");
            assert_eq!(socket.text().await, "42[\"auth\"]");
            socket.send("2").await;
            assert_eq!(socket.text().await, "3");
        } else {
            socket.send("40").await;
            assert!(socket.text().await.starts_with("40{"));
        }
    }
    assert_eq!(server.refused("bad_request"), 2 * 3 * 5);
}

#[tokio::test]
async fn an_upgrade_loses_nothing() {
    let server = start().await;
    let sid = joined(server.port).await;
    let query = format!("EIO=3&transport=websocket&sid={sid}");
    let mut socket = RawSocket::connect(server.port, &query).await;
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");
    // The waiting poll is released so that the client can pause; what it got before is its own affair.
    let mut released = poll(server.port, &sid).await.body;
    while released != "1:6" {
        assert!(released.contains("auth"), "{released}");
        released = poll(server.port, &sid).await.body;
    }
    let body = record("42[\"message\",1]") + &record("42[\"message\",2]");
    assert_eq!(post(server.port, &sid, &body).await.body, "ok");
    socket.send("5").await;
    socket.send("42[\"message\",3]").await;
    for n in 1..=3 {
        assert_eq!(socket.text().await, format!("42[\"message-back\",{n}]"));
    }
    assert_eq!(poll(server.port, &sid).await.status, 400);
}

#[tokio::test]
async fn whoever_is_not_admitted_gets_the_data_or_the_message() {
    let error = |data: Option<Value>| {
        let error = ConnectError::new("denied2");
        match data {
            Some(data) => error.with_data(data),
            None => error,
        }
    };
    for (data, expected) in [
        (None, "44\"denied2\""),
        (
            Some(Value::Map(vec![("a".into(), 1.into())])),
            "44{\"a\":1}",
        ),
        (Some("why".into()), "44\"why\""),
        (Some("".into()), "44\"denied2\""),
        (Some(0.into()), "44\"denied2\""),
        (Some(false.into()), "44\"denied2\""),
        (Some(Value::Null), "44\"denied2\""),
        (Some(Value::Bin(vec![1].into())), "44\"denied2\""),
    ] {
        let denied = error(data);
        let namespace = Namespace::new("/").middleware(move || {
            let denied = denied.clone();
            async move { Err(denied) }
        });
        let server = serve(namespace).await;
        let mut socket = RawSocket::connect(server.port, "EIO=3&transport=websocket").await;
        socket.text().await;
        assert_eq!(socket.text().await, expected);
        assert_eq!(server.refused("forbidden"), 1);
        // Not in, and not thrown out: it may go on, until the time to join is over.
        socket.send("2").await;
        assert_eq!(socket.text().await, "3");
        socket.send("42[\"e\"]").await;
        assert_eq!(socket.until_end().await, [Frame::Close(None)]);
    }
}

#[tokio::test]
async fn where_there_is_no_main_namespace_nobody_hears_of_it() {
    let server = serve(Namespace::new("/chat")).await;
    let mut socket = RawSocket::connect(server.port, "EIO=3&transport=websocket").await;
    socket.text().await;
    socket.send("40/chat,").await;
    assert_eq!(socket.text().await, "40/chat,");
    assert_eq!(server.refused("namespace"), 0);
    let server = configured(quick, Namespace::new("/chat")).await;
    let mut socket = RawSocket::connect(server.port, "EIO=3&transport=websocket").await;
    socket.text().await;
    // Nothing but the time to join is over.
    for _ in 0..3 {
        socket.send("2").await;
        assert_eq!(socket.text().await, "3");
    }
    assert!(matches!(socket.until_end().await[..], [Frame::Close(None)]));
}

#[tokio::test]
async fn a_socket_that_comes_back_under_its_id_is_another() {
    let (sockets, mut socket) = mpsc::unbounded_channel();
    let namespace = Namespace::with_state("/", sockets).on_connect(
        async |socket: Socket,
               unisono::State(sockets): unisono::State<mpsc::UnboundedSender<Socket>>| {
            sockets.send(socket).unwrap();
        },
    );
    let server = serve(namespace).await;
    let (mut client, sid) = websocket(server.port).await;
    let first = socket.recv().await.unwrap();
    client.send("41").await;
    client.send("40").await;
    assert_eq!(client.text().await, "40");
    let second = socket.recv().await.unwrap();
    assert_eq!((first.id(), second.id()), (&*sid, &*sid));
    assert_eq!((first.is_connected(), second.is_connected()), (false, true));
    // The old handle ends nobody.
    first.disconnect();
    second.emit("still", &()).unwrap();
    assert_eq!(client.text().await, "42[\"still\"]");
    second.disconnect();
    assert_eq!(client.text().await, "41");
}

#[tokio::test]
async fn a_drain_ends_both_transports_without_a_disconnect_packet() {
    let server = serve(silent()).await;
    let (mut socket, _) = websocket(server.port).await;
    let sid = joined(server.port).await;
    let io = server.io.clone();
    let (drained, answer) = tokio::join!(io.drain(PATIENCE), poll(server.port, &sid));
    assert!(drained);
    assert_eq!(answer.body, "1:1");
    assert_eq!(socket.until_end().await, [Frame::Close(None)]);
    assert_eq!(
        get(server.port, "EIO=3&transport=polling").await.status,
        503
    );
}

#[tokio::test]
async fn a_close_answers_the_waiting_poll() {
    let server = serve(silent()).await;
    let sid = joined(server.port).await;
    let (answer, closed) = tokio::join!(poll(server.port, &sid), post(server.port, &sid, "1:1"));
    assert_eq!(closed.body, "ok");
    assert!(
        matches!(&*answer.body, "1:1" | "1:6") || answer.status == 400,
        "{answer:?}"
    );
}
