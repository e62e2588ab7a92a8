//! Code of the application that panics where it is no handler: what it was called for is lost, and nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;
use unisono::{Cors, Decision, Io, LinkState, MemoryBus, Namespace};
use unisono_redis::{RedisBroker, RedisConfig};
use unisono_test::{RedisServer, await_until};

use crate::ordered::Mute;
use crate::raw::{PATIENCE, RawSocket, get, request};
use crate::server::TestServer;

/// A note that panics where it is looked at.
const BAD: &[u8] = b"bad";

fn picky() -> Namespace {
    Namespace::new("/").on_note(|note| {
        assert_ne!(note.bytes, BAD, "a note's handler may panic");
        Decision::Deliver
    })
}

fn publish(node: &TestServer, note: &'static [u8]) {
    let space = node.io.of("/").unwrap();
    let note = Some(Bytes::from_static(note));
    let prepared = space.prepare(&[], "changed", &json!({}), note).unwrap();
    prepared.publish(1);
}

#[tokio::test]
async fn a_note_whose_handler_panics_is_dropped_and_the_line_goes_on() {
    let bus = MemoryBus::new();
    let broker = Arc::new(bus.broker());
    let io = Io::builder().namespace(picky()).broker(broker, "socket.io");
    let node = TestServer::serve(io.build()).await;
    let mut client = RawSocket::enter(node.port).await;
    publish(&node, BAD);
    publish(&node, b"good");
    assert!(client.text().await.starts_with("42[\"changed\""));
    assert_eq!(node.refused("panic"), 1);
}

#[tokio::test]
async fn a_note_that_panics_when_its_echo_is_overdue_ends_no_housekeeping() {
    let broker = Arc::new(Mute(MemoryBus::new().broker()));
    let io = Io::builder().namespace(picky()).broker(broker, "socket.io");
    let node = TestServer::serve(io.build()).await;
    let mut client = RawSocket::enter(node.port).await;
    let space = node.io.of("/").unwrap();
    publish(&node, BAD);
    await_until("the panic", PATIENCE, || node.refused("panic") == 1).await;
    // It is overdue too, and somebody has to look.
    space.broadcast().ordered().emit("ordered", &1).unwrap();
    assert_eq!(client.text().await, "42[\"ordered\",1]");
}

#[tokio::test]
async fn what_comes_while_a_conductor_panics_is_delivered() {
    let bus = MemoryBus::new();
    let node = |broker| {
        let io = Io::builder().namespace(Namespace::new("/"));
        TestServer::serve(io.broker(Arc::new(broker), "socket.io").build())
    };
    let (one, two) = (node(bus.broker()).await, node(bus.broker()).await);
    let mut client = RawSocket::enter(one.port).await;
    let space = one.io.of("/").unwrap();
    let conducted = catch_unwind(AssertUnwindSafe(|| {
        space.conduct(|| {
            two.io.of("/").unwrap().emit("waits", &()).unwrap();
            panic!("a conductor may panic");
        });
    }));
    assert!(conducted.is_err(), "whoever conducts hears of it");
    assert_eq!(client.text().await, "42[\"waits\"]");
}

#[tokio::test]
async fn whoever_panics_about_the_link_hears_of_its_next_change() {
    let mut redis = RedisServer::start();
    let broker = RedisBroker::start(RedisConfig::parse(&redis.url()).unwrap());
    let (told, mut down) = mpsc::unbounded_channel();
    let io = Io::builder()
        .namespace(Namespace::new("/"))
        .broker(Arc::new(broker), "socket.io")
        .on_link(move |state| match state {
            LinkState::Subscribed => panic!("the link's handler may panic"),
            LinkState::Down => drop(told.send(())),
            _ => {}
        });
    let node = TestServer::serve(io.build()).await;
    await_until("the panic", PATIENCE, || node.refused("panic") == 1).await;
    redis.kill9();
    let heard = timeout(PATIENCE, down.recv()).await;
    assert!(heard.expect("the next change in time").is_some());
}

#[tokio::test]
async fn an_origin_whose_predicate_panics_is_foreign_and_its_connection_goes_on() {
    let cors = Cors::default().allow(|origin| match origin {
        "https://good.example" => true,
        _ => panic!("a predicate may panic"),
    });
    let server = TestServer::with(|io| io.cors(cors)).await;
    let target = "/socket.io/?EIO=4&transport=polling";
    for (origin, status) in [("bad", 403), ("good", 200)] {
        let origin = format!("Origin: https://{origin}.example\r\n");
        let answer = request(server.port, "GET", target, &origin, "").await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(
        get(server.port, "EIO=4&transport=polling").await.status,
        200
    );
    assert_eq!(server.refused("panic"), 1);
}
