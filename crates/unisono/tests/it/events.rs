//! Handlers, rooms, acknowledgements, order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc};
use unisono::{
    AckError, Args, Data, DisconnectReason, Io, LeftRooms, Namespace, Socket, State, Value,
};
use unisono_test::await_until;

use crate::raw::{Frame, PATIENCE, RawSocket};
use crate::server::TestServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sockets_events_are_handled_one_after_another_in_order() {
    let (seen, mut events) = mpsc::channel(1000);
    let inside = Arc::new(AtomicUsize::new(0));
    let handler = move |Data(n): Data<usize>| {
        let (seen, inside) = (seen.clone(), inside.clone());
        async move {
            assert_eq!(
                inside.fetch_add(1, SeqCst),
                0,
                "two handlers of one socket at once"
            );
            // Give the other worker every chance to overtake.
            tokio::task::yield_now().await;
            seen.send(n).await.unwrap();
            inside.fetch_sub(1, SeqCst);
        }
    };
    let server = TestServer::of(Namespace::new("/").on("n", handler)).await;
    let mut socket = RawSocket::enter(server.port).await;
    for n in 0..1000 {
        socket.send(&format!("42[\"n\",{n}]")).await;
    }
    for n in 0..1000 {
        assert_eq!(events.recv().await, Some(n));
    }
}

#[tokio::test]
async fn a_slow_handler_holds_back_its_own_socket_only_and_no_heartbeat() {
    let gate = Arc::new(Notify::new());
    let opened = gate.clone();
    let wait = move |socket: Socket| {
        let gate = opened.clone();
        async move {
            gate.notified().await;
            socket.emit("done", &()).unwrap();
        }
    };
    let echo = async |socket: Socket, Data(n): Data<Value>| socket.emit("echo", &n).unwrap();
    let namespace = || {
        Namespace::new("/")
            .on("wait", wait.clone())
            .on("echo", echo)
    };
    let other = Namespace::new("/other").on("echo", echo);
    let io = crate::server::quick(Io::builder())
        .namespace(namespace())
        .namespace(other)
        .build();
    let server = TestServer::serve(io).await;
    let mut slow = RawSocket::enter(server.port).await;
    slow.send("40/other,").await;
    slow.text().await;
    slow.send("42[\"wait\"]").await;
    slow.send("42[\"echo\",1]").await;
    // Another namespace of the same connection goes on, and so do the pings: five of them outlast every time-out.
    slow.send("42/other,[\"echo\",2]").await;
    assert_eq!(slow.text().await, "42/other,[\"echo\",2]");
    for _ in 0..5 {
        assert_eq!(slow.text().await, "2");
        slow.send("3").await;
    }
    gate.notify_one();
    assert_eq!(slow.text().await, "42[\"done\"]");
    assert_eq!(slow.text().await, "42[\"echo\",1]");
}

