//! Node.js pods and ours on one Redis: everything from each to all, each exactly once, nobody twice, nobody missing.

use std::sync::Arc;

use serde_json::{Value, json};
use unisono::{Adapter, Io, LinkState, SubscriptionMode};
use unisono_redis::{RedisBroker, RedisConfig};
use unisono_test::{Conversation, RedisCluster, RedisServer, await_until};

use crate::raw::PATIENCE;
use crate::requests::mode_of;
use crate::server::{TestServer, namespace};

/// One Node pod and two of ours, two clients on each: the first in room `a`, the second in room `b`.
struct Cluster {
    ours: Vec<TestServer>,
    node: Conversation,
    clients: Conversation,
    redis: Redis,
}

/// One Redis, or a Redis Cluster.
enum Redis {
    One(RedisServer),
    Cluster(RedisCluster),
}

impl Redis {
    fn url(&self) -> String {
        match self {
            Self::One(server) => server.url(),
            Self::Cluster(cluster) => cluster.url(""),
        }
    }

    /// How many listen to a shard channel.
    fn listeners(&mut self, channel: &str) -> usize {
        let count = |server: &RedisServer| {
            let reply = server.command(&["PUBSUB", "SHARDNUMSUB", channel]);
            let count = reply.lines().last().and_then(|line| line.parse().ok());
            count.unwrap_or(0_usize)
        };
        match self {
            Self::One(server) => count(server),
            Self::Cluster(cluster) => cluster.nodes().iter().map(count).sum(),
        }
    }
}

const CLIENTS: [&str; 6] = ["n-a", "n-b", "x-a", "x-b", "y-a", "y-b"];

async fn pod(redis: &Redis, adapter: Adapter) -> TestServer {
    let config = RedisConfig::parse(&redis.url()).unwrap();
    let broker = Arc::new(RedisBroker::start(config.speaking(adapter)));
    let io = Io::builder()
        .namespace(namespace("/"))
        .broker(broker, "socket.io")
        .build();
    let server = TestServer::serve(io).await;
    await_until("the pod to be subscribed", PATIENCE, || {
        server.io.link_state() == LinkState::Subscribed
    })
    .await;
    server
}

impl Cluster {
    async fn start(adapter: Adapter) -> Self {
        Self::on(Redis::One(RedisServer::start()), adapter, "ioredis").await
    }

    async fn on(redis: Redis, adapter: Adapter, library: &str) -> Self {
        let ours = vec![pod(&redis, adapter).await, pod(&redis, adapter).await];
        let url = redis.url();
        let environment = [
            ("REDIS_URL", url.as_str()),
            ("REDIS_CLIENT", library),
            ("REDIS_ADAPTER", adapter.as_str()),
            ("SUBSCRIPTION_MODE", mode_of(adapter)),
        ];
        let node = Conversation::start("peers/node-pod.js", &environment).await;
        let urls = [
            node.ready["url"].as_str().unwrap().to_owned(),
            ours[0].url(),
            ours[1].url(),
        ];
        let mut clients = Conversation::clients().await;
        for (index, name) in CLIENTS.iter().enumerate() {
            let transports: &[&str] = if index % 2 == 0 {
                &["websocket"]
            } else {
                &["polling"]
            };
            clients.open(name, &urls[index / 2], transports).await;
            clients.emit_ack(name, "join", json!([name[2..]])).await;
        }
        let mut cluster = Self {
            ours,
            node,
            clients,
            redis,
        };
        if let Adapter::Sharded(SubscriptionMode::Dynamic | SubscriptionMode::DynamicPrivate) =
            adapter
        {
            cluster.await_rooms().await;
        }
        cluster
    }

    /// Until all pods listen to the channels of both rooms: what is sent to one before reaches nobody, as for Node.js.
    async fn await_rooms(&mut self) {
        for room in ["a", "b"] {
            let channel = format!("socket.io#/#{room}#");
            await_until("the room is followed", PATIENCE, || {
                self.redis.listeners(&channel) == 3
            })
            .await;
        }
    }

    /// Emits from pod `from` (0 is Node's) to rooms, but not to the excepted.
    async fn emit(
        &mut self,
        from: usize,
        rooms: &[&str],
        except: &[&str],
        event: &str,
        args: Value,
    ) {
        if from == 0 {
            let fields = json!({ "rooms": rooms, "except": except, "event": event, "args": args });
            self.node.command("emit", fields).await;
            return;
        }
        let mut broadcast = self.ours[from - 1].io.of("/").unwrap().broadcast();
        for room in rooms {
            broadcast = broadcast.to(room);
        }
        for room in except {
            broadcast = broadcast.except(room);
        }
        broadcast
            .emit(event, &crate::server::Spread(from_json(&args)))
            .unwrap();
    }

    /// Every expected client gets `args` once; after a fence through every pod nobody has got anything more.
    async fn expect(&mut self, event: &str, expected: &[&str], args: &Value) {
        for name in expected {
            assert_eq!(
                self.clients.message(name, event).await,
                *args,
                "{event} at {name}"
            );
        }
        for from in 0..3 {
            let fence = format!("fence-{event}-{from}");
            self.emit(from, &[], &[], &fence, json!([])).await;
            for name in CLIENTS {
                self.clients.message(name, &fence).await;
            }
        }
        for name in CLIENTS {
            assert!(
                self.clients.kept_messages(name, event).is_empty(),
                "{event} once too often at {name}"
            );
        }
    }
}

/// JSON with `{"$bin": base64}` as arguments of ours.
pub(crate) fn from_json(args: &Value) -> Vec<unisono::Value> {
    args.as_array().unwrap().iter().map(convert).collect()
}

