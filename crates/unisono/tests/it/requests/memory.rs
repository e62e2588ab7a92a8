//! What can be told without Redis: our pods on a bus in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use unisono::{
    Broker, EmitError, Io, MemoryBroker, MemoryBus, Namespace, Nodes, ServerSide, Space, Value,
};
use unisono_test::{Recorder, await_until};

use super::pods::to_json;
use crate::raw::{Frame, PATIENCE, RawSocket};
use crate::server::{TestServer, namespace};

pub(super) const REQUESTS: &str = "key-request#/#";
pub(super) const RESPONSES: &str = "key-response#/#";

pub(super) async fn pod(bus: &MemoryBus, namespace: Namespace) -> TestServer {
    patient_pod(bus, namespace, PATIENCE).await
}

/// One that waits so long for the others.
pub(super) async fn patient_pod(
    bus: &MemoryBus,
    namespace: Namespace,
    timeout: Duration,
) -> TestServer {
    let io = Io::builder()
        .namespace(namespace)
        .broker(Arc::new(bus.broker()), "key")
        .requests_timeout(timeout)
        .build();
    TestServer::serve(io).await
}

pub(super) fn space(server: &TestServer) -> Space {
    server.io.of("/").unwrap()
}

/// A client of a pod of [`namespace`], without what it gets at first.
pub(super) async fn client(server: &TestServer) -> RawSocket {
    let mut socket = RawSocket::enter(server.port).await;
    assert!(socket.text().await.starts_with("42[\"auth\""));
    socket
}