#[tokio::test]
async fn an_answer_can_be_awaited_in_a_handler_of_the_same_socket() {
    let ask = async |socket: Socket| {
        let answer = socket.emit_with_ack("question", &"why", PATIENCE).await;
        socket.emit("answered", &answer.unwrap()).unwrap();
    };
    let server = TestServer::of(Namespace::new("/").on("ask", ask)).await;
    let mut socket = RawSocket::enter(server.port).await;
    socket.send("42[\"ask\"]").await;
    assert_eq!(socket.text().await, "420[\"question\",\"why\"]");
    socket.send("430[\"because\",1]").await;
    assert_eq!(socket.text().await, "42[\"answered\",[\"because\",1]]");
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_an_error_in_time_and_forgotten() {
    let (results, mut result) = mpsc::channel(4);
    let ask = move |socket: Socket, Data(ms): Data<u64>| {
        let results = results.clone();
        async move {
            let answer = socket
                .emit_with_ack("question", &(), Duration::from_millis(ms))
                .await;
            results.send(answer).await.unwrap();
        }
    };
    let server = TestServer::of(Namespace::new("/").on("ask", ask)).await;
    let mut socket = RawSocket::enter(server.port).await;
    socket.send("42[\"ask\",50]").await;
    assert_eq!(result.recv().await, Some(Err(AckError::Timeout)));
    // Too late, and never asked: both are ignored.
    socket.send("430[]").await;
    socket.send("4399[]").await;
    socket.send("42[\"ask\",60000]").await;
    assert_eq!(socket.text().await, "420[\"question\"]");
    assert_eq!(socket.text().await, "421[\"question\"]");
    drop(socket);
    assert_eq!(result.recv().await, Some(Err(AckError::Disconnected)));
}

#[tokio::test]
async fn rooms_reach_their_members_once_and_nobody_else() {
    let server = TestServer::start().await;
    let mut clients = Vec::new();
    for rooms in ["\"a\"", "\"b\"", "\"a\",\"b\"", "\"c\""] {
        let mut client = RawSocket::join(server.port).await;
        client.send(&format!("421[\"join\",{rooms}]")).await;
        assert!(client.text().await.starts_with("431[["));
        clients.push(client);
    }
    let space = server.io.of("/").unwrap();
    space.to("a").to("b").emit("union", &1).unwrap();
    space.to("a").except("b").emit("except", &2).unwrap();
    space.except("a").emit("all-but", &3).unwrap();
    space.emit("all", &4).unwrap();
    let expected = [
        &["union", "except", "all"][..],
        &["union", "all-but", "all"],
        &["union", "all"],
        &["all-but", "all"],
    ];
    for (client, expected) in clients.iter_mut().zip(expected) {
        for name in expected {
            assert!(
                client.text().await.starts_with(&format!("42[\"{name}\"")),
                "{expected:?}"
            );
        }
    }
    clients[0].send("42[\"to-room\",\"a\",\"hi\",1]").await;
    assert_eq!(clients[2].text().await, "42[\"hi\",1]");
    // The sender is left out: what it gets next is its own echo.
    clients[0].send("42[\"message\",5]").await;
    assert_eq!(clients[0].text().await, "42[\"message-back\",5]");
}

#[tokio::test]
async fn a_handler_that_panics_or_gets_the_wrong_arguments_costs_its_event_only() {
    let server = TestServer::start().await;
    let mut socket = RawSocket::join(server.port).await;
    socket.send("42[\"panic\"]").await;
    socket.send("42[\"message\",1]").await;
    assert_eq!(socket.text().await, "42[\"message-back\",1]");
    assert_eq!(server.refused("panic"), 1);
    let strict = Namespace::new("/").on("n", async |socket: Socket, Data(n): Data<u8>| {
        socket.emit("n", &n).unwrap();
    });
    let server = TestServer::of(strict).await;
    let mut socket = RawSocket::enter(server.port).await;
    for wrong in ["\"x\"", "{}", "-1", "256", "null"] {
        socket.send(&format!("42[\"n\",{wrong}]")).await;
    }
    socket.send("42[\"n\"]").await;
    socket.send("42[\"n\",7]").await;
    assert_eq!(socket.text().await, "42[\"n\",7]");
    assert_eq!(server.refused("arguments"), 6);
}

#[tokio::test]
async fn the_disconnect_handler_runs_once_with_nodes_reason() {
    let (reasons, mut reason) = mpsc::channel(8);
    let namespace = Namespace::with_state("/", reasons)
        .on_connect(async |socket: Socket| socket.join("room").unwrap())
        .on_disconnect(
            async |socket: Socket,
                   State(reasons): State<mpsc::Sender<_>>,
                   LeftRooms(left): LeftRooms,
                   reason: DisconnectReason| {
                assert!(!socket.is_connected());
                assert_eq!(socket.rooms(), [""; 0]);
                assert_eq!(left, [socket.id(), "room"]);
                reasons.send(reason.as_str()).await.unwrap();
            },
        )
        .on("kick", async |socket: Socket| socket.disconnect())
        .on("kick-all", async |socket: Socket| {
            socket.disconnect_and_close();
        });
    let server = TestServer::of(namespace).await;
    for (input, expected) in [
        ("41", "client namespace disconnect"),
        ("42[\"kick\"]", "server namespace disconnect"),
        ("42[\"kick-all\"]", "server namespace disconnect"),
        ("4x", "forced close"),
        ("", "transport close"),
    ] {
        let mut socket = RawSocket::enter(server.port).await;
        if !input.is_empty() {
            socket.send(input).await;
        }
        if input.contains("kick") {
            assert_eq!(socket.text().await, "41");
        }
        if input.contains("all") {
            assert_eq!(socket.next().await, Frame::Close(None));
        }
        drop(socket);
        assert_eq!(reason.recv().await, Some(expected));
    }
    await_until("all sockets to be gone", PATIENCE, || {
        server.io.stats().sockets == 0
    })
    .await;
    assert!(reason.try_recv().is_err(), "a handler ran twice");
    assert_eq!(server.io.of("/").unwrap().local_len(), 0);
    assert_eq!(server.io.of("/").unwrap().local_room_count(), 0);
}

#[tokio::test]
async fn a_reader_that_has_stopped_is_closed_and_the_others_are_served() {
    let server = TestServer::with(|io| io.queue_limits(1 << 20, 64)).await;
    let slow = RawSocket::join(server.port).await;
    let mut fast = RawSocket::join(server.port).await;
    let space = server.io.of("/").unwrap();
    let payload = "x".repeat(100_000);
    let mut sent = 0;
    // The kernel takes a few megabytes before the queue begins to fill.
    while server.refused("slow_reader") == 0 {
        space.emit("big", &(sent, &payload)).unwrap();
        assert!(
            fast.text()
                .await
                .starts_with(&format!("42[\"big\",{sent},"))
        );
        sent += 1;
        assert!(sent < 1000, "a reader that reads nothing still has a queue");
    }
    await_until("the slow one to be gone", PATIENCE, || {
        server.io.stats().connections_websocket == 1
    })
    .await;
    space.emit("after", &()).unwrap();
    assert_eq!(fast.text().await, "42[\"after\"]");
    drop(slow);
}

#[tokio::test]
async fn reserved_names_are_refused_and_arguments_are_spread() {
    let server = TestServer::start().await;
    let space = server.io.of("/").unwrap();
    assert!(
        space
            .emit("disconnect", &())
            .unwrap_err()
            .to_string()
            .contains("reserved")
    );
    let mut socket = RawSocket::join(server.port).await;
    space.emit("none", &()).unwrap();
    space.emit("two", &(1, "b")).unwrap();
    space.emit("list", &vec![1, 2]).unwrap();
    assert_eq!(socket.text().await, "42[\"none\"]");
    assert_eq!(socket.text().await, "42[\"two\",1,\"b\"]");
    assert_eq!(socket.text().await, "42[\"list\",[1,2]]");
}

#[tokio::test]
async fn a_catch_all_gets_what_nobody_handles() {
    let any = async |socket: Socket, Args(args): Args| socket.emit("caught", &args).unwrap();
    let namespace = Namespace::new("/")
        .on("known", async || {})
        .on_fallback(any);
    let server = TestServer::of(namespace).await;
    let mut socket = RawSocket::enter(server.port).await;
    socket.send("42[\"known\",1]").await;
    socket.send("42[\"unknown\",2]").await;
    socket.send("42[3,4]").await;
    assert_eq!(socket.text().await, "42[\"caught\",[2]]");
    assert_eq!(socket.text().await, "42[\"caught\",[4]]");
}

#[tokio::test]
async fn a_tuple_takes_several_arguments() {
    let add = async |Data((a, b, c)): Data<(i64, i64, Option<i64>)>, ack: unisono::Ack| {
        ack.send(&(a + b, c)).unwrap();
    };
    let server = TestServer::of(Namespace::new("/").on("add", add)).await;
    let mut socket = RawSocket::enter(server.port).await;
    socket.send("421[\"add\",1,2]").await;
    assert_eq!(socket.text().await, "431[3,null]");
    socket.send("422[\"add\",1,2,3,4]").await;
    assert_eq!(socket.text().await, "432[3,3]");
}

#[tokio::test]
async fn a_connection_that_ends_behind_its_handlers_lets_them_finish() {
    let (gate, done) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (opened, counted) = (gate.clone(), done.clone());
    let slow = move || {
        let (gate, done) = (opened.clone(), counted.clone());
        async move {
            gate.notified().await;
            done.fetch_add(1, SeqCst);
        }
    };
    let namespace = Namespace::new("/").on("slow", slow);
    let server = TestServer::of(namespace).await;
    let mut socket = RawSocket::enter(server.port).await;
    for _ in 0..200 {
        socket.send("42[\"slow\"]").await;
    }
    await_until("some events to arrive", PATIENCE, || {
        server.io.stats().events_received >= 64
    })
    .await;
    // The client goes away without a word.
    drop(socket);
    for n in 1.. {
        // The write finds out.
        server.io.of("/").unwrap().emit("x", &n).unwrap();
        if server.io.stats().connections_websocket == 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    await_until("the connection to end", PATIENCE, || {
        server.io.stats().connections_websocket == 0
    })
    .await;
    let received = usize::try_from(server.io.stats().events_received).unwrap();
    // Each permit lets one handler go on; a task that spins would leave no time for the others.
    for n in 1..=received {
        gate.notify_one();
        await_until("the next handler", PATIENCE, || done.load(SeqCst) == n).await;
    }
    await_until("all handlers to be done", PATIENCE, || {
        server.io.stats().sockets == 0
    })
    .await;
}

#[tokio::test]
async fn what_handlers_have_no_room_for_is_not_read() {
    // As documented on `Socket::emit_with_ack`: so many may wait for a handler.
    const WAITING: usize = 64;
    let (gate, handled) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (closed, counted) = (gate.clone(), handled.clone());
    let slow = move || {
        let (gate, handled) = (closed.clone(), counted.clone());
        async move {
            gate.acquire().await.unwrap().forget();
            handled.fetch_add(1, SeqCst);
        }
    };
    let server = TestServer::of(Namespace::new("/").on("slow", slow)).await;
    let mut socket = RawSocket::enter(server.port).await;
    for _ in 0..1000 {
        socket.send("42[\"slow\"]").await;
    }
    let received = || server.io.stats().events_received as usize;
    await_until("a full line", PATIENCE, || received() >= WAITING).await;
    // One is at its handler, the others wait, the rest is not even decoded.
    assert!(received() <= WAITING + 1, "{}", received());
    gate.add_permits(1000);
    await_until("all", PATIENCE, || handled.load(SeqCst) == 1000).await;
}
