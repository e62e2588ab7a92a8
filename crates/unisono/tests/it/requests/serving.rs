//! What a node does for others, and at most how much of it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use unisono::{Broker, EmitError, Io, MemoryBus, Namespace, RoomError, ServerSide, Value};
use unisono_cluster::{MemoryBroker, Subscription};
use unisono_test::{Recorder, await_until};

use super::memory::{REQUESTS, RESPONSES, client, patient_pod, pod, publish, space, unsigned};
use crate::raw::{PATIENCE, RawSocket};
use crate::server::namespace;

/// Things of one kind in a namespace.
const SERVICES: usize = 256;

/// Descriptions of a server.
const DESCRIPTIONS: usize = 32;

const SHORT: Duration = Duration::from_millis(300);

/// Somebody who writes requests and hears the answers.
fn stranger(bus: &MemoryBus) -> (MemoryBroker, Arc<Recorder>) {
    let (broker, recorder) = (bus.broker(), Recorder::new());
    broker.attach(recorder.clone());
    broker.subscribe(Subscription::Channel(RESPONSES.to_owned()));
    (broker, recorder)
}

fn ack_id(question: &str) -> &str {
    question.trim_start_matches("42").split('[').next().unwrap()
}

#[tokio::test]
async fn handlers_are_bounded_and_take_no_place_of_anything_else() {
    let bus = MemoryBus::new();
    let asker = pod(&bus, namespace("/")).await;
    let hasty = patient_pod(&bus, namespace("/"), SHORT).await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let opened = gate.clone();
    let waiting = namespace("/").on_server_side("wait", move |event: ServerSide| {
        let gate = opened.clone();
        async move {
            let _ = gate.acquire().await.unwrap();
            event.ack.send(&event.args).unwrap();
        }
    });
    let other = pod(&bus, waiting).await;
    let mut client = client(&other).await;
    let asked: Vec<_> = (0..SERVICES)
        .map(|_| {
            let space = space(&asker);
            tokio::spawn(async move { space.server_side_emit_with_ack("wait", &1).await })
        })
        .collect();
    await_until("all to be asked", PATIENCE, || {
        other.io.node_stats()[0].1.requests == SERVICES as u64
    })
    .await;
    // One more is not answered; the node without a handler answers with nothing.
    let more = space(&hasty).server_side_emit_with_ack("wait", &1).await;
    let more = more.unwrap();
    assert_eq!((more.nodes.expected, more.nodes.missing_count()), (2, 1));
    assert_eq!(more.answers, [Value::Null]);
    assert_eq!(other.refused("congestion"), 1);
    let acks = space(&asker).broadcast();
    let acks = tokio::spawn(acks.emit_with_ack("q", &(), PATIENCE));
    let question = client.text().await;
    client.send(&format!("43{}[1]", ack_id(&question))).await;
    assert!(acks.await.unwrap().unwrap().is_complete());
    let fetched = space(&asker).fetch_sockets().await.unwrap();
    assert_eq!(fetched.answers.len(), 1);
    gate.add_permits(SERVICES);
    for asked in asked {
        let answers = asked.await.unwrap().unwrap().answers;
        assert!(answers.contains(&Value::Array(vec![Value::Int(1)])));
    }
    let more = space(&hasty).server_side_emit_with_ack("wait", &1).await;
    assert!(more.unwrap().nodes.have_all_answered());
}

