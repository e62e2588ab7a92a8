//! Who is let into a namespace, and what happens meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Notify, mpsc};
use unisono::{Auth, ConnectError, EmitError, Io, Namespace, Socket, SocketData, State, Value};
use unisono_test::{Conversation, await_until};

use crate::raw::{Frame, PATIENCE, RawSocket};
use crate::server::TestServer;

/// A client that has opened its connection and joined nothing.
async fn open(server: &TestServer) -> RawSocket {
    let mut socket = RawSocket::connect(server.port, "EIO=4&transport=websocket").await;
    assert!(socket.text().await.starts_with("0{"));
    socket
}

/// Runs until it is let go; counts those that were dropped before.
#[derive(Clone, Default)]
struct Gate {
    open: Arc<Notify>,
    entered: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

impl Gate {
    async fn pass(self) {
        struct OnDrop(Arc<AtomicUsize>);
        impl Drop for OnDrop {
            fn drop(&mut self) {
                self.0.fetch_add(1, SeqCst);
            }
        }
        self.entered.fetch_add(1, SeqCst);
        let on_drop = OnDrop(self.dropped.clone());
        self.open.notified().await;
        std::mem::forget(on_drop);
    }

    /// A namespace whose middleware waits, and which says hello and tells of whoever came and went.
    fn namespace(&self, name: &str, seen: &mpsc::UnboundedSender<&'static str>) -> Namespace {
        let gate = self.clone();
        let (came, went) = (seen.clone(), seen.clone());
        Namespace::new(name)
            .middleware(move || {
                let gate = gate.clone();
                async move {
                    gate.pass().await;
                    Ok(())
                }
            })
            .on_connect(move |socket: Socket| {
                came.send("came").unwrap();
                async move { socket.emit("hello", &()).unwrap() }
            })
            .on_disconnect(move || {
                went.send("went").unwrap();
                async {}
            })
    }
}

#[tokio::test]
async fn middleware_runs_in_order_and_the_first_error_ends_it() {
    #[derive(Clone, Default)]
    struct Log(Arc<std::sync::Mutex<Vec<String>>>);
    let step = |name: &'static str| {
        move |State(log): State<Log>, Auth(auth): Auth<Value>| async move {
            // A wait in between must not change the order.
            tokio::task::yield_now().await;
            log.0.lock().unwrap().push(name.to_owned());
            match auth.get("stop").and_then(Value::as_str) {
                Some(stop) if stop == name => {
                    Err(ConnectError::new(format!("stopped by {name}"))
                        .with_data(json!({ "code": 7 })))
                }
                _ => Ok(()),
            }
        }
    };
    let log = Log::default();
    let namespace = Namespace::with_state("/", log.clone())
        .middleware(step("one"))
        .middleware(step("two"))
        .middleware(step("three"))
        .on_connect(async |socket: Socket| socket.emit("hello", &()).unwrap());
    let server = TestServer::of(namespace).await;
    let mut socket = open(&server).await;
    socket.send("40{\"stop\":\"two\"}").await;
    assert_eq!(
        socket.text().await,
        "44{\"message\":\"stopped by two\",\"data\":{\"code\":7}}"
    );
    // Not in: nothing reaches it, and it may ask again on the same connection.
    server.io.of("/").unwrap().emit("secret", &()).unwrap();
    socket.send("40").await;
    assert!(socket.text().await.starts_with("40{\"sid\""));
    assert_eq!(socket.text().await, "42[\"hello\"]");
    let log = log.0.lock().unwrap().join(" ");
    assert_eq!(log, "one two one two three");
    assert_eq!(server.refused("forbidden"), 1);
}

#[tokio::test]
async fn data_and_rooms_of_a_middleware_are_there_from_the_start() {
    struct User(String);
    let enter = async |socket: Socket, Auth(auth): Auth<Value>| {
        assert!(socket.handshake().query().contains("transport=websocket"));
        assert_eq!(socket.emit("early", &()), Err(EmitError::NotJoined));
        assert!(!socket.is_connected());
        socket.join_all(["a", "b", "c"]).unwrap();
        socket.leave("c");
        assert!(socket.is_in("a") && !socket.is_in("c"));
        assert_eq!(socket.rooms(), ["a", "b"]);
        let name = auth.get("name").and_then(Value::as_str);
        socket.set_data(User(name.ok_or(ConnectError::new("no name"))?.to_owned()));
        Ok(())
    };
    let connect = async |socket: Socket, SocketData(user): SocketData<User>| {
        let mut rooms = socket.rooms();
        assert_eq!(rooms.remove(0), socket.id());
        rooms.sort();
        assert!(socket.is_connected());
        socket.emit("hello", &(&user.0, rooms)).unwrap();
    };
    let namespace = Namespace::new("/").middleware(enter);
    let server = TestServer::of(namespace.on_connect(connect)).await;
    let mut socket = open(&server).await;
    socket.send("40{\"name\":\"ada\"}").await;
    assert!(socket.text().await.starts_with("40{\"sid\""));
    assert_eq!(socket.text().await, "42[\"hello\",\"ada\",[\"a\",\"b\"]]");
    let space = server.io.of("/").unwrap();
    space.to("b").emit("to b", &()).unwrap();
    space.to("c").emit("to c", &()).unwrap();
    space.to("a").emit("to a", &()).unwrap();
    assert_eq!(socket.text().await, "42[\"to b\"]");
    assert_eq!(socket.text().await, "42[\"to a\"]");
    let mut nameless = open(&server).await;
    nameless.send("40").await;
    assert_eq!(nameless.text().await, "44{\"message\":\"no name\"}");
    assert_eq!(space.local_room_count(), 2);
}

