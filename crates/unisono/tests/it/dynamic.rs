//! Namespaces that come and go with their clients.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::mpsc;
use unisono::{
    Args, Auth, Broker, ConnectError, Io, LinkState, LinkStats, MemoryBroker, MemoryBus, Namespace,
    Socket, Space, Value,
};
use unisono_cluster::{Adapter, CountFuture, Inbox, PublishError, Subscription};
use unisono_redis::{RedisBroker, RedisConfig};
use unisono_test::{Conversation, RedisServer, await_until};

use crate::raw::{Frame, PATIENCE, RawSocket};
use crate::server::TestServer;

/// `/org-…`: `shout` is told to everybody in the same namespace.
fn orgs() -> Namespace {
    let shout = async |space: Space, Args(args): Args| space.emit("shout", &args[0]).unwrap();
    Namespace::matching(|name, _, _| name.starts_with("/org-")).on("shout", shout)
}

pub(crate) async fn open(server: &TestServer) -> RawSocket {
    let mut socket = RawSocket::connect(server.port, "EIO=4&transport=websocket").await;
    assert!(socket.text().await.starts_with("0{"));
    socket
}

async fn join(socket: &mut RawSocket, nsp: &str) {
    socket.send(&format!("40{nsp},")).await;
    let answer = socket.text().await;
    assert!(
        answer.starts_with(&format!("40{nsp},{{\"sid\"")),
        "{answer}"
    );
}

async fn enter(server: &TestServer, nsp: &str) -> RawSocket {
    let mut socket = open(server).await;
    join(&mut socket, nsp).await;
    socket
}

async fn await_dynamic(server: &TestServer, count: u64) {
    await_until("the namespaces to be as many", PATIENCE, || {
        server.io.stats().dynamic_namespaces == count
    })
    .await;
}

/// A broker that shows what it is subscribed to.
struct Listing {
    broker: MemoryBroker,
    subscriptions: Mutex<BTreeSet<Subscription>>,
}

impl Listing {
    fn on(bus: &MemoryBus) -> Arc<Self> {
        Arc::new(Self {
            broker: bus.broker(),
            subscriptions: Mutex::default(),
        })
    }

    /// How many subscriptions there are for namespaces, and the patterns among them.
    fn subscriptions(&self) -> (usize, Vec<String>) {
        let mut subscriptions = self.subscriptions.lock().unwrap().clone();
        // The server's own, as long as it is there.
        subscriptions.retain(|subscription| match subscription {
            Subscription::Channel(name) => !name.ends_with("-members"),
            Subscription::Pattern(_) => true,
        });
        let patterns = subscriptions
            .iter()
            .filter_map(|subscription| match subscription {
                Subscription::Pattern(name) => Some(name.clone()),
                Subscription::Channel(_) => None,
            });
        (subscriptions.len(), patterns.collect())
    }
}

impl Broker for Listing {
    fn adapter(&self) -> Adapter {
        self.broker.adapter()
    }

    fn attach(&self, inbox: Arc<dyn Inbox>) {
        self.broker.attach(inbox);
    }

    fn subscribe(&self, subscription: Subscription) {
        let mut subscriptions = self.subscriptions.lock().unwrap();
        assert!(subscriptions.insert(subscription.clone()), "asked twice");
        self.broker.subscribe(subscription);
    }

    fn unsubscribe(&self, subscription: &Subscription) {
        let mut subscriptions = self.subscriptions.lock().unwrap();
        assert!(subscriptions.remove(subscription), "never asked for");
        self.broker.unsubscribe(subscription);
    }

    fn publish(&self, channel: &str, payload: Bytes) -> Result<(), PublishError> {
        self.broker.publish(channel, payload)
    }

    fn count(&self, channel: &str) -> CountFuture {
        self.broker.count(channel)
    }

    fn state(&self) -> LinkState {
        self.broker.state()
    }

    fn suspect(&self) {
        self.broker.suspect();
    }

    fn stats(&self) -> LinkStats {
        self.broker.stats()
    }

    fn close(&self) {
        self.broker.close();
    }
}

#[tokio::test]
async fn each_name_is_a_namespace_of_its_own_while_somebody_is_in_it() {
    let server = TestServer::of(orgs()).await;
    assert!(server.io.of("/org-1").is_none());
    let mut one = enter(&server, "/org-1").await;
    let mut two = enter(&server, "/org-2").await;
    let mut both = enter(&server, "/org-1").await;
    join(&mut both, "/org-2").await;
    assert_eq!(server.io.stats().dynamic_namespaces, 2);
    assert_eq!(server.io.of("/org-1").unwrap().local_len(), 2);
    let mut names: Vec<_> = server
        .io
        .spaces()
        .iter()
        .map(|s| s.name().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["/org-1", "/org-2"]);
    one.send("42/org-1,[\"shout\",1]").await;
    assert_eq!(one.text().await, "42/org-1,[\"shout\",1]");
    assert_eq!(both.text().await, "42/org-1,[\"shout\",1]");
    two.send("42/org-2,[\"shout\",2]").await;
    assert_eq!(two.text().await, "42/org-2,[\"shout\",2]");
    assert_eq!(both.text().await, "42/org-2,[\"shout\",2]");
    // The last one out closes the door; each way of leaving counts.
    both.send("41/org-2,").await;
    drop(two);
    await_dynamic(&server, 1).await;
    assert!(server.io.of("/org-2").is_none());
    join(&mut one, "/org-2").await;
    one.send("42/org-2,[\"shout\",3]").await;
    assert_eq!(one.text().await, "42/org-2,[\"shout\",3]");
    drop((one, both));
    await_dynamic(&server, 0).await;
    assert!(server.io.spaces().is_empty());
}