fn convert(value: &Value) -> unisono::Value {
    use base64::Engine as _;
    match value {
        Value::Object(map) if map.contains_key("$bin") => {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(map["$bin"].as_str().unwrap())
                .unwrap();
            unisono::Value::Bin(bytes.into())
        }
        Value::Object(map) => unisono::Value::Map(
            map.iter()
                .map(|(key, value)| (key.clone(), convert(value)))
                .collect(),
        ),
        Value::Array(list) => unisono::Value::Array(list.iter().map(convert).collect()),
        other => other.clone().into(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_broadcast_crosses_from_each_pod_to_all_exactly_once() {
    every_broadcast_crosses(Adapter::Classic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_broadcast_crosses_from_each_pod_to_all_exactly_once_sharded() {
    for mode in SubscriptionMode::ALL {
        every_broadcast_crosses(Adapter::Sharded(mode)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_broadcast_crosses_from_each_pod_to_all_exactly_once_on_a_sharded_cluster() {
    for (mode, library) in SubscriptionMode::ALL
        .into_iter()
        .zip(["ioredis", "redis", "ioredis"])
    {
        let redis = Redis::Cluster(RedisCluster::start(false).await);
        let adapter = Adapter::Sharded(mode);
        every_broadcast_crosses_in(Cluster::on(redis, adapter, library).await).await;
    }
}

async fn every_broadcast_crosses(adapter: Adapter) {
    every_broadcast_crosses_in(Cluster::start(adapter).await).await;
}

async fn every_broadcast_crosses_in(mut cluster: Cluster) {
    let args = json!([
        1,
        -1.5,
        "zwei \u{20ac}\u{1f3b5}",
        { "deep": [{ "$bin": "AQIDBA==" }, null, true, { "n": 9_007_199_254_740_991_i64 }] },
        { "$bin": "" }
    ]);
    for from in 0..3 {
        for (event, rooms, except, expected) in [
            ("all", &[][..], &[][..], &CLIENTS[..]),
            ("one-room", &["a"], &[], &["n-a", "x-a", "y-a"]),
            ("two-rooms", &["a", "b"], &[], &CLIENTS),
            ("except", &[], &["a"], &["n-b", "x-b", "y-b"]),
            ("room-except", &["a", "b"], &["b"], &["n-a", "x-a", "y-a"]),
            ("nobody", &["nowhere"], &[], &[]),
        ] {
            let event = format!("{event}-{from}");
            cluster
                .emit(from, rooms, except, &event, args.clone())
                .await;
            cluster.expect(&event, expected, &args).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emitter_and_the_clients_own_broadcasts_reach_all_pods() {
    let mut cluster = Cluster::start(Adapter::Classic).await;
    let mut emitter = Conversation::emitter(&cluster.redis.url()).await;
    let args = json!(["x", { "$bin": "/w==" }]);
    for (event, rooms, except, expected) in [
        ("all", &[][..], &[][..], &CLIENTS[..]),
        ("room", &["b"], &[], &["n-b", "x-b", "y-b"]),
        ("except", &[], &["b"], &["n-a", "x-a", "y-a"]),
    ] {
        let fields = json!({ "rooms": rooms, "except": except, "event": event, "args": args });
        emitter.command("emit", fields).await;
        cluster.expect(event, expected, &args).await;
    }
    own_broadcasts(&mut cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_own_broadcasts_reach_all_pods_sharded() {
    for mode in SubscriptionMode::ALL {
        own_broadcasts(&mut Cluster::start(Adapter::Sharded(mode)).await).await;
    }
}

async fn own_broadcasts(cluster: &mut Cluster) {
    for from in ["n-a", "x-a", "y-a"] {
        let event = format!("said-by-{from}");
        cluster
            .clients
            .emit(from, "broadcast", json!([event, 1]))
            .await;
        let others: Vec<&str> = CLIENTS.into_iter().filter(|name| *name != from).collect();
        cluster.expect(&event, &others, &json!([1])).await;
        let event = format!("in-room-by-{from}");
        cluster
            .clients
            .emit(from, "in-room", json!(["a", event, 2]))
            .await;
        cluster
            .expect(&event, &["n-a", "x-a", "y-a"], &json!([2]))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ordered_broadcasts_have_one_order_on_all_of_our_pods_and_reach_node() {
    ordered_broadcasts_have_one_order(Adapter::Classic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ordered_broadcasts_have_one_order_on_all_of_our_pods_and_reach_node_sharded() {
    for mode in SubscriptionMode::ALL {
        ordered_broadcasts_have_one_order(Adapter::Sharded(mode)).await;
    }
}

async fn ordered_broadcasts_have_one_order(adapter: Adapter) {
    let mut cluster = Cluster::start(adapter).await;
    let (x, y) = (
        cluster.ours[0].io.of("/").unwrap(),
        cluster.ours[1].io.of("/").unwrap(),
    );
    let from = |space: unisono::Space, name: &'static str| async move {
        for n in 0..100 {
            space.broadcast().ordered().emit("o", &(name, n)).unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(from(x, "x"), from(y, "y"));
    let mut seen: Vec<Vec<Value>> = Vec::new();
    for name in CLIENTS {
        let mut events = Vec::new();
        for _ in 0..200 {
            events.push(cluster.clients.message(name, "o").await);
        }
        seen.push(events);
    }
    for (name, events) in CLIENTS.iter().zip(&seen) {
        assert_eq!(
            *events, seen[0],
            "{name} saw another order than {}",
            CLIENTS[0]
        );
    }
    let stats = cluster.ours[0].io.stats();
    assert_eq!(
        (stats.echoes_missed, stats.lag_buckets.iter().sum::<u64>()),
        (0, 100)
    );
}
