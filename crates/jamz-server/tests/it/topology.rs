//! Pods of both kinds where Redis is a Redis Cluster, or behind sentinels, before and after a failover.

use std::time::{Duration, Instant};

use jamz_server::config::names;
use serde_json::{Value, json};
use unisono_client::{Client, Event, Options};
use unisono_cluster::classic::request_channel;
use unisono_cluster::sharded::main_channel;
use unisono_test::{Conversation, RedisCluster, RedisSentinels};

use crate::cli::run;
use crate::support::{PATIENCE, TestClient, TestPod, change};

const CHANGED: &str = "music-control-changed";

/// Two pods of ours, one of Node.js, and a client on each, all in one session.
struct House {
    pods: [TestPod; 2],
    node: Conversation,
    session: String,
    clients: [TestClient; 3],
    /// Those who listen to it are counted.
    requests: String,
}

impl House {
    async fn on(redis: &str, session: &str) -> Self {
        let pods = [TestPod::joined(redis).await, TestPod::joined(redis).await];
        let node = Conversation::node_pod(redis).await;
        let requests = request_channel("socket.io", "/");
        Self::of(pods, node, session, requests).await
    }

    /// The same with the sharded adapter, and with this client library in Node.js.
    async fn sharded(redis: &str, session: &str, mode: &str, library: &str) -> Self {
        let settings = [
            (names::REDIS_URL, redis),
            (names::REDIS_ADAPTER, "sharded"),
            (names::REDIS_SUBSCRIPTION_MODE, mode),
        ];
        let pods = [
            TestPod::start(&settings).await,
            TestPod::start(&settings).await,
        ];
        for pod in &pods {
            pod.await_link().await;
        }
        let environment = [
            ("REDIS_URL", redis),
            ("REDIS_ADAPTER", "sharded"),
            ("SUBSCRIPTION_MODE", mode),
            ("REDIS_CLIENT", library),
        ];
        let node = Conversation::start("peers/node-pod.js", &environment).await;
        let requests = main_channel("socket.io", "/");
        Self::of(pods, node, session, requests).await
    }

    async fn of(pods: [TestPod; 2], node: Conversation, session: &str, requests: String) -> Self {
        let url = node.ready["url"].as_str().expect("it says where it is");
        let connected = Client::connect(url, Options::default()).await;
        let (client, events) = connected.expect("the Node pod takes clients");
        let mut stranger = TestClient { client, events };
        let mut clients = [pods[0].client().await, pods[1].client().await];
        for client in &mut clients {
            client.join(session, None).await;
        }
        stranger
            .emit("join", &json!(format!("audio-{session}")))
            .await;
        // Answered behind the join.
        stranger.emit("echo", &json!("joined")).await;
        stranger.next("echo").await;
        let [a, b] = clients;
        Self {
            pods,
            node,
            session: session.to_owned(),
            clients: [a, b, stranger],
            requests,
        }
    }

    /// That whoever says something is heard by all, and what is changed is stored. Said again until it is heard, as people do.
    async fn await_unison(&mut self, round: &str) {
        for from in 0..2 {
            let user = format!("{round} {from}");
            let take = json!({"sessionId": self.session, "userId": user});
            let mut revisions = Vec::new();
            for to in 0..3 {
                let heard = self.said_until_heard(from, "music-take-control", &take, to, |event| {
                    event["userId"] == user.as_str()
                });
                revisions.push(change(&heard.await));
            }
            assert!(
                revisions.iter().all(|(_, heard)| *heard == user),
                "{revisions:?}"
            );
        }
        let text = json!(round);
        for to in 0..2 {
            let started = Instant::now();
            loop {
                let said = json!({"rooms": [format!("audio-{}", self.session)], "event": "from-node", "args": [text]});
                // An adapter that is just connecting again may refuse.
                let _ = self.node.try_command("emit", said).await;
                if heard_soon(&mut self.clients[to], "from-node", |event| *event == text)
                    .await
                    .is_some()
                {
                    break;
                }
                assert!(
                    started.elapsed() < PATIENCE,
                    "{round}: {to} hears nothing from Node.js"
                );
            }
        }
        self.await_count(round).await;
        for pod in &self.pods {
            assert_eq!(pod.app.refusal(), None);
        }
    }

    async fn said_until_heard(
        &mut self,
        from: usize,
        event: &str,
        payload: &Value,
        to: usize,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let started = Instant::now();
        loop {
            self.clients[from].emit(event, payload).await;
            if let Some(heard) = heard_soon(&mut self.clients[to], CHANGED, &wanted).await {
                return heard;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{to} never hears {payload} of {from}"
            );
        }
    }

    /// That both of ours are on one server.
    fn check_together(&self) {
        let [one, two] = &self.pods;
        let server = one.app.redis_server();
        assert!(server.is_some());
        assert_eq!(server, two.app.redis_server());
    }