#[tokio::test]
async fn server_side_events_are_always_answered() {
    let bus = MemoryBus::new();
    let asker = pod(&bus, namespace("/")).await;
    let handlers = namespace("/")
        .on_server_side("sum", async |event: ServerSide| {
            let (a, b): (i64, i64) = event.data().unwrap();
            event.ack.send(&(a + b)).unwrap();
        })
        .on_server_side("bytes", async |event: ServerSide| {
            let bytes = event.args[0].as_bin().unwrap().len();
            let answer = Value::Bin(Bytes::from(vec![7; bytes + 1]));
            event.ack.send(&answer).unwrap();
        })
        .on_server_side("forgets", async |_: ServerSide| {})
        .on_server_side("cannot", async |event: ServerSide| {
            let nested = (0..64).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
            assert!(event.ack.send(&nested).is_err());
        });
    let other = pod(&bus, handlers).await;
    let ask = async |event: &str, data: Value| {
        let space = space(&asker);
        let answers = space.server_side_emit_with_ack(event, &data).await.unwrap();
        assert!(answers.nodes.have_all_answered(), "{event}: {answers:?}");
        answers.answers
    };
    let sum = space(&asker)
        .server_side_emit_with_ack("sum", &(1, 2))
        .await;
    assert_eq!(sum.unwrap().answers, [Value::Int(3)]);
    let bytes = ask("bytes", Value::Bin(Bytes::from_static(&[1, 2]))).await;
    assert_eq!(bytes, [Value::Bin(Bytes::from_static(&[7, 7, 7]))]);
    for event in ["forgets", "cannot", "nobody-knows"] {
        assert_eq!(ask(event, Value::Null).await, [Value::Null], "{event}");
    }
    // Never on the node that sends it.
    let own = space(&other)
        .server_side_emit_with_ack("sum", &(1, 2))
        .await;
    assert_eq!(own.unwrap().answers, [Value::Null]);
    for reserved in ["connect", "connection", "new_namespace", "error"] {
        let refused = Err(EmitError::Reserved(reserved.to_owned()));
        assert_eq!(space(&asker).server_side_emit(reserved, &()), refused);
    }
    let large = Value::Bin(Bytes::from(vec![0; 600_000]));
    let refused = space(&asker).server_side_emit("bytes", &large);
    assert!(matches!(refused, Err(EmitError::Cluster(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_of_server_side_events_start_in_order() {
    let bus = MemoryBus::new();
    let asker = pod(&bus, namespace("/")).await;
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let handlers = namespace("/").on_server_side("n", move |event: ServerSide| {
        let sender = sender.clone();
        async move {
            sender.send(event.data::<u32>().unwrap()).unwrap();
            // Waits, and does not hold up the next.
            std::future::pending::<()>().await;
        }
    });
    let _other = pod(&bus, handlers).await;
    for n in 0..200 {
        space(&asker).server_side_emit("n", &n).unwrap();
    }
    for n in 0..200 {
        assert_eq!(seen.recv().await, Some(n));
    }
}

#[tokio::test]
async fn many_sockets_of_another_node_are_fetched() {
    let bus = MemoryBus::new();
    let (near, far) = (
        pod(&bus, namespace("/")).await,
        pod(&bus, namespace("/")).await,
    );
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(client(&far).await);
    }
    let fetched = space(&near).fetch_sockets().await.unwrap();
    assert!(fetched.nodes.have_all_answered());
    let ids: std::collections::HashSet<_> = fetched.answers.iter().map(|s| s.id()).collect();
    assert_eq!(ids.len(), 100);
}

#[tokio::test]
async fn without_other_nodes_nobody_is_waited_for() {
    let alone = TestServer::start().await;
    let bus = MemoryBus::new();
    let on_bus = pod(&bus, namespace("/")).await;
    for server in [&alone, &on_bus] {
        let space = space(server);
        let mut client = client(server).await;
        assert_eq!(space.server_count().await, Ok(1));
        let fetched = space.fetch_sockets().await.unwrap();
        assert_eq!(
            (fetched.answers.len(), fetched.nodes),
            (1, Nodes::default())
        );
        let rooms = space.all_rooms().await.unwrap();
        assert_eq!(rooms.answers, [fetched.answers[0].id()]);
        let events = space.server_side_emit_with_ack("x", &()).await.unwrap();
        assert_eq!((events.answers.len(), events.nodes), (0, Nodes::default()));
        let acks = tokio::spawn(space.broadcast().emit_with_ack("q", &(), PATIENCE));
        let question = client.text().await;
        let id = question.trim_start_matches("42").split('[').next().unwrap();
        client.send(&format!("43{id}[1]")).await;
        let acks = acks.await.unwrap().unwrap();
        assert!(acks.is_complete() && acks.len() == 1);
    }
}

#[tokio::test]
async fn a_fetched_socket_is_the_same_from_near_and_far_and_can_be_moved() {
    let bus = MemoryBus::new();
    let (near, far) = (
        pod(&bus, namespace("/")).await,
        pod(&bus, namespace("/")).await,
    );
    let mut client = client(&far).await;
    let socket = &space(&far).local_sockets()[0];
    socket.share(&json!({ "user": "ann" })).unwrap();
    let theirs = space(&far).local_sockets()[0].id().to_owned();
    let [here] = &space(&far).fetch_sockets().await.unwrap().answers[..] else {
        panic!("there is one");
    };
    let [there] = &space(&near).fetch_sockets().await.unwrap().answers[..] else {
        panic!("there is one");
    };
    for socket in [here, there] {
        assert_eq!(
            (socket.id(), socket.rooms()),
            (&*theirs, &[theirs.clone()][..])
        );
        assert_eq!(to_json(socket.data()), json!({ "user": "ann" }));
        assert_eq!(socket.handshake().address, "127.0.0.1");
        assert_eq!(socket.handshake().query[0].0, "EIO");
    }
    let (one, two) = (here.handshake(), there.handshake());
    assert_eq!(one, two);
    there.join("r").unwrap();
    await_until("it to join", PATIENCE, || socket.is_in("r")).await;
    there.join_all(["s", "t"]).unwrap();
    await_until("it to join both", PATIENCE, || {
        socket.is_in("s") && socket.is_in("t")
    })
    .await;
    there.emit("hello", &1).unwrap();
    assert_eq!(client.text().await, "42[\"hello\",1]");
    there.leave("r").unwrap();
    await_until("it to leave", PATIENCE, || !socket.is_in("r")).await;
    assert!(socket.is_in("s"));
    there.disconnect().unwrap();
    assert_eq!(client.text().await, "41");
    await_until("it to be gone", PATIENCE, || space(&far).local_len() == 0).await;
    // The connection is still there, until it is said to end too.
    client.send("40").await;
    assert!(client.text().await.starts_with("40{"));
    assert_eq!(client.text().await, "42[\"auth\"]");
    let again = &space(&near).fetch_sockets().await.unwrap().answers[0];
    again.disconnect_and_close().unwrap();
    assert_eq!(client.text().await, "41");
    assert_eq!(client.next().await, Frame::Close(None));
}

#[tokio::test]
async fn what_is_no_longer_waited_for_is_forgotten() {
    let bus = MemoryBus::new();
    let server = patient_pod(&bus, namespace("/"), Duration::from_millis(200)).await;
    // Counted, and silent.
    let silent = bus.broker();
    silent.subscribe(unisono_cluster::Subscription::Channel(REQUESTS.to_owned()));
    let space = space(&server);
    drop(space.broadcast().emit_with_ack("q", &(), PATIENCE));
    let asked = tokio::time::timeout(Duration::from_millis(50), space.all_rooms());
    assert!(asked.await.is_err());
    let stats = || server.io.node_stats()[0].1;
    assert_eq!(stats().requests_expired, 2);
    let rooms = space.all_rooms().await.unwrap();
    assert_eq!((rooms.nodes.expected, rooms.nodes.missing_count()), (1, 1));
    assert_eq!(stats().requests_expired, 3);
    // As many as may be, each for as long as nobody drops it.
    let asked: Vec<_> = (0..1_024)
        .map(|_| space.to("nobody").emit_with_ack("q", &(), PATIENCE))
        .collect();
    let refused = space.to("nobody").emit_with_ack("q", &(), PATIENCE).await;
    assert_eq!(refused, Err(EmitError::TooManyRequests));
    drop(asked);
    let short = Duration::from_millis(10);
    let acks = space.to("nobody").emit_with_ack("q", &(), short).await;
    assert_eq!(acks.unwrap().nodes.missing_count(), 1);
}

#[tokio::test]
async fn a_server_that_ends_is_not_counted_although_its_broker_stays() {
    let bus = MemoryBus::new();
    let broker = Arc::new(bus.broker());
    let io = Io::builder()
        .namespace(namespace("/"))
        .broker(broker.clone(), "key")
        .build();
    let space = io.of("/").unwrap();
    assert_eq!(space.server_count().await, Ok(1));
    drop(io);
    // Who holds a namespace alone asks nobody and answers nobody.
    assert_eq!(broker.count(REQUESTS).await, Ok(0));
    let fetched = space.fetch_sockets().await.unwrap();
    assert_eq!(
        (fetched.answers.len(), fetched.nodes),
        (0, Nodes::default())
    );
}

/// What pods of before version 8 ask.
/// An answer of one of our pods as Node.js would write it: without who answers, which comes last.
pub(super) fn unsigned(answer: &str) -> String {
    let (text, _) = answer.rsplit_once(r#","from":""#).unwrap();
    format!("{text}}}")
}

#[tokio::test]
async fn old_requests_are_answered_by_who_has_the_socket() {
    let bus = MemoryBus::new();
    let (one, two) = (
        pod(&bus, namespace("/")).await,
        pod(&bus, namespace("/")).await,
    );
    let mut client = client(&one).await;
    let _elsewhere = self::client(&two).await;
    let socket = space(&one).local_sockets()[0].clone();
    let (node, recorder) = (bus.broker(), Recorder::new());
    node.attach(recorder.clone());
    node.subscribe(unisono_cluster::Subscription::Channel(RESPONSES.to_owned()));
    let mut answers = 0;
    let mut ask = |request: serde_json::Value, expected: usize| {
        publish(&node, REQUESTS, &request);
        let texts = recorder.texts(RESPONSES);
        answers += expected;
        assert_eq!(texts.len(), answers, "{request}");
        unsigned(texts.last().unwrap())
    };
    let sid = socket.id();
    let join = json!({ "uid": "u", "requestId": "r1", "type": 2, "sid": sid, "room": "a" });
    assert_eq!(ask(join, 1), r#"{"requestId":"r1"}"#);
    assert!(socket.is_in("a"));
    let sockets = json!({ "uid": "u", "requestId": "r2", "type": 0, "rooms": ["a"] });
    ask(sockets, 2);
    let texts = recorder.texts(RESPONSES);
    let mut texts: Vec<_> = texts[1..].iter().map(|text| unsigned(text)).collect();
    texts.sort();
    let expected = [
        format!(r#"{{"requestId":"r2","sockets":["{sid}"]}}"#),
        r#"{"requestId":"r2","sockets":[]}"#.to_owned(),
    ];
    assert_eq!(texts, expected);
    let leave = json!({ "uid": "u", "requestId": "r3", "type": 3, "sid": sid, "room": "a" });
    assert_eq!(ask(leave, 1), r#"{"requestId":"r3"}"#);
    assert!(!socket.is_in("a"));
    let end = json!({ "uid": "u", "requestId": "r4", "type": 4, "sid": sid, "close": false });
    assert_eq!(ask(end, 1), r#"{"requestId":"r4"}"#);
    assert_eq!(client.text().await, "41");
}

pub(super) fn publish(broker: &MemoryBroker, channel: &str, payload: &serde_json::Value) {
    let payload = Bytes::from(payload.to_string());
    broker.publish(channel, payload).unwrap();
}

#[tokio::test]
async fn namespaces_that_come_and_go_ask_and_answer_while_they_are_there() {
    let bus = MemoryBus::new();
    let start = async || {
        let orgs = Namespace::matching(|name, _, _| name.starts_with("/org-"));
        pod(&bus, orgs).await
    };
    let (one, two) = (start().await, start().await);
    for _ in 0..2 {
        let mut sockets = Vec::new();
        for server in [&one, &two] {
            let mut socket = crate::dynamic::open(server).await;
            socket.send("40/org-1,").await;
            assert!(socket.text().await.starts_with("40/org-1,"));
            sockets.push(socket);
        }
        let space = one.io.of("/org-1").unwrap();
        assert_eq!(space.server_count().await, Ok(2));
        let fetched = space.fetch_sockets().await.unwrap();
        assert!(fetched.nodes.have_all_answered(), "{:?}", fetched.nodes);
        assert_eq!(fetched.answers.len(), 2);
        drop((space, fetched));
        sockets.pop();
        await_until("the other to be alone", PATIENCE, || {
            two.io.of("/org-1").is_none()
        })
        .await;
        let space = one.io.of("/org-1").unwrap();
        assert_eq!(space.server_count().await, Ok(1));
        drop(sockets);
        drop(space);
        await_until("nobody to be there", PATIENCE, || {
            one.io.of("/org-1").is_none()
        })
        .await;
    }
}
