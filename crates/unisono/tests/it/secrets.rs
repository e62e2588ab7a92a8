//! What opens a session, and what clients send, stays out of logs and of what is printed.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use unisono::{Auth, ConnectError, Data, Io, Namespace, Socket};
use unisono_test::await_until;

use crate::raw::{PATIENCE, RawSocket, get, open, poll, post, request, sid_of};
use crate::server::TestServer;

const SECRET: &str = "s3cret-token";

/// Everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn logs_have_no_session_ids_no_tokens_and_nothing_of_an_event() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone());
    let _logging = tracing::subscriber::set_default(subscriber.finish());
    let admit = async |_: Auth<HashMap<String, u8>>| Ok::<_, ConnectError>(());
    let io = Io::builder()
        .namespace(Namespace::new("/").on("number", async |_: Data<u8>| {}))
        .namespace(Namespace::new("/admin").middleware(admit))
        .event_rate(1, 20)
        .allow_eio3(true);
    let server = TestServer::serve(io.build()).await;
    let mut socket = RawSocket::connect(server.port, "EIO=4&transport=websocket").await;
    let mut sids = vec![sid_of(&socket.text().await)];
    socket.send("40").await;
    socket.send(&format!("42[\"number\",\"{SECRET}\"]")).await;
    socket
        .send(&format!("40/admin,{{\"token\":\"{SECRET}\"}}"))
        .await;
    let unfit = || server.refused("arguments");
    await_until("both to be refused", PATIENCE, || unfit() == 2).await;
    for _ in 0..20 {
        socket.send("3").await;
    }
    socket.until_end().await;
    // An upgrade that fails, of a session that its client ends.
    let sid = open(server.port).await;
    let query = format!("EIO=4&transport=websocket&sid={sid}");
    let mut probe = RawSocket::connect(server.port, &query).await;
    probe.send("no probe").await;
    probe.until_end().await;
    post(server.port, &sid, "1").await;
    sids.push(sid);
    // In Engine.IO 3 the socket's id is the session's.
    let old = get(server.port, "EIO=3&transport=polling").await;
    let sid = sid_of(&old.body);
    let target = format!("/socket.io/?EIO=3&transport=polling&sid={sid}");
    let event = format!("42[\"number\",\"{SECRET}\"]");
    let event = format!("{}:{event}", event.len());
    request(server.port, "POST", &target, "", &event).await;
    sids.push(sid);
    let all = || unfit() == 3 && server.refused("upgrade") == 1;
    await_until("what is logged", PATIENCE, all).await;
    assert_eq!(server.refused("event_rate"), 1);
    let log = log.text();
    for said in [
        "does not fit its handler",
        "does not fit the middleware",
        "sends too much",
        "upgrade failed",
        "connection closed",
    ] {
        assert!(log.contains(said), "{said}: {log}");
    }
    for secret in sids.iter().map(String::as_str).chain([SECRET]) {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[tokio::test]
async fn what_a_request_brings_is_not_printed() {
    let (seen, mut printed) = mpsc::unbounded_channel();
    let asked = seen.clone();
    let namespace = Namespace::new("/").on_connect(move |socket: Socket| {
        let session = socket.id().to_owned();
        let all = format!("{socket:?} {:?} {}", socket.handshake(), socket.log_id());
        seen.send((all, session)).unwrap();
        async {}
    });
    let io = Io::builder()
        .namespace(namespace)
        .allow_eio3(true)
        .allow_request(move |request| {
            asked
                .send((format!("{request:?}"), SECRET.to_owned()))
                .unwrap();
            async { Ok(()) }
        });
    let server = TestServer::serve(io.build()).await;
    let target = format!("/socket.io/?EIO=3&transport=polling&token={SECRET}");
    let headers = format!("Authorization: Bearer {SECRET}\r\nCookie: id={SECRET}\r\n");
    let opened = request(server.port, "GET", &target, &headers, "").await;
    let sid = sid_of(&opened.body);
    poll(server.port, &sid).await;
    for _ in 0..2 {
        let (printed, secret) = printed.recv().await.unwrap();
        for secret in [SECRET, &secret, &sid] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}
