//! Clients that are behind and not at fault: what they get although it had to wait, and what waits for those who take nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use unisono::{Io, MemoryBus, Namespace, SlowReaders, Socket};
use unisono_proto::ws::{self, Opcode};
use unisono_test::{Conversation, await_until};

use crate::raw::{Frame, PATIENCE, RawSocket, get, open, poll, post};
use crate::server::{TestServer, quick};
use crate::slow::{BIG, Stage, numbers_until};

/// A payload sixteen of which are a queue.
const LARGE: usize = 64 << 10;

#[tokio::test]
async fn what_can_leave_counts_for_nothing() {
    // Three times three quarters of the queue; the kernel takes it all as it comes.
    let burst = async |socket: Socket| {
        for _ in 0..3 {
            for _ in 0..12 {
                socket.emit("part", &"x".repeat(LARGE)).unwrap();
            }
            // The connection's task looks into its mailbox before this handler goes on.
            tokio::task::yield_now().await;
        }
        socket.emit("end", &()).unwrap();
    };
    let server = TestServer::of(Namespace::new("/").on("burst", burst)).await;
    let mut reader = RawSocket::enter(server.port).await;
    reader.send("42[\"burst\"]").await;
    for _ in 0..36 {
        assert!(reader.text().await.starts_with("42[\"part\","));
    }
    assert_eq!(reader.text().await, "42[\"end\"]");
    assert_eq!(server.refused("slow_reader"), 0);
}

#[tokio::test]
async fn more_than_one_write_of_answers_leaves_before_more_is_asked_for() {
    // The queue holds the answers to a read of the smallest pings, and a few more.
    let namespace = Namespace::new("/");
    let io = Io::builder().queue_limits(1 << 20, 3000);
    let server = TestServer::serve(io.namespace(namespace).build()).await;
    let mut reader = RawSocket::enter(server.port).await;
    let mut pings = Vec::new();
    for _ in 0..20_000 {
        ws::encode_masked(Opcode::Ping, b"", [1; 4], &mut pings);
    }
    reader.send_raw(&pings).await;
    for _ in 0..20_000 {
        assert_eq!(reader.next().await, Frame::Pong(Vec::new()));
    }
    assert_eq!(server.refused("slow_reader"), 0);
}

#[tokio::test]
async fn what_waits_for_a_reader_that_has_stopped_is_the_limit_and_one_write() {
    let limit = 16 * LARGE;
    let io = Io::builder().queue_limits(limit, 4096);
    let server = TestServer::serve(io.namespace(Namespace::new("/")).build()).await;
    let mut reader = RawSocket::enter(server.port).await;
    let space = server.io.of("/").unwrap();
    let mut sent = 0;
    while server.refused("slow_reader") == 0 {
        space.emit("part", &"x".repeat(LARGE)).unwrap();
        tokio::task::yield_now().await;
        sent += 1;
        assert!(sent < 2000, "a reader that reads nothing still has a queue");
    }
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, reader.stream.read_to_end(&mut rest)).await;
    ended.expect("an end in time").unwrap();
    let kept = sent - rest.len() / LARGE;
    // One write is 256 KiB; one event has crossed the limit, one has begun to leave.
    assert!((15..=16 + 4 + 2).contains(&kept), "{kept} of {sent}");
}

#[tokio::test]
async fn a_line_that_is_very_slow_but_alive_is_kept() {
    let limit = Duration::from_secs(1);
    let stage = Stage::with(SlowReaders::Close, |io| io.write_timeout(limit)).await;
    let mut reader = RawSocket::enter(stage.server.port).await;
    let mut sent = stage.block().await;
    for _ in 0..10 {
        stage.emit(sent).await;
        sent += 1;
    }
    // Slower than a third of the kernel's buffer in the time, which is when the kernel says by itself that there is room.
    let mut pace = interval(limit / 10);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begun = Instant::now();
    let mut bytes = vec![0; 25_000];
    while begun.elapsed() < 5 * limit {
        pace.tick().await;
        reader.stream.read_exact(&mut bytes).await.unwrap();
        if sent.is_multiple_of(5) {
            stage.emit(sent).await;
        }
        sent += 1;
    }
    assert_eq!(stage.server.refused("slow_reader"), 0);
    assert_eq!(stage.server.io.stats().connections_websocket, 1);
    // One that stops is not.
    await_until("the reader to be gone", PATIENCE, || {
        stage.server.refused("slow_reader") == 1
    })
    .await;
}

