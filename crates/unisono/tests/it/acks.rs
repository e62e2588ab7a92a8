//! Broadcasts that want answers, and operations on many sockets.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use unisono::{Ack, AckError, Data, EmitError, Io, MemoryBus, Namespace, Nodes, Socket, Value};
use unisono_test::{Conversation, await_until};

use crate::raw::{Frame, PATIENCE, RawSocket};
use crate::server::TestServer;

/// Joins the rooms that its client names, and shares a name.
fn namespace() -> Namespace {
    let join = async |socket: Socket, Data(room): Data<String>, ack: Ack| {
        socket.join(&room).unwrap();
        socket.share(&json!({ "room": room })).unwrap();
        ack.send(&socket.id()).unwrap();
    };
    Namespace::new("/").on("join", join)
}

/// A client in a room, and its id.
async fn member(server: &TestServer, room: &str) -> (RawSocket, String) {
    let mut socket = RawSocket::enter(server.port).await;
    socket.send(&format!("421[\"join\",\"{room}\"]")).await;
    let answer = socket.text().await;
    let id = answer[5..25].to_owned();
    (socket, id)
}

/// The event's ack id and the rest.
fn split(text: &str) -> (u64, &str) {
    let rest = text.strip_prefix("42").unwrap();
    let at = rest.find('[').unwrap();
    (rest[..at].parse().unwrap(), &rest[at..])
}

#[tokio::test]
async fn partial_answers_come_back_with_those_who_are_missing() {
    let server = TestServer::of(namespace()).await;
    let (mut one, one_id) = member(&server, "a").await;
    let (mut two, two_id) = member(&server, "a").await;
    let (mut silent, silent_id) = member(&server, "a").await;
    let (mut gone, gone_id) = member(&server, "a").await;
    let (_outside, _) = member(&server, "b").await;
    let space = server.io.of("/").unwrap();
    let limit = Duration::from_millis(500);
    let asked = tokio::spawn(space.to("a").emit_with_ack("ready?", &(1, "x"), limit));
    let mut ids = Vec::new();
    for socket in [&mut one, &mut two, &mut silent, &mut gone] {
        let text = socket.text().await;
        let (id, rest) = split(&text);
        assert_eq!(rest, "[\"ready?\",1,\"x\"]");
        ids.push(id);
    }
    // One encoding for all.
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(server.io.stats().acks_pending, 4);
    one.send(&format!("43{}[\"yes\",1]", ids[0])).await;
    // A second answer is nobody's.
    one.send(&format!("43{}[\"again\"]", ids[0])).await;
    two.send(&format!("43{}[]", ids[0])).await;
    drop(gone);
    await_until("one place to be left", PATIENCE, || {
        server.io.stats().acks_pending == 1
    })
    .await;
    let mut acks = asked.await.unwrap().unwrap();
    acks.missing.sort();
    let mut missing = [silent_id, gone_id];
    missing.sort();
    assert_eq!(acks.missing, missing);
    acks.answers.sort_by_key(|(_, args)| args.len());
    assert_eq!(
        acks.answers,
        [
            (two_id, vec![]),
            (one_id, vec![Value::from("yes"), Value::Int(1)])
        ]
    );
    // Too late: nothing is remembered.
    assert_eq!(server.io.stats().acks_pending, 0);
    silent.send(&format!("43{}[\"late\"]", ids[0])).await;
    let asked = tokio::spawn(space.to("b").emit_with_ack("next", &(), limit));
    drop(_outside);
    assert_eq!(asked.await.unwrap().unwrap().answers, []);
}

#[tokio::test]
async fn ids_are_shared_with_those_of_single_events_and_never_collide() {
    let server = TestServer::of(namespace()).await;
    let (mut client, id) = member(&server, "a").await;
    let space = server.io.of("/").unwrap();
    let socket = space.local_socket(&id).unwrap();
    let single = tokio::spawn(socket.emit_with_ack("single", &(), PATIENCE));
    let (first, _) = split_owned(&client.text().await);
    let all = tokio::spawn(space.broadcast().emit_with_ack("all", &(), PATIENCE));
    let (second, _) = split_owned(&client.text().await);
    assert_ne!(first, second);
    client.send(&format!("43{second}[2]")).await;
    client.send(&format!("43{first}[1]")).await;
    assert_eq!(single.await.unwrap(), Ok(vec![Value::Int(1)]));
    let acks = all.await.unwrap().unwrap();
    assert_eq!(acks.answers, [(id, vec![Value::Int(2)])]);
    assert_eq!(acks.missing, [""; 0]);
}

fn split_owned(text: &str) -> (u64, String) {
    let (id, rest) = split(text);
    (id, rest.to_owned())
}

