//! What `docs/api-from-node.md` says of our behaviour and no other test shows.

mod document;

use std::sync::Arc;

use serde_json::json;
use tokio::sync::mpsc;
use unisono::{Ack, DisconnectReason, Io, MemoryBus, Namespace, Socket};
use unisono_test::{Conversation, await_until};

use crate::raw::{Frame, PATIENCE, RawSocket, get, open, poll, post};
use crate::server::TestServer;

#[tokio::test]
async fn a_volatile_event_is_dropped_where_it_would_have_to_wait() {
    let server = TestServer::of(Namespace::new("/")).await;
    let sid = open(server.port).await;
    assert_eq!(post(server.port, &sid, "40").await.body, "ok");
    assert!(poll(server.port, &sid).await.body.starts_with("40"));
    let space = server.io.of("/").unwrap();
    let socket = space.local_sockets().remove(0);
    // No GET waits, so this one would have to.
    socket.emit_volatile("lost", &1).unwrap();
    space.broadcast().volatile().emit("lost", &2).unwrap();
    assert_eq!(server.io.stats().volatile_dropped, 2);
    socket.emit("kept", &3).unwrap();
    // Neither may it stand behind what waits.
    socket.emit_volatile("lost", &4).unwrap();
    assert_eq!(server.io.stats().volatile_dropped, 3);
    assert_eq!(poll(server.port, &sid).await.body, "42[\"kept\",3]");
    // With a GET that waits it is as good as any other.
    let port = server.port;
    let waiting = tokio::spawn(async move { poll(port, &sid).await.body });
    let mut sent = 0;
    await_until("a volatile event to be taken", PATIENCE, || {
        let before = server.io.stats().volatile_dropped;
        sent += 1;
        socket.emit_volatile("taken", &sent).unwrap();
        server.io.stats().volatile_dropped == before
    })
    .await;
    assert_eq!(
        waiting.await.unwrap(),
        format!("42[\"taken\",{sent}]"),
        "the first that met the GET"
    );
}

#[tokio::test]
async fn a_socket_that_is_closed_takes_all_namespaces_of_its_client_along() {
    let (ended, mut reasons) = mpsc::unbounded_channel();
    let namespace = |name: &str| {
        let ended = ended.clone();
        Namespace::new(name)
            .on_disconnect(move |socket: Socket, reason: DisconnectReason| {
                let end = (socket.namespace().to_owned(), reason, socket.rooms());
                ended.send(end).unwrap();
                async {}
            })
            .on("close", async |socket: Socket| {
                socket.join("room").unwrap();
                socket.disconnect_and_close();
            })
    };
    let io = Io::builder()
        .namespace(namespace("/"))
        .namespace(namespace("/other"));
    let server = TestServer::serve(io.build()).await;
    let mut client = RawSocket::enter(server.port).await;
    client.send("40/other,").await;
    assert!(client.text().await.starts_with("40/other,"));
    client.send("42/other,[\"close\"]").await;
    let mut told = [client.text().await, client.text().await];
    told.sort();
    assert_eq!(told, ["41", "41/other,"]);
    assert_eq!(client.next().await, Frame::Close(None));
    let mut ends = [reasons.recv().await.unwrap(), reasons.recv().await.unwrap()];
    ends.sort_by(|a, b| a.0.cmp(&b.0));
    // By then a socket is in no room: what its end needs is kept with it.
    for ((nsp, reason, rooms), expected) in ends.into_iter().zip(["/", "/other"]) {
        assert_eq!(nsp, expected);
        assert_eq!(reason.as_str(), "server namespace disconnect");
        assert_eq!(rooms, [""; 0]);
    }
}

#[tokio::test]
async fn a_drain_is_nodes_server_shutting_down_for_handlers() {
    let (ended, mut reasons) = mpsc::unbounded_channel();
    let namespace = Namespace::new("/").on_disconnect(move |reason: DisconnectReason| {
        ended.send(reason).unwrap();
        async {}
    });
    let server = TestServer::of(namespace).await;
    let _client = RawSocket::enter(server.port).await;
    assert!(server.io.drain(PATIENCE).await, "somebody was left");
    let reason = reasons.recv().await.unwrap();
    assert_eq!(reason.as_str(), "server shutting down");
}

#[tokio::test]
async fn an_event_that_is_not_answered_times_out_at_its_client_alone() {
    let silent = async |ack: Ack| drop(ack);
    let echo = async |ack: Ack| ack.send(&"here").unwrap();
    let namespace = Namespace::new("/").on("silent", silent).on("echo", echo);
    let server = TestServer::of(namespace).await;
    let mut clients = Conversation::clients().await;
    let open = json!({ "client": "c", "url": server.url() });
    clients.command("open", open).await;
    let ask = json!({ "client": "c", "event": "silent", "timeout_ms": 200 });
    let failed = clients.try_command("emit_ack", ask).await.unwrap_err();
    assert!(failed.contains("operation has timed out"), "{failed}");
    let ask = json!({ "client": "c", "event": "echo" });
    assert_eq!(clients.command("emit_ack", ask).await, json!(["here"]));
}

#[tokio::test]
async fn a_local_broadcast_stays_on_its_node() {
    let bus = MemoryBus::new();
    let node = || {
        let io = Io::builder()
            .namespace(Namespace::new("/"))
            .broker(Arc::new(bus.broker()), "socket.io");
        TestServer::serve(io.build())
    };
    let (one, two) = (node().await, node().await);
    let mut here = RawSocket::enter(one.port).await;
    let mut there = RawSocket::enter(two.port).await;
    let space = one.io.of("/").unwrap();
    space.broadcast().local().emit("local", &()).unwrap();
    space.emit("all", &()).unwrap();
    assert_eq!(here.text().await, "42[\"local\"]");
    assert_eq!(here.text().await, "42[\"all\"]");
    assert_eq!(there.text().await, "42[\"all\"]");
}

#[tokio::test]
async fn the_client_library_is_not_served() {
    let server = TestServer::start().await;
    let script = get(server.port, "").await;
    assert_eq!(script.status, 400);
    let target = "/socket.io/socket.io.js";
    let script = crate::raw::request(server.port, "GET", target, "", "").await;
    assert_eq!(script.status, 400, "{script:?}");
}