/// A connection whose kernel keeps little of what it does not read.
async fn with_a_small_buffer(port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(128 << 10).unwrap();
    socket.connect(([127, 0, 0, 1], port).into()).await.unwrap()
}

#[tokio::test]
async fn a_long_download_on_polling_is_not_cut_and_an_unread_one_is() {
    let limit = Duration::from_millis(1500);
    let stage = Stage::with(SlowReaders::Close, |io| io.write_timeout(limit)).await;
    let port = stage.server.port;
    let sid = open(port).await;
    assert_eq!(post(port, &sid, "40").await.body, "ok");
    assert!(poll(port, &sid).await.body.starts_with("40{"));
    let long = "x".repeat(20 << 20);
    stage.space.emit("long", &long).unwrap();
    let mut download = with_a_small_buffer(port).await;
    let request = format!(
        "GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    );
    download.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    download.read_exact(&mut answer).await.unwrap();
    // From now on something waits.
    stage.space.emit("next", &()).unwrap();
    let mut pace = interval(Duration::from_millis(50));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begun = Instant::now();
    let mut piece = vec![0; 250_000];
    loop {
        pace.tick().await;
        // A whole piece each time, so that the pace is kept.
        let mut taken = 0;
        while taken < piece.len() {
            match download.read(&mut piece[taken..]).await.unwrap() {
                0 => break,
                n => taken += n,
            }
        }
        answer.extend_from_slice(&piece[..taken]);
        if taken < piece.len() {
            break;
        }
    }
    assert!(begun.elapsed() > 2 * limit, "{:?}", begun.elapsed());
    let answer = crate::raw::parse(&answer);
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-length"),
        Some(&*answer.bytes.len().to_string())
    );
    assert_eq!(answer.body, format!("42[\"long\",\"{long}\"]"));
    assert_eq!(poll(port, &sid).await.body, "42[\"next\"]");
    // Nobody takes the next.
    stage.space.emit("long", &long).unwrap();
    let mut unread = with_a_small_buffer(port).await;
    unread.write_all(request.as_bytes()).await.unwrap();
    unread.read_exact(&mut [0; 12]).await.unwrap();
    stage.space.emit("next", &()).unwrap();
    await_until("the session to be gone", PATIENCE, || {
        stage.server.io.stats().sockets == 0
    })
    .await;
    assert_eq!(stage.server.refused("slow_reader"), 1);
}

#[tokio::test]
async fn nothing_follows_a_close_frame() {
    let server = TestServer::start().await;
    let mut socket = RawSocket::join(server.port).await;
    let mut frames = Vec::new();
    // The pong is queued when the CLOSE is read, and comes first or not at all.
    ws::encode_masked(Opcode::Ping, b"there?", [1; 4], &mut frames);
    ws::encode_masked(Opcode::Close, &1000u16.to_be_bytes(), [1; 4], &mut frames);
    socket.send_raw(&frames).await;
    assert_eq!(
        socket.until_end().await,
        [Frame::Pong(b"there?".to_vec()), Frame::Close(Some(1000))]
    );
}

#[tokio::test]
async fn a_client_that_is_behind_gets_what_was_emitted_before_it_was_disconnected() {
    let stage = Stage::with(SlowReaders::Close, |io| io).await;
    let mut reader = RawSocket::enter(stage.server.port).await;
    let sent = stage.block().await;
    stage.emit(sent).await;
    let everybody = stage.space.broadcast();
    everybody.disconnect_sockets(true).unwrap();
    await_until("the disconnect handler", PATIENCE, || {
        stage.disconnects.load(SeqCst) == 1
    })
    .await;
    let (numbers, _) = numbers_until(&mut reader, sent).await;
    assert_eq!(numbers, Vec::from_iter(0..=sent));
    assert_eq!(
        reader.until_end().await,
        [Frame::Text("41".to_owned()), Frame::Close(None)]
    );
}