#[tokio::test]
async fn only_what_a_matcher_takes_exists_and_declared_names_come_first() {
    let declared = Namespace::new("/org-0").on_connect(async |s: Socket| {
        s.emit("declared", &()).unwrap();
    });
    let any = Namespace::matching(|name, handshake, auth| {
        assert_ne!(name, "/panic", "a matcher may panic");
        handshake.query().contains("EIO=4") && auth.get("any").is_some()
    });
    let io = Io::builder()
        .namespace(orgs())
        .namespace(any)
        .namespace(declared);
    let server = TestServer::serve(io.build()).await;
    let mut socket = open(&server).await;
    join(&mut socket, "/org-0").await;
    assert_eq!(socket.text().await, "42/org-0,[\"declared\"]");
    join(&mut socket, "/org-1").await;
    for name in [
        "/else", "/org-*", "/org-?", "/org-[", "/org-]", "/org-\\", "/org-#", "/org-\t",
    ] {
        socket.send(&format!("40{name},")).await;
        let expected = format!("44{name},{{\"message\":\"Invalid namespace\"}}");
        assert_eq!(socket.text().await, expected);
    }
    socket.send("40/panic,").await;
    assert_eq!(
        socket.text().await,
        "44/panic,{\"message\":\"internal server error\"}"
    );
    socket.send("40/else,{\"any\":1}").await;
    assert!(socket.text().await.starts_with("40/else,{\"sid\""));
    // Whoever the matcher does not take is not let in because somebody else is.
    let mut other = open(&server).await;
    other.send("40/else,{}").await;
    assert_eq!(
        other.text().await,
        "44/else,{\"message\":\"Invalid namespace\"}"
    );
    assert_eq!(server.io.stats().dynamic_namespaces, 2);
    assert_eq!(server.refused("namespace"), 9);
    assert_eq!(server.refused("panic"), 1);
    socket.send(&format!("40/org-{},", "x".repeat(512))).await;
    assert_eq!(socket.until_end().await, [Frame::Close(None)]);
}

#[tokio::test]
async fn nothing_exists_before_somebody_has_passed_the_middleware() {
    let bus = MemoryBus::new();
    let broker = Listing::on(&bus);
    let (waits, mut waiting) = mpsc::unbounded_channel();
    let check = move |Auth(auth): Auth<Value>| {
        let waits = waits.clone();
        async move {
            if auth.get("wait").is_some() {
                waits.send(()).unwrap();
                std::future::pending::<()>().await;
            }
            match auth.get("token") {
                Some(_) => Ok(()),
                None => Err(ConnectError::new("no token")),
            }
        }
    };
    let io = Io::builder()
        .namespace(orgs().middleware(check))
        .broker(broker.clone(), "key")
        .build();
    let server = TestServer::serve(io).await;
    let mut socket = open(&server).await;
    socket.send("40/org-1,").await;
    assert_eq!(socket.text().await, "44/org-1,{\"message\":\"no token\"}");
    let mut abandoned = open(&server).await;
    abandoned.send("40/org-1,{\"wait\":1}").await;
    waiting.recv().await.unwrap();
    assert!(server.io.of("/org-1").is_none());
    assert_eq!(server.io.stats().dynamic_namespaces, 0);
    assert_eq!(broker.subscriptions(), (0, vec![]));
    socket.send("40/org-1,{\"token\":1}").await;
    assert!(socket.text().await.starts_with("40/org-1,{\"sid\""));
    // Beside it those of requests, of answers, and of answers to this node.
    let broadcasts = "key#/org-1#*".to_owned();
    assert_eq!(broker.subscriptions(), (4, vec![broadcasts]));
    drop((socket, abandoned));
    await_until("the subscriptions to end", PATIENCE, || {
        broker.subscriptions().0 == 0
    })
    .await;
}

#[tokio::test]
async fn there_are_no_more_than_allowed_and_a_place_is_free_again() {
    let io = Io::builder()
        .namespace(orgs())
        .max_dynamic_namespaces(2)
        .build();
    let server = TestServer::serve(io).await;
    let mut socket = enter(&server, "/org-1").await;
    join(&mut socket, "/org-2").await;
    socket.send("40/org-3,").await;
    assert_eq!(
        socket.text().await,
        "44/org-3,{\"message\":\"too many namespaces\"}"
    );
    assert_eq!(server.refused("dynamic_namespaces"), 1);
    // One that exists takes more clients.
    let other = enter(&server, "/org-2").await;
    socket.send("41/org-1,").await;
    await_dynamic(&server, 1).await;
    join(&mut socket, "/org-3").await;
    drop((socket, other));
    await_dynamic(&server, 0).await;
}