#[tokio::test]
async fn a_handler_that_panics_has_not_answered() {
    let bus = MemoryBus::new();
    let hasty = patient_pod(&bus, namespace("/"), SHORT).await;
    let handlers = namespace("/")
        .on_server_side("at once", async |_: ServerSide| {
            panic!("a handler may panic")
        })
        .on_server_side("later", async |_: ServerSide| {
            tokio::task::yield_now().await;
            panic!("a handler may panic")
        });
    let other = pod(&bus, handlers).await;
    for (event, panics) in [("at once", 1), ("later", 2)] {
        let answers = space(&hasty).server_side_emit_with_ack(event, &()).await;
        let answers = answers.unwrap();
        assert_eq!(
            (answers.nodes.missing_count(), answers.answers.len()),
            (1, 0)
        );
        assert_eq!(other.refused("panic"), panics);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_end_gives_its_place_back_and_has_not_answered() {
    let bus = MemoryBus::new();
    let io = |namespace: Namespace, timeout: u64| {
        Io::builder()
            .namespace(namespace)
            .broker(Arc::new(bus.broker()), "key")
            .requests_timeout(Duration::from_secs(timeout))
            .build()
    };
    let asker = io(Namespace::new("/"), 200);
    let waiting = Namespace::new("/").on_server_side("wait", async |event: ServerSide| {
        std::future::pending::<()>().await;
        drop(event);
    });
    let other = io(waiting, 5);
    let congested = || {
        let refused = other.stats().refused.into_iter();
        let mut congestion = refused.filter(|(reason, _)| *reason == "congestion");
        congestion.next().unwrap().1
    };
    let space = asker.of("/").unwrap();
    for _ in 1..SERVICES {
        space.server_side_emit("wait", &()).unwrap();
    }
    let answers = space.server_side_emit_with_ack("wait", &()).await.unwrap();
    assert_eq!(
        (answers.nodes.expected, answers.nodes.missing_count()),
        (1, 1)
    );
    // Two minutes are over, and each of them is counted.
    assert_eq!(congested(), SERVICES as u64);
    space.server_side_emit("wait", &()).unwrap();
    assert_eq!(congested(), SERVICES as u64);
}

#[tokio::test]
async fn a_broadcast_beyond_those_that_are_waited_for_is_delivered_all_the_same() {
    let bus = MemoryBus::new();
    let server = pod(&bus, namespace("/")).await;
    let mut client = client(&server).await;
    let (node, recorder) = stranger(&bus);
    let ask = |n: usize| {
        let packet = json!({ "type": 2, "data": ["q", n], "nsp": "/" });
        let opts = json!({ "rooms": [], "except": [], "flags": { "timeout": 60_000 } });
        let id = format!("r{n}-");
        let request =
            json!({ "uid": "x", "requestId": id, "type": 7, "packet": packet, "opts": opts });
        publish(&node, REQUESTS, &request);
    };
    let mut questions = Vec::new();
    for n in 0..=SERVICES {
        ask(n);
        let count = format!(r#"{{"type":8,"requestId":"r{n}-","clientCount":1}}"#);
        let told = recorder.texts(RESPONSES);
        assert_eq!(unsigned(told.last().unwrap()), count);
        let question = client.text().await;
        assert!(question.ends_with(&format!("[\"q\",{n}]")), "{question}");
        questions.push(question);
    }
    assert_eq!(server.refused("congestion"), 1);
    assert_eq!(server.io.stats().acks_pending, SERVICES as u64);
    // Nobody waits for the last; the first is passed on.
    for n in [SERVICES, 0] {
        client
            .send(&format!("43{}[1]", ack_id(&questions[n])))
            .await;
    }
    await_until("an answer", PATIENCE, || {
        recorder.texts(RESPONSES).len() == SERVICES + 2
    })
    .await;
    let texts = recorder.texts(RESPONSES);
    assert!(texts.last().unwrap().contains("r0-"), "{:?}", texts.last());
}

#[tokio::test]
async fn a_socket_that_cannot_be_described_costs_the_others_nothing() {
    let bus = MemoryBus::new();
    let (near, far) = (
        pod(&bus, namespace("/")).await,
        pod(&bus, namespace("/")).await,
    );
    let mut clients = Vec::new();
    // A client may nest 64 levels, and the answer has four of its own.
    let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
    for auth in [deep, "\"token\"".to_owned()] {
        let mut socket = RawSocket::connect(far.port, "EIO=4&transport=websocket").await;
        assert!(socket.text().await.starts_with("0{"));
        socket.send(&format!("40{{\"a\":{auth}}}")).await;
        assert!(socket.text().await.starts_with("40{\"sid\""));
        assert!(socket.text().await.starts_with("42[\"auth\""));
        clients.push(socket);
    }
    for socket in space(&far).local_sockets() {
        socket.share(&json!({ "shared": 1 })).unwrap();
    }
    let fetched = space(&near).fetch_sockets().await.unwrap();
    assert!(fetched.nodes.have_all_answered(), "{:?}", fetched.nodes);
    let mut auths: Vec<_> = fetched.answers.iter().map(|s| s.auth().clone()).collect();
    auths.sort_by_key(|auth| auth.get("a").is_some());
    let token = Value::Map(vec![("a".to_owned(), "token".into())]);
    assert_eq!(auths, [Value::Map(Vec::new()), token]);
    let shared = Value::Map(vec![("shared".to_owned(), Value::Int(1))]);
    assert!(fetched.answers.iter().all(|s| *s.data() == shared));
    assert_eq!(far.refused("too_large"), 1);
}

#[tokio::test]
async fn descriptions_wait_for_each_other_and_are_bounded() {
    let bus = MemoryBus::new();
    let server = pod(&bus, namespace("/")).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(client(&server).await);
    }
    let (node, recorder) = stranger(&bus);
    let mut expected = 0;
    for (asked, refused) in [(DESCRIPTIONS + 8, 8), (1, 8)] {
        for n in 0..asked {
            let id = format!("f{n}");
            let opts = json!({ "rooms": [], "except": [] });
            let request = json!({ "uid": "x", "requestId": id, "type": 5, "opts": opts });
            publish(&node, REQUESTS, &request);
        }
        assert_eq!(server.refused("congestion"), refused);
        expected += asked.min(DESCRIPTIONS);
        await_until("the answers", PATIENCE, || {
            recorder.texts(RESPONSES).len() == expected
        })
        .await;
    }
    assert_eq!(recorder.texts(RESPONSES).len(), DESCRIPTIONS + 1);
}

#[tokio::test]
async fn many_rooms_are_joined_and_left_in_one_step_for_each_socket() {
    let bus = MemoryBus::new();
    let server = pod(&bus, namespace("/")).await;
    let _clients = (client(&server).await, client(&server).await);
    let sockets = space(&server).local_sockets();
    let (node, _) = stranger(&bus);
    let change = |kind: u8, rooms: &[String]| {
        let opts = json!({ "rooms": [], "except": [] });
        let request = json!({ "uid": "x", "type": kind, "opts": opts, "rooms": rooms });
        publish(&node, REQUESTS, &request);
    };
    let names = |count: usize| (0..count).map(|n| format!("r{n}")).collect::<Vec<_>>();
    // As many as may be, whatever comes twice.
    let twice = [names(1_000), names(1_000)].concat();
    change(2, &twice);
    for socket in &sockets {
        assert_eq!(socket.rooms().len(), 1_001);
    }
    assert_eq!(server.refused("rooms"), 0);
    // Nobody can be in so many: that is found out once.
    change(2, &names(1_002));
    assert_eq!(server.refused("rooms"), 1);
    let refused = space(&server).broadcast().sockets_join(names(1_002));
    assert_eq!(refused, Err(EmitError::Room(RoomError::TooMany)));
    // Names that nobody has heard of, and some that stay.
    let left = [names(16_000)[10..].to_vec(), names(20)[15..].to_vec()].concat();
    change(3, &left);
    for socket in &sockets {
        let mut rooms = socket.rooms();
        rooms.remove(0);
        rooms.sort();
        assert_eq!(rooms, names(10));
    }
    change(3, &["r3".to_owned(), sockets[0].id().to_owned()]);
    for socket in &sockets {
        assert!(!socket.is_in("r3") && socket.is_in("r4"));
        assert!(socket.is_in(socket.id()));
    }
    // More than a request may name: nothing happens.
    change(3, &names(16_385));
    assert!(sockets[0].is_in("r4"));
    let refused = space(&server).broadcast().sockets_leave(names(16_385));
    assert!(matches!(refused, Err(EmitError::Cluster(_))), "{refused:?}");
    assert!(sockets[0].is_in("r4"));
}
