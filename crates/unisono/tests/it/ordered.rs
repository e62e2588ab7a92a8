//! Commits that are told in everybody's one order, on nodes joined in this process.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::json;
use unisono::{
    Broker, Decision, Io, LinkState, LinkStats, MemoryBroker, MemoryBus, Namespace, Note,
};
use unisono_cluster::{Adapter, CountFuture, Inbox, PublishError, Subscription};

use crate::raw::RawSocket;
use crate::server::TestServer;

type Notes = Arc<Mutex<Vec<Note>>>;

/// A node on the bus that keeps the notes it sees and drops those that say so.
async fn node(bus: &MemoryBus) -> (TestServer, Notes) {
    let notes = Notes::default();
    let seen = notes.clone();
    let namespace = Namespace::new("/").on_note(move |note| {
        seen.lock().unwrap().push(note.clone());
        match &note.bytes[..] {
            b"drop" => Decision::Drop,
            _ => Decision::Deliver,
        }
    });
    let broker = Arc::new(bus.broker());
    let io = Io::builder()
        .namespace(namespace)
        .broker(broker, "socket.io")
        .build();
    (TestServer::serve(io).await, notes)
}

fn publish(node: &TestServer, note: &'static [u8], revision: u32) {
    let space = node.io.of("/").unwrap();
    let data = json!({ "by": "x" });
    let note = Some(Bytes::from_static(note));
    let prepared = space.prepare(&[], "changed", &data, note).unwrap();
    prepared.publish(revision);
}

#[tokio::test]
async fn a_commit_carries_its_revision_and_its_note_to_every_node() {
    let bus = MemoryBus::new();
    let ((one, one_notes), (two, two_notes)) = (node(&bus).await, node(&bus).await);
    let mut clients = [
        RawSocket::enter(one.port).await,
        RawSocket::enter(two.port).await,
    ];
    publish(&one, b"a", 7);
    // A note may keep a broadcast from the members of a node.
    publish(&two, b"drop", 8);
    publish(&two, b"b", 9);
    for client in &mut clients {
        for revision in [7, 9] {
            let expected = format!("42[\"changed\",{{\"by\":\"x\",\"revision\":{revision}}}]");
            assert_eq!(client.text().await, expected);
        }
    }
    let from_self = |notes: &Notes| -> Vec<_> {
        let notes = notes.lock().unwrap();
        notes.iter().map(|n| (n.revision, n.from_self)).collect()
    };
    assert_eq!(
        from_self(&one_notes),
        [(Some(7), true), (Some(8), false), (Some(9), false)]
    );
    assert_eq!(
        from_self(&two_notes),
        [(Some(7), false), (Some(8), true), (Some(9), true)]
    );
}

#[tokio::test]
async fn what_is_conducted_is_one_step_in_the_order_of_deliveries() {
    let bus = MemoryBus::new();
    let ((one, _), (two, _)) = (node(&bus).await, node(&bus).await);
    let mut client = RawSocket::enter(one.port).await;
    let space = one.io.of("/").unwrap();
    space.conduct(|| {
        // Comes from another node while this one is held: it must wait.
        publish(&two, b"a", 1);
        space.emit("snapshot", &()).unwrap();
    });
    assert_eq!(client.text().await, "42[\"snapshot\"]");
    assert!(client.text().await.starts_with("42[\"changed\""));
}

#[tokio::test]
async fn a_commit_that_is_cancelled_after_its_echo_is_known_to_have_happened() {
    let bus = MemoryBus::new();
    let (one, _) = node(&bus).await;
    let space = one.io.of("/").unwrap();
    let prepared = || space.prepare(&[], "changed", &json!({}), None).unwrap();
    let (came, lost) = (prepared(), prepared());
    let (came_back, awaited) = (came.expect(), lost.expect());
    // What a store does: the message is on the bus before its answer is here.
    let template = came.template().unwrap();
    let other = bus.broker();
    Broker::publish(&other, &template.channel, template.fill(1)).unwrap();
    assert!(!came_back.cancel(), "its message has come back");
    assert!(awaited.cancel(), "nobody has published it");
}

#[tokio::test]
async fn a_payload_that_is_no_map_has_no_place_for_a_revision() {
    let (one, _) = node(&MemoryBus::new()).await;
    let error = one
        .io
        .of("/")
        .unwrap()
        .prepare(&[], "changed", &1, None)
        .unwrap_err();
    assert_eq!(error, unisono::EmitError::NotAMap);
}

/// A broker that takes messages and loses them.
pub(crate) struct Mute(pub(crate) MemoryBroker);

impl Broker for Mute {
    fn adapter(&self) -> Adapter {
        self.0.adapter()
    }

    fn attach(&self, inbox: Arc<dyn Inbox>) {
        self.0.attach(inbox);
    }

    fn subscribe(&self, subscription: Subscription) {
        self.0.subscribe(subscription);
    }

    fn unsubscribe(&self, subscription: &Subscription) {
        self.0.unsubscribe(subscription);
    }

    fn publish(&self, _: &str, _: Bytes) -> Result<(), PublishError> {
        Ok(())
    }

    fn count(&self, channel: &str) -> CountFuture {
        self.0.count(channel)
    }

    fn state(&self) -> LinkState {
        self.0.state()
    }

    fn suspect(&self) {
        self.0.suspect();
    }

    fn stats(&self) -> LinkStats {
        self.0.stats()
    }

    fn close(&self) {
        self.0.close();
    }
}

#[tokio::test]
async fn an_echo_that_does_not_come_is_delivered_here_alone() {
    let io = Io::builder()
        .namespace(Namespace::new("/"))
        .broker(Arc::new(Mute(MemoryBus::new().broker())), "socket.io");
    let node = TestServer::serve(io.build()).await;
    let mut client = RawSocket::enter(node.port).await;
    let space = node.io.of("/").unwrap();
    space.broadcast().ordered().emit("ordered", &1).unwrap();
    // What is not ordered does not wait for it.
    space.emit("at once", &2).unwrap();
    assert_eq!(client.text().await, "42[\"at once\",2]");
    assert_eq!(client.text().await, "42[\"ordered\",1]");
    assert_eq!(node.io.stats().echoes_missed, 1);
}
