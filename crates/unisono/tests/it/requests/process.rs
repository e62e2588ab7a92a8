//! A pod of ours as a process of its own, to be stopped and killed: this test binary once more, steered by lines of JSON.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use unisono::{Io, LinkState, Nodes, ServerSide, Space};
use unisono_redis::{RedisBroker, RedisConfig};
use unisono_test::{Conversation, Peer, RedisServer};

use crate::server::{TestServer, namespace};

/// Says that this process is a pod, and how its Redis is reached.
const REDIS: &str = "UNISONO_TEST_POD_REDIS";
const NAME: &str = "UNISONO_TEST_POD_NAME";

/// How often a pod that emits without end does so.
const EMIT_EVERY: Duration = Duration::from_millis(2);

/// Starts one, and waits until it is subscribed.
pub(crate) async fn start(redis: &RedisServer, name: &str) -> Conversation {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "requests::process::pod",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env(REDIS, redis.url())
        .env(NAME, name);
    Conversation::with(Peer::program(name, command)).await
}

/// Waits until each of the pods knows all the others.
pub(crate) async fn await_acquainted(pods: &mut [Conversation]) {
    let others = pods.len() - 1;
    for pod in pods {
        await_nodes(pod, |nodes| nodes.len() == others).await;
    }
}

/// Asks a pod until what it knows of the others is as wanted.
pub(crate) async fn await_nodes(
    pod: &mut Conversation,
    mut wanted: impl FnMut(&[Value]) -> bool,
) -> Vec<Value> {
    let start = Instant::now();
    loop {
        let nodes = pod.command("nodes", json!({})).await;
        let nodes = nodes.as_array().unwrap().clone();
        if wanted(&nodes) {
            return nodes;
        }
        assert!(start.elapsed() < crate::raw::PATIENCE, "{nodes:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A pod, if this process was started as one; it ends with its input.
#[test]
#[ignore = "a pod for other tests"]
fn pod() {
    let Ok(url) = std::env::var(REDIS) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { Pod::new(&url).await.serve().await });
}

struct Pod {
    server: TestServer,
    /// What the handler of gaps was told.
    lost: Arc<AtomicU64>,
    emitting: Option<JoinHandle<()>>,
    sent: Arc<AtomicU64>,
}

impl Pod {
    async fn new(url: &str) -> Self {
        let broker = RedisBroker::start(RedisConfig::parse(url).unwrap());
        let lost = Arc::new(AtomicU64::new(0));
        let told = lost.clone();
        let answer = async |event: ServerSide| event.ack.send(&"here").unwrap();
        let io = Io::builder()
            .namespace(namespace("/").on_server_side("sse", answer))
            .broker(Arc::new(broker), "socket.io")
            .node_name(&std::env::var(NAME).unwrap())
            .on_gap(move |gap| {
                told.fetch_add(gap.lost, Relaxed);
            })
            .build();
        let server = TestServer::serve(io).await;
        while server.io.link_state() != LinkState::Subscribed {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self {
            server,
            lost,
            emitting: None,
            sent: Arc::default(),
        }
    }

    fn space(&self) -> Space {
        self.server.io.of("/").unwrap()
    }

    async fn serve(mut self) {
        let ready = json!({ "event": "ready", "url": self.server.url(), "name": self.server.io.node_name().unwrap().to_string() });
        // A line of its own: the test harness has begun one.
        println!("\n{ready}");
        let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let lines = std::io::stdin().lines().map_while(Result::ok);
            lines.for_each(|line| drop(sender.send(line)));
        });
        while let Some(line) = lines.recv().await {
            let command: Value = serde_json::from_str(&line).unwrap();
            let value = self.carry_out(&command).await;
            println!(
                "{}",
                json!({ "reply": command["id"], "ok": true, "value": value })
            );
        }
    }

    async fn carry_out(&mut self, command: &Value) -> Value {
        match command["cmd"].as_str().unwrap() {
            "nodes" => self.server.io.nodes().iter().map(shown).collect(),
            "lost" => self.lost.load(Relaxed).into(),
            "count" => self.space().server_count().await.unwrap().into(),
            "rooms" => {
                let start = Instant::now();
                let rooms = self.space().all_rooms().await.unwrap();
                outcome(start, rooms.answers.len(), &rooms.nodes)
            }
            "emit" => {
                self.emit_without_end();
                Value::Null
            }
            "sent" => self.sent.load(Relaxed).into(),
            "stop_emitting" => {
                if let Some(emitting) = self.emitting.take() {
                    emitting.abort();
                    let _ = emitting.await;
                }
                self.sent.load(Relaxed).into()
            }
            "link" => {
                let stats = self.server.io.link_stats();
                json!({
                    "state": self.server.io.link_state().as_str(),
                    "dropped": stats.dropped_expired + stats.dropped_buffer_full + stats.unconfirmed,
                })
            }
            "drain" => self.server.io.drain(Duration::from_secs(1)).await.into(),
            other => panic!("{other}"),
        }
    }

    /// Numbers from 1 to everybody.
    fn emit_without_end(&mut self) {
        let (space, sent) = (self.space(), self.sent.clone());
        self.emitting = Some(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EMIT_EVERY);
            loop {
                ticks.tick().await;
                let number = sent.fetch_add(1, Relaxed) + 1;
                space.emit("n", &number).unwrap();
            }
        }));
    }
}

fn shown(node: &unisono::NodeInfo) -> Value {
    json!({
        "name": &*node.name.name,
        "id": &*node.name.id,
        "silent": node.is_silent,
        "heard_ms": node.heard_ago.as_millis() as u64,
        "lag_ms": node.link_lag.map(|lag| lag.as_millis() as u64),
        "lost": node.lost,
        "received": node.received,
        "out_of_order": node.out_of_order,
    })
}

/// What a request has come to, and how long it took.
pub(crate) fn outcome(start: Instant, answers: usize, nodes: &Nodes) -> Value {
    let missing: Vec<_> = nodes.missing.iter().map(|node| &*node.name).collect();
    json!({
        "ms": start.elapsed().as_millis() as u64,
        "answers": answers,
        "expected": nodes.expected,
        "missing": missing,
        "missing_unknown": nodes.missing_unknown,
        "unreachable": nodes.unreachable,
    })
}
