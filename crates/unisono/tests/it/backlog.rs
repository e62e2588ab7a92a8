//! Events that wait for the handler of the one before.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::sync::Semaphore;
use unisono::{Event, EventError, Namespace, Socket};
use unisono_test::await_until;

use crate::raw::{PATIENCE, RawSocket};
use crate::server::TestServer;

/// A server whose handler of `slow` takes a permit for each event, and counts it.
async fn gated() -> (TestServer, Arc<Semaphore>, Arc<AtomicUsize>) {
    let (gate, handled) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (permits, count) = (gate.clone(), handled.clone());
    let slow = move || {
        let (permits, count) = (permits.clone(), count.clone());
        async move {
            permits.acquire().await.unwrap().forget();
            count.fetch_add(1, SeqCst);
        }
    };
    let namespace = Namespace::new("/").on("slow", slow);
    (TestServer::of(namespace).await, gate, handled)
}

#[tokio::test]
async fn events_that_wait_count_as_what_they_take_in_memory() {
    let (server, gate, handled) = gated().await;
    let mut socket = RawSocket::enter(server.port).await;
    let received = || server.io.stats().events_received;
    socket.send("42[\"slow\"]").await;
    await_until("the first", PATIENCE, || received() == 1).await;
    // 80 kB on the wire, and more than a mebibyte in memory.
    let zeros = format!("42[\"slow\"{}]", ",0".repeat(40_000));
    for _ in 0..3 {
        socket.send(&zeros).await;
    }
    await_until("the second", PATIENCE, || received() == 2).await;
    let mut other = RawSocket::enter(server.port).await;
    other.send("42[\"nobody listens\"]").await;
    await_until("somebody else's", PATIENCE, || received() >= 3).await;
    assert_eq!(received(), 3, "a third was read");
    gate.add_permits(4);
    await_until("all", PATIENCE, || handled.load(SeqCst) == 4).await;
}

#[tokio::test]
async fn an_end_drops_what_waits_and_lets_the_handler_at_work_finish() {
    let (server, gate, handled) = gated().await;
    let mut socket = RawSocket::enter(server.port).await;
    for _ in 0..10 {
        socket.send("42[\"slow\"]").await;
    }
    let received = || server.io.stats().events_received == 10;
    await_until("the events", PATIENCE, received).await;
    let ended = server.io.of("/").unwrap().local_sockets().remove(0);
    ended.disconnect();
    assert!(!ended.is_connected());
    assert_eq!(socket.text().await, "41");
    // The client comes back on the same connection; what it sends now is another socket's.
    socket.send("40").await;
    assert!(socket.text().await.starts_with("40{"));
    socket.send("42[\"slow\"]").await;
    gate.add_permits(20);
    await_until("both", PATIENCE, || handled.load(SeqCst) >= 2).await;
    drop(socket);
    let gone = || server.io.stats().connections_lingering == 0 && server.io.stats().sockets == 0;
    await_until("the end", PATIENCE, gone).await;
    assert_eq!(handled.load(SeqCst), 2);
}

#[tokio::test]
async fn what_a_packet_middleware_has_ended_reaches_no_handler() {
    let guard = async |socket: Socket, event: Event| {
        if event.name() == Some("bad") {
            socket.disconnect();
        }
        Ok::<_, EventError>(event)
    };
    let handled = Arc::new(AtomicUsize::new(0));
    let count = handled.clone();
    let namespace = Namespace::new("/")
        .packet_middleware(guard)
        .on_fallback(move || {
            count.fetch_add(1, SeqCst);
            async {}
        });
    let server = TestServer::of(namespace).await;
    let mut socket = RawSocket::enter(server.port).await;
    socket.send("42[\"good\"]").await;
    socket.send("42[\"bad\"]").await;
    assert_eq!(socket.text().await, "41");
    assert_eq!(handled.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disconnect_is_the_last_that_a_client_hears_of_its_namespace() {
    let server = TestServer::of(Namespace::new("/")).await;
    let space = server.io.of("/").unwrap();
    let mut socket = RawSocket::connect(server.port, "EIO=4&transport=websocket").await;
    assert!(socket.text().await.starts_with("0{"));
    // So many each time that they are under way when the socket ends, and few enough for a client to keep up with.
    let (round, rounds) = std::sync::mpsc::channel();
    let crier = space.clone();
    let crying = std::thread::spawn(move || {
        for () in rounds {
            (0..300).for_each(|_| crier.broadcast().emit("cry", &()).unwrap());
        }
    });
    for _ in 0..50 {
        socket.send("40").await;
        assert!(socket.text().await.starts_with("40{"));
        round.send(()).unwrap();
        while socket.text().await != "42[\"cry\"]" {}
        space.broadcast().disconnect_sockets(false).unwrap();
        while socket.text().await != "41" {}
        // The answer to the next CONNECT comes next, which is asserted above.
    }
    drop(round);
    crying.join().unwrap();
}