#[tokio::test]
async fn a_blocked_client_that_answers_no_ping_is_closed_on_time() {
    let long = Duration::from_secs(600);
    let stage = Stage::with(SlowReaders::DropOldest, |io| quick(io).write_timeout(long)).await;
    let mut reader = RawSocket::enter(stage.server.port).await;
    let begun = Instant::now();
    stage.block().await;
    await_until("the reader to be gone", PATIENCE, || {
        stage.server.io.stats().connections_websocket == 0
    })
    .await;
    // An interval and a time-out; it is not waited for on the way out.
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(500 + 1000), "{took:?}");
    assert_eq!(stage.server.refused("slow_reader"), 0);
    assert_eq!(stage.disconnects.load(SeqCst), 1);
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, reader.stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the stream does not end");
}

#[tokio::test]
async fn a_get_behind_the_time_for_a_pong_finds_no_session() {
    let server = TestServer::with(quick).await;
    let mut late = Vec::new();
    for _ in 0..20 {
        let sid = open(server.port).await;
        let due = Instant::now() + Duration::from_millis(300 + 200);
        let port = server.port;
        late.push(tokio::spawn(async move {
            sleep_until(due).await;
            get(port, &format!("EIO=4&transport=polling&sid={sid}")).await
        }));
    }
    for late in late {
        let answer = late.await.unwrap();
        assert_eq!(answer.status, 400, "{answer:?}");
    }
}

#[tokio::test]
async fn the_stock_client_gets_all_that_waited_while_it_was_paused_in_order() {
    let stage = Stage::with(SlowReaders::Close, |io| io.queue_limits(64 << 20, 4096)).await;
    let mut clients = Conversation::clients().await;
    let url = stage.server.url();
    clients.open("c", &url, &["websocket"]).await;
    clients.command("pause", json!({ "client": "c" })).await;
    let (payload, space) = ("x".repeat(BIG), &stage.space);
    let mut sent = 0;
    let mut beyond_the_kernel = 0;
    while beyond_the_kernel < 30 {
        space.emit("n", &(sent, &payload)).unwrap();
        sent += 1;
        space.broadcast().volatile().emit("v", &()).unwrap();
        tokio::task::yield_now().await;
        beyond_the_kernel = stage.server.io.stats().volatile_dropped;
        assert!(sent < 2000, "the client is not paused");
    }
    clients.command("resume", json!({ "client": "c" })).await;
    for number in 0..sent {
        assert_eq!(clients.message("c", "n").await, json!([number, payload]));
    }
    assert_eq!(stage.server.refused("slow_reader"), 0);
}

/// Each node has the policy that it was given, whoever emits.
#[tokio::test]
async fn a_nodes_policy_holds_for_what_other_nodes_emit() {
    let bus = MemoryBus::new();
    let node = async |policy: SlowReaders| {
        Stage::with(policy, |io| io.broker(Arc::new(bus.broker()), "socket.io")).await
    };
    let emitting = node(SlowReaders::Close).await;
    let dropping = node(SlowReaders::DropOldest).await;
    let replacing = node(SlowReaders::keep_latest(|event, _| Some(event.to_owned()))).await;
    let mut behind = RawSocket::enter(dropping.server.port).await;
    let mut latest = RawSocket::enter(replacing.server.port).await;
    let (dropped, replaced) = (&dropping.server.io, &replacing.server.io);
    let mut sent = 0;
    while dropped.stats().slow_dropped < 20 || replaced.stats().slow_replaced < 20 {
        emitting.emit(sent).await;
        sent += 1;
        assert!(sent < 2000, "a reader that reads nothing still has a queue");
    }
    let (numbers, _) = numbers_until(&mut behind, sent - 1).await;
    assert_eq!(
        (sent as usize) - numbers.len(),
        dropped.stats().slow_dropped as usize
    );
    let (numbers, _) = numbers_until(&mut latest, sent - 1).await;
    assert_eq!(
        (sent as usize) - numbers.len(),
        replaced.stats().slow_replaced as usize
    );
    for server in [&dropping.server, &replacing.server] {
        assert_eq!(server.refused("slow_reader"), 0);
    }
}