#[tokio::test]
async fn a_handle_keeps_its_namespace_and_stays_good() {
    let (came, mut sockets) = mpsc::unbounded_channel();
    let keep = move |socket: Socket, space: Space| {
        came.send((socket, space)).unwrap();
        async {}
    };
    let server = TestServer::of(orgs().on_connect(keep)).await;
    let first = enter(&server, "/org-1").await;
    let (socket, space) = sockets.recv().await.unwrap();
    drop(socket);
    drop(first);
    await_until("the client to be gone", PATIENCE, || space.local_len() == 0).await;
    assert_eq!(server.io.stats().dynamic_namespaces, 1);
    // Whoever comes now is reached through the old handle.
    let mut second = enter(&server, "/org-1").await;
    space.emit("still", &()).unwrap();
    assert_eq!(second.text().await, "42/org-1,[\"still\"]");
    drop((second, space, sockets.recv().await.unwrap()));
    await_dynamic(&server, 0).await;
}

/// Comes and goes, and checks each time that it hears what is said here and on another node while it is in.
async fn visit(port: u16, visitor: usize, afar: Space) {
    let mut socket = RawSocket::connect(port, "EIO=4&transport=websocket").await;
    assert!(socket.text().await.starts_with("0{"));
    for round in 0..50 {
        join(&mut socket, "/org-1").await;
        let said = format!("{visitor}-{round}");
        let shout = format!("42/org-1,[\"shout\",\"{said}\"]");
        let from_afar = format!("42/org-1,[\"from afar\",\"{said}\"]");
        socket.send(&shout).await;
        afar.emit("from afar", &said).unwrap();
        let mut heard = (false, false);
        while heard != (true, true) {
            let text = socket.text().await;
            heard.0 |= text == shout;
            heard.1 |= text == from_afar;
        }
        // The answer of another namespace stands behind what was still on its way.
        socket.send("41/org-1,").await;
        socket.send("40/nobody,").await;
        while !socket.text().await.starts_with("44/nobody,") {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coming_and_going_at_the_same_time_loses_nobody() {
    let bus = MemoryBus::new();
    let broker = Listing::on(&bus);
    let io = Io::builder()
        .namespace(orgs())
        .broker(broker.clone(), "socket.io")
        .build();
    let server = TestServer::serve(io).await;
    let other = Io::builder()
        .namespace(orgs())
        .broker(Arc::new(bus.broker()), "socket.io")
        .build();
    let other = TestServer::serve(other).await;
    let _anchor = enter(&other, "/org-1").await;
    let space = other.io.of("/org-1").unwrap();
    let visitors: Vec<_> = (0..4)
        .map(|visitor| tokio::spawn(visit(server.port, visitor, space.clone())))
        .collect();
    for visitor in visitors {
        visitor.await.unwrap();
    }
    await_dynamic(&server, 0).await;
    assert_eq!(broker.subscriptions(), (0, vec![]));
}

#[tokio::test]
async fn what_is_ordered_right_behind_the_first_join_comes_back_over_redis() {
    let greet = async |space: Space| {
        let everybody = space.broadcast().ordered();
        everybody.emit("joined", &()).unwrap();
    };
    let redis = RedisServer::start();
    let broker = RedisBroker::start(RedisConfig::parse(&redis.url()).unwrap());
    let io = Io::builder()
        .namespace(orgs().on_connect(greet))
        .broker(Arc::new(broker), "socket.io")
        .build();
    let server = TestServer::serve(io).await;
    await_until("the link to be up", PATIENCE, || {
        server.io.link_state() == LinkState::Subscribed
    })
    .await;
    let mut socket = open(&server).await;
    for n in 0..50 {
        join(&mut socket, &format!("/org-{n}")).await;
        assert_eq!(socket.text().await, format!("42/org-{n},[\"joined\"]"));
        socket.send(&format!("41/org-{n},")).await;
    }
    assert_eq!(server.io.stats().echoes_missed, 0);
    assert_eq!(server.io.link_state(), LinkState::Subscribed);
}

#[tokio::test]
async fn stock_clients_join_by_name() {
    let server = TestServer::of(orgs()).await;
    let mut clients = Conversation::clients().await;
    for (name, transport) in [("a", "websocket"), ("b", "polling")] {
        let open = json!({ "client": name, "url": server.url(), "namespace": "/org-7", "transports": [transport] });
        clients.command("open", open).await;
    }
    clients.emit("a", "shout", json!(["hi"])).await;
    for name in ["a", "b"] {
        assert_eq!(clients.message(name, "shout").await, json!(["hi"]));
    }
    for name in ["a", "b"] {
        clients.command("close", json!({ "client": name })).await;
    }
    await_dynamic(&server, 0).await;
}