#[tokio::test]
async fn what_is_no_longer_waited_for_is_forgotten_and_nobody_answers_at_once() {
    let server = TestServer::of(namespace()).await;
    let space = server.io.of("/").unwrap();
    let nobody = space.to("nobody").emit_with_ack("x", &(), PATIENCE).await;
    assert_eq!(nobody, Ok(unisono::BroadcastAcks::default()));
    let (mut client, id) = member(&server, "a").await;
    // Never awaited.
    drop(space.to("a").emit_with_ack("x", &(), PATIENCE));
    assert_eq!(server.io.stats().acks_pending, 0);
    client.text().await;
    // A socket owes no more than 1,024 answers; whoever cannot be asked is missing.
    let owed: Vec<_> = (0..1024)
        .map(|n| space.to("a").emit_with_ack("x", &n, PATIENCE))
        .collect();
    assert_eq!(server.io.stats().acks_pending, 1024);
    let short = Duration::from_millis(50);
    let acks = space.to("a").emit_with_ack("x", &(), short).await.unwrap();
    assert_eq!(acks.missing, [id]);
    drop(owed);
    assert_eq!(server.io.stats().acks_pending, 0);
}

/// A server on a bus.
async fn node(bus: &MemoryBus) -> TestServer {
    let io = Io::builder()
        .namespace(namespace())
        .broker(Arc::new(bus.broker()), "socket.io")
        .build();
    TestServer::serve(io).await
}

#[tokio::test]
async fn local_means_this_node_alone() {
    let bus = MemoryBus::new();
    let (server, other) = (node(&bus).await, node(&bus).await);
    let (mut client, id) = member(&server, "a").await;
    let (_elsewhere, _) = member(&other, "a").await;
    let space = server.io.of("/").unwrap();
    let all = || space.to("a");
    assert_eq!(space.local_room_names(), ["a"]);
    assert_eq!(all().local().sockets_join(["b"]), Ok(()));
    let fetched = all().local().fetch_sockets().await.unwrap();
    assert_eq!(fetched.nodes, Nodes::default());
    let ids: Vec<_> = fetched.answers.iter().map(|socket| socket.id()).collect();
    assert_eq!(ids, [&*id]);
    let answer = tokio::spawn(all().local().emit_with_ack("x", &(), PATIENCE));
    let (ack, _) = split_owned(&client.text().await);
    client.send(&format!("43{ack}[]")).await;
    let answer = answer.await.unwrap().unwrap();
    assert!(answer.is_complete() && answer.remote.is_empty());
    let ordered = all().local().ordered().emit_with_ack("x", &(), PATIENCE);
    assert_eq!(ordered.await, Err(EmitError::OrderedAck));
    assert_eq!(all().local().sockets_leave(["a"]), Ok(()));
    let there = other.io.of("/").unwrap();
    assert_eq!(there.local_room_names(), ["a"]);
    assert_eq!(space.broadcast().local().disconnect_sockets(true), Ok(()));
    assert_eq!(client.text().await, "41");
    await_until("it to be gone", PATIENCE, || space.local_len() == 0).await;
    assert_eq!(there.local_len(), 1);
}

#[tokio::test]
async fn many_sockets_are_fetched_moved_and_ended_at_once() {
    let io = Io::builder().namespace(namespace()).max_rooms(2).build();
    let server = TestServer::serve(io).await;
    let (mut one, one_id) = member(&server, "a").await;
    let (mut two, two_id) = member(&server, "a").await;
    let (mut other, other_id) = member(&server, "b").await;
    let space = server.io.of("/").unwrap();
    let mut fetched = space.to("a").fetch_sockets().await.unwrap().answers;
    fetched.sort_by_key(|s| s.id() == two_id);
    let shown: Vec<_> = fetched
        .iter()
        .map(|s| (s.id(), s.rooms().to_vec()))
        .collect();
    let rooms = |id: &str| vec![id.to_owned(), "a".to_owned()];
    assert_eq!(
        shown,
        [(&*one_id, rooms(&one_id)), (&*two_id, rooms(&two_id))]
    );
    assert_eq!(fetched[0].data().get("room"), Some(&Value::from("a")));
    assert!(fetched[0].handshake().url.contains("EIO=4"));
    assert_eq!(space.fetch_sockets().await.unwrap().answers.len(), 3);
    assert_eq!(space.local_sockets().len(), 3);
    space.to("a").except(&two_id).sockets_join(["c"]).unwrap();
    space.to("c").emit("to c", &()).unwrap();
    assert_eq!(one.text().await, "42[\"to c\"]");
    // The one that is in as many as it may be stays out, the others join.
    let joined = space.broadcast().sockets_join(["d"]);
    assert!(matches!(joined, Err(EmitError::Room(_))));
    assert_eq!(space.local_members("d").len(), 2);
    space.to("a").sockets_leave(["a", "c"]).unwrap();
    assert_eq!(
        space.local_members("a").len() + space.local_members("c").len(),
        0
    );
    space.to(&two_id).disconnect_sockets(false).unwrap();
    assert_eq!(two.text().await, "41");
    space.to(&other_id).disconnect_sockets(true).unwrap();
    assert_eq!(other.text().await, "41");
    assert_eq!(other.until_end().await, [Frame::Close(None)]);
    await_until("one to be left", PATIENCE, || space.local_len() == 1).await;
}