    /// Every pod counts all three, wherever they are connected.
    async fn await_count(&mut self, round: &str) {
        let started = Instant::now();
        loop {
            let by_node = self.node.try_command("server_count", json!({})).await;
            let by_ours = self.pods[0].app.link().count(&self.requests).await;
            if by_node == Ok(json!(3)) && by_ours == Ok(3) {
                return;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{round}: {by_node:?} {by_ours:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The doctor looks at it from outside as a pod would, and is counted by nobody.
fn check_doctor(redis: &str) {
    let text = ask_doctor(&[(names::REDIS_URL, redis)]);
    assert!(text.contains("pods that answer requests: 3"), "{text}");
}

fn ask_doctor(settings: &[(&str, &str)]) -> String {
    let (status, text) = run(&["doctor"], settings);
    assert_eq!(status, Some(0), "{text}");
    for line in [
        "ok    reachable",
        "ok    rights",
        "ok    pub/sub round trip",
    ] {
        assert!(text.contains(line), "{text}");
    }
    text
}

/// The payload of an event that comes within a moment, past those that are not wanted.
async fn heard_soon(
    client: &mut TestClient,
    name: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Option<Value> {
    let hearing = async {
        loop {
            let Some(Event::Message(message)) = client.events.next().await else {
                panic!("a client was cut off");
            };
            let payload: Value = serde_json::to_value(message.data()).expect("it is JSON");
            if message.name == name && wanted(&payload) {
                return payload;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(1), hearing)
        .await
        .ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_play_in_unison_on_a_cluster_and_after_its_failover() {
    let mut cluster = RedisCluster::start(true).await;
    // It is kept where the pods meet, so both are lost together.
    let at_first = |id: &String| cluster.owner(&format!("jamz:session:{id}")) == 0;
    let session = (0..).map(|number| format!("s{number}")).find(at_first);
    let session = session.expect("a third of all");
    let mut house = House::on(&cluster.url(""), &session).await;
    house.await_unison("before").await;
    house.check_together();
    check_doctor(&cluster.url(""));
    cluster.nodes()[0].kill9();
    cluster.await_settled().await;
    let settled = Instant::now();
    house.await_unison("after").await;
    println!(
        "in unison {:?} after the cluster has settled",
        settled.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_play_in_unison_on_a_sharded_cluster_in_every_mode() {
    let cluster = RedisCluster::start(false).await;
    let redis = cluster.url("");
    for (mode, library) in [
        ("static", "ioredis"),
        ("dynamic", "redis"),
        ("dynamic-private", "ioredis"),
    ] {
        let session = format!("s-{mode}");
        let mut house = House::sharded(&redis, &session, mode, library).await;
        house.await_unison("before").await;
        let text = ask_doctor(&[
            (names::REDIS_URL, &redis),
            (names::REDIS_ADAPTER, "sharded"),
            (names::REDIS_SUBSCRIPTION_MODE, mode),
        ]);
        assert!(text.contains("pods seen: 3"), "{text}");
        let key = format!("{{socket.io#/#}}jamz:session:{session}");
        assert_eq!(cluster.owner(&key), cluster.owner("socket.io#/#"));
        house.node.kill().await;
        let [one, two] = house.pods;
        one.end().await;
        two.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_play_in_unison_after_the_shard_of_their_sessions_has_failed_over() {
    let mut cluster = RedisCluster::start(true).await;
    let mut house = House::sharded(&cluster.url(""), "s1", "dynamic", "ioredis").await;
    house.await_unison("before").await;
    let at = cluster.owner("socket.io#/#");
    cluster.nodes()[at].kill9();
    cluster.await_settled().await;
    let settled = Instant::now();
    house.await_unison("after").await;
    println!(
        "in unison {:?} after the cluster has settled",
        settled.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_play_in_unison_after_the_slot_of_their_sessions_has_moved() {
    let cluster = RedisCluster::start(false).await;
    let mut house = House::sharded(&cluster.url(""), "s1", "dynamic", "ioredis").await;
    house.await_unison("before").await;
    let to = (cluster.owner("socket.io#/#") + 1) % RedisCluster::MASTERS;
    cluster.move_slot("socket.io#/#", to, async || {}).await;
    house.await_unison("after").await;
    assert_eq!(
        cluster.owner("{socket.io#/#}jamz:session:s1"),
        cluster.owner("socket.io#/#")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_play_in_unison_behind_sentinels_and_after_failovers() {
    let mut redis = RedisSentinels::start().await;
    let mut house = House::on(&redis.url(""), "s1").await;
    house.await_unison("before").await;
    house.check_together();
    check_doctor(&redis.url(""));
    redis.fail_over().await;
    let failed_over = Instant::now();
    house.await_unison("after a failover").await;
    house.check_together();
    println!("in unison {:?} after the failover", failed_over.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_play_in_unison_when_the_master_behind_sentinels_dies() {
    let mut redis = RedisSentinels::start().await;
    let mut house = House::on(&redis.url(""), "s1").await;
    house.await_unison("before").await;
    house.check_together();
    let master = redis.master().await;
    let dead = master.port();
    master.kill9();
    redis.await_other_than(dead).await;
    let replaced = Instant::now();
    house.await_unison("after").await;
    println!(
        "in unison {:?} after the sentinels' decision",
        replaced.elapsed()
    );
}
