//! Sessions that have ended while their handlers have not.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use unisono::{Io, IoBuilder, Namespace};
use unisono_test::await_until;

use crate::raw::{PATIENCE, RawSocket, get};
use crate::server::TestServer;

const POLLING: &str = "EIO=4&transport=polling";

/// A server whose handler of `slow` waits for the gate.
async fn behind(gate: &Arc<Semaphore>, configure: fn(IoBuilder) -> IoBuilder) -> TestServer {
    let gate = gate.clone();
    let slow = move || {
        let gate = gate.clone();
        async move { drop(gate.acquire().await) }
    };
    let io = Io::builder().namespace(Namespace::new("/").on("slow", slow));
    TestServer::serve(configure(io).build()).await
}

/// Opens two sessions one after the other, and ends both while their handlers run.
async fn leave_two(server: &TestServer) {
    for left in 1..=2 {
        let mut client = RawSocket::enter(server.port).await;
        client.send("42[\"slow\"]").await;
        client.send("42[\"slow\"]").await;
        let stats = || server.io.stats();
        let received = || stats().events_received == 2 * left;
        await_until("the events", PATIENCE, received).await;
        drop(client);
        let lingers = || stats().connections_lingering == left;
        await_until("the end", PATIENCE, lingers).await;
    }
}

async fn is_free_again(server: &TestServer, gate: &Semaphore) {
    gate.close();
    let ended = || server.io.stats().connections_lingering == 0;
    await_until("the handlers", PATIENCE, ended).await;
    assert_eq!(get(server.port, POLLING).await.status, 200);
}

#[tokio::test]
async fn sessions_whose_handlers_still_run_count_as_connections() {
    let gate = Arc::new(Semaphore::new(0));
    let server = behind(&gate, |io| io.max_connections(2)).await;
    leave_two(&server).await;
    assert_eq!(server.io.stats().connections_websocket, 0);
    assert_eq!(get(server.port, POLLING).await.status, 503);
    assert_eq!(server.refused("full"), 1);
    is_free_again(&server, &gate).await;
}

#[tokio::test]
async fn sessions_whose_handlers_still_run_keep_their_places() {
    let gate = Arc::new(Semaphore::new(0));
    let server = behind(&gate, |io| io.connections_per_address(2)).await;
    leave_two(&server).await;
    assert_eq!(get(server.port, POLLING).await.status, 429);
    is_free_again(&server, &gate).await;
}

#[tokio::test]
async fn a_drain_waits_for_handshakes_under_way_and_lets_none_in() {
    let gate = Arc::new(Semaphore::new(0));
    let (hook, asked) = (gate.clone(), Arc::new(Semaphore::new(0)));
    let told = asked.clone();
    let server = TestServer::with(|io| {
        io.allow_request(move |_| {
            told.add_permits(1);
            let gate = hook.clone();
            async move {
                drop(gate.acquire().await);
                Ok(())
            }
        })
    })
    .await;
    let port = server.port;
    let handshake = tokio::spawn(async move { get(port, POLLING).await });
    drop(asked.acquire().await.unwrap());
    // With one under way nobody can say that all are gone.
    assert!(!server.io.drain(Duration::ZERO).await);
    gate.close();
    let answer = handshake.await.unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(server.io.drain(PATIENCE).await);
    assert_eq!(server.io.stats().handshakes, 0);
}