#[tokio::test]
async fn stock_clients_answer_a_broadcast() {
    let server = TestServer::of(namespace()).await;
    let mut clients = Conversation::clients().await;
    for (name, transport) in [("a", "websocket"), ("b", "polling")] {
        clients.open(name, &server.url(), &[transport]).await;
        let answer = json!({ "client": name, "event": "who?", "args": [name, { "$bin": "AQID" }] });
        clients.command("answer", answer).await;
    }
    let space = server.io.of("/").unwrap();
    let all = space.broadcast().emit_with_ack("who?", &(), PATIENCE);
    let acks = all.await.unwrap();
    let mut names: Vec<_> = acks.answers.iter().map(|(_, a)| a[0].as_str()).collect();
    names.sort();
    assert_eq!(names, [Some("a"), Some("b")]);
    assert!(
        acks.answers
            .iter()
            .all(|(_, args)| args[1].as_bin().is_some())
    );
}

#[tokio::test]
async fn a_client_owes_a_bounded_number_of_answers() {
    const OWED: usize = 1024;
    let server = TestServer::of(namespace()).await;
    let (mut client, id) = member(&server, "a").await;
    let space = server.io.of("/").unwrap();
    let socket = space.local_socket(&id).unwrap();
    let ask = || socket.emit_with_ack("x", &(), PATIENCE);
    let mut owed: Vec<_> = (0..OWED).map(|_| ask()).collect();
    assert_eq!(ask().await, Err(AckError::TooMany));
    // A broadcast goes on without it, and it is not asked.
    let all = space.broadcast().emit_with_ack("y", &(), PATIENCE).await;
    assert_eq!(all.unwrap().missing, [id]);
    // Who gives up, and who is answered, makes room.
    drop(owed.pop());
    let (first, _) = split_owned(&client.text().await);
    client.send(&format!("43{first}[7]")).await;
    assert_eq!(owed.remove(0).await, Ok(vec![Value::Int(7)]));
    let more = [tokio::spawn(ask()), tokio::spawn(ask())];
    assert_eq!(ask().await, Err(AckError::TooMany));
    drop(client);
    for asked in more {
        assert_eq!(asked.await.unwrap(), Err(AckError::Disconnected));
    }
}

#[tokio::test]
async fn the_answers_to_one_broadcast_are_bounded_together() {
    // Eight of these fit into 64 MiB, nine do not.
    const ANSWER: usize = 8_000_000;
    let io = Io::builder().max_payload(ANSWER + 100);
    let server = TestServer::serve(io.namespace(namespace()).build()).await;
    let mut clients = Vec::new();
    for _ in 0..9 {
        clients.push(member(&server, "a").await.0);
    }
    let space = server.io.of("/").unwrap();
    let asked = tokio::spawn(space.to("a").emit_with_ack("x", &(), PATIENCE));
    let answer = "x".repeat(ANSWER);
    for client in &mut clients {
        let (id, _) = split_owned(&client.text().await);
        client.send(&format!("43{id}[\"{answer}\"]")).await;
    }
    let acks = asked.await.unwrap().unwrap();
    assert_eq!((acks.answers.len(), acks.missing.len()), (8, 1));
    assert_eq!(server.refused("too_large"), 1);
    assert_eq!(server.io.stats().acks_pending, 0);
    // It is the broadcast that has no room left, and not the client.
    for client in &mut clients {
        client.send("429[\"join\",\"b\"]").await;
        assert!(client.text().await.starts_with("439["));
    }
}

#[tokio::test]
async fn the_answers_to_one_broadcast_count_as_what_they_take_in_memory() {
    // A megabyte on the wire, and many times that in memory.
    const ZEROS: usize = 499_900;
    let answer = format!("[0{}]", ",0".repeat(ZEROS - 1));
    let fitting = (64 << 20) / (ZEROS * size_of::<Value>());
    let server = TestServer::of(namespace()).await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(member(&server, "a").await.0);
    }
    let space = server.io.of("/").unwrap();
    let asked = tokio::spawn(space.to("a").emit_with_ack("x", &(), PATIENCE));
    for client in &mut clients {
        let (id, _) = split_owned(&client.text().await);
        client.send(&format!("43{id}{answer}")).await;
    }
    let acks = asked.await.unwrap().unwrap();
    let counts = (acks.answers.len(), acks.missing.len());
    assert_eq!(counts, (fitting, 6 - fitting));
    assert_eq!(server.refused("too_large"), 6 - fitting as u64);
}