#[tokio::test]
async fn an_auth_that_does_not_fit_and_a_panic_refuse_the_client_alone() {
    let strict = Namespace::new("/strict").middleware(
        async |Auth(auth): Auth<std::collections::HashMap<String, u8>>| {
            assert_ne!(auth.get("n"), Some(&1), "a middleware may panic");
            Ok(())
        },
    );
    let server = TestServer::of(strict).await;
    let mut socket = open(&server).await;
    for (connect, answer) in [
        ("40/strict,", "44/strict,{\"message\":\"invalid auth\"}"),
        (
            "40/strict,{\"n\":1}",
            "44/strict,{\"message\":\"internal server error\"}",
        ),
        (
            "40/strict,{\"n\":\"x\"}",
            "44/strict,{\"message\":\"invalid auth\"}",
        ),
        ("40/strict,{\"n\":2}", "40/strict,{\"sid\""),
    ] {
        socket.send(connect).await;
        assert!(socket.text().await.starts_with(answer), "{connect}");
    }
    assert_eq!(server.refused("panic"), 1);
    assert_eq!(server.refused("arguments"), 2);
}

#[tokio::test]
async fn a_middleware_that_waits_holds_back_nothing_else_of_its_connection() {
    let gate = Gate::default();
    let (seen, mut came) = mpsc::unbounded_channel();
    let io = crate::server::quick(Io::builder())
        .connect_timeout(Duration::from_secs(20))
        .namespace(gate.namespace("/slow", &seen))
        .namespace(crate::server::namespace("/"))
        .build();
    let server = TestServer::serve(io).await;
    let mut socket = open(&server).await;
    socket.send("40/slow,").await;
    socket.send("40").await;
    assert!(socket.text().await.starts_with("40{\"sid\""));
    assert!(socket.text().await.starts_with("42[\"auth\""));
    socket.send("42[\"message\",1]").await;
    assert_eq!(socket.text().await, "42[\"message-back\",1]");
    // Longer than the heartbeat's time-out.
    for _ in 0..4 {
        assert_eq!(socket.text().await, "2");
        socket.send("3").await;
    }
    assert_eq!(server.io.of("/slow").unwrap().local_len(), 0);
    gate.open.notify_one();
    assert!(socket.text().await.starts_with("40/slow,{\"sid\""));
    assert_eq!(socket.text().await, "42/slow,[\"hello\"]");
    assert_eq!(came.recv().await, Some("came"));
}

#[tokio::test]
async fn packets_before_the_answer_end_the_connection_as_not_joined() {
    for packet in ["42/slow,[\"x\"]", "41/slow,", "43/slow,1[]"] {
        let gate = Gate::default();
        let (seen, mut came) = mpsc::unbounded_channel();
        let server = TestServer::of(gate.namespace("/slow", &seen)).await;
        let mut socket = open(&server).await;
        socket.send("40/slow,").await;
        socket.send(packet).await;
        assert_eq!(socket.until_end().await, [Frame::Close(None)], "{packet}");
        assert_eq!(server.refused("packet"), 1);
        await_until("the middleware to be dropped", PATIENCE, || {
            gate.dropped.load(SeqCst) == gate.entered.load(SeqCst)
        })
        .await;
        assert!(came.try_recv().is_err(), "nobody came, nobody went");
    }
}

#[tokio::test]
async fn whoever_asks_again_drops_the_middleware_of_the_first_attempt_where_it_waits() {
    let gate = Gate::default();
    let (seen, _came) = mpsc::unbounded_channel();
    let server = TestServer::of(gate.namespace("/slow", &seen)).await;
    let mut socket = open(&server).await;
    let counts = || (gate.entered.load(SeqCst), gate.dropped.load(SeqCst));
    for attempt in 1..=3 {
        socket.send("40/slow,").await;
        let again = || counts() == (attempt, attempt - 1);
        await_until("the middleware to begin anew", PATIENCE, again).await;
    }
    gate.open.notify_one();
    assert!(socket.text().await.starts_with("40/slow,{\"sid\""));
    assert_eq!(server.io.stats().sockets, 1);
}

#[tokio::test]
async fn a_connection_that_ends_drops_the_middleware_where_it_waits() {
    let gate = Gate::default();
    let (seen, mut came) = mpsc::unbounded_channel();
    let server = TestServer::of(gate.namespace("/slow", &seen)).await;
    let mut socket = open(&server).await;
    socket.send("40/slow,").await;
    await_until("the middleware to wait", PATIENCE, || {
        gate.entered.load(SeqCst) == 1
    })
    .await;
    drop(socket);
    await_until("the middleware to be dropped", PATIENCE, || {
        gate.dropped.load(SeqCst) == 1
    })
    .await;
    gate.open.notify_one();
    assert!(server.io.drain(PATIENCE).await);
    assert!(came.try_recv().is_err(), "a handler ran for nobody");
    assert_eq!(server.io.stats().sockets, 0);
}

#[tokio::test]
async fn whoever_is_not_let_in_in_time_is_refused() {
    let gate = Gate::default();
    let (seen, mut came) = mpsc::unbounded_channel();
    let io = Io::builder()
        .connect_timeout(Duration::from_millis(200))
        .namespace(gate.namespace("/slow", &seen))
        .namespace(Namespace::new("/"))
        .build();
    let server = TestServer::serve(io).await;
    // The first namespace: the connection ends.
    let mut socket = open(&server).await;
    socket.send("40/slow,").await;
    assert_eq!(socket.until_end().await, [Frame::Close(None)]);
    // A second one: the connection stays.
    let mut socket = RawSocket::enter(server.port).await;
    socket.send("40/slow,").await;
    assert_eq!(
        socket.text().await,
        "44/slow,{\"message\":\"not let in within the time limit\"}"
    );
    assert_eq!(server.refused("connect_timeout"), 2);
    assert_eq!(gate.dropped.load(SeqCst), 2);
    assert!(came.try_recv().is_err());
}

#[tokio::test]
async fn clients_that_wait_are_as_few_as_namespaces_that_one_may_ask_for() {
    let gate = Gate::default();
    let (seen, _came) = mpsc::unbounded_channel();
    let io = (0..=100).fold(Io::builder(), |io, n| {
        io.namespace(gate.namespace(&format!("/{n}"), &seen))
    });
    let server = TestServer::serve(io.build()).await;
    let mut socket = open(&server).await;
    for n in 0..100 {
        socket.send(&format!("40/{n},")).await;
    }
    await_until("all to wait", PATIENCE, || gate.entered.load(SeqCst) == 100).await;
    socket.send("40/100,").await;
    assert_eq!(socket.until_end().await, [Frame::Close(None)]);
    await_until("all to be dropped", PATIENCE, || {
        gate.dropped.load(SeqCst) == 100
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_is_ended_in_its_middleware_never_gets_in() {
    let end = async |socket: Socket, Auth(auth): Auth<Value>| {
        match auth.get("close").and_then(Value::as_bool) {
            Some(true) => socket.disconnect_and_close(),
            _ => socket.disconnect(),
        }
        std::future::pending().await
    };
    let server = TestServer::of(Namespace::new("/").middleware(end)).await;
    let mut socket = open(&server).await;
    socket.send("40{}").await;
    assert_eq!(
        socket.text().await,
        "44{\"message\":\"disconnected by the server\"}"
    );
    socket.send("40{\"close\":true}").await;
    assert_eq!(
        socket.text().await,
        "44{\"message\":\"disconnected by the server\"}"
    );
    assert_eq!(socket.until_end().await, [Frame::Close(None)]);
    assert_eq!(server.io.stats().sockets, 0);
}

#[tokio::test]
async fn stock_clients_see_the_error_and_come_in_with_another_token() {
    let check = async |Auth(auth): Auth<Value>| match auth.get("token") {
        Some(_) => Ok(()),
        None => Err(ConnectError::new("no token").with_data(json!({ "retry": true }))),
    };
    let server = TestServer::of(Namespace::new("/").middleware(check)).await;
    let mut clients = Conversation::clients().await;
    for transport in ["websocket", "polling"] {
        let open =
            json!({ "client": "a", "url": server.url(), "transports": [transport], "wait": false });
        clients.command("open", open).await;
        let error = clients
            .event_where(|event| event["event"] == "connect_error")
            .await;
        assert_eq!(error["message"], "no token");
        assert_eq!(error["data"], json!({ "retry": true }));
        clients.command("close", json!({ "client": "a" })).await;
        let auth = json!({ "client": "a", "url": server.url(), "transports": [transport], "auth": { "token": 1 } });
        clients.command("open", auth).await;
        clients.command("close", json!({ "client": "a" })).await;
    }
}
