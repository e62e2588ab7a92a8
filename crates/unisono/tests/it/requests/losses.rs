//! Messages that are lost on the way: every one is counted, by each who has not got it.

use std::time::Instant;

use serde_json::{Value, json};
use unisono_test::{Conversation, RedisServer};

use super::process::{self, await_nodes};
use crate::raw::PATIENCE;

const PODS: [&str; 3] = ["pod-0", "pod-1", "pod-2"];

/// Our pods as processes, each with a stock client.
struct Family {
    pods: Vec<Conversation>,
    clients: Conversation,
    redis: RedisServer,
    /// The numbers that the client of each pod has got.
    heard: [Vec<u64>; 3],
}

impl Family {
    async fn start() -> Self {
        let redis = RedisServer::start();
        let mut clients = Conversation::clients().await;
        let mut pods = Vec::new();
        for name in PODS {
            let pod = process::start(&redis, name).await;
            let url = pod.ready["url"].as_str().unwrap().to_owned();
            clients.open(name, &url, &["websocket"]).await;
            pods.push(pod);
        }
        process::await_acquainted(&mut pods).await;
        Self {
            pods,
            clients,
            redis,
            heard: Default::default(),
        }
    }

    /// Waits until the client of a pod has got a greater number.
    async fn await_number_above(&mut self, pod: usize, number: u64) {
        loop {
            let args = self.clients.message(PODS[pod], "n").await;
            let heard = args[0].as_u64().unwrap();
            self.heard[pod].push(heard);
            if heard > number {
                return;
            }
        }
    }

    /// All numbers that the client of a pod has got. What its pod has sent before comes before the answer.
    async fn all_heard(&mut self, pod: usize) -> Vec<u64> {
        let client = PODS[pod];
        let fence = self.clients.emit_ack(client, "message-with-ack", json!([]));
        fence.await;
        let kept = self.clients.kept_messages(client, "n").into_iter();
        self.heard[pod].extend(kept.map(|args| args[0].as_u64().unwrap()));
        std::mem::take(&mut self.heard[pod])
    }

    async fn number(&mut self, pod: usize, command: &str) -> u64 {
        let value = self.pods[pod].command(command, json!({})).await;
        value.as_u64().unwrap()
    }
}

/// What a pod knows of the one that emits.
fn emitter(nodes: &[Value]) -> &Value {
    nodes.iter().find(|node| node["name"] == PODS[0]).unwrap()
}

fn number(node: &Value, field: &str) -> u64 {
    node[field].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_redis_that_is_killed_received_and_lost_are_what_was_sent() {
    let mut family = Family::start().await;
    family.pods[0].command("emit", json!({})).await;
    family.await_number_above(1, 100).await;
    family.redis.kill9();
    let killed = Instant::now();
    while family.pods[0].command("link", json!({})).await["state"] == "subscribed" {
        assert!(killed.elapsed() < PATIENCE, "its link is up");
    }
    family.redis.restart();
    for pod in [1, 2] {
        // Both are back.
        let sent = family.number(0, "sent").await;
        family.await_number_above(pod, sent).await;
    }
    let sent = family.number(0, "stop_emitting").await;
    for pod in [1, 2] {
        // The last may have been lost too: the next announcement tells.
        let is_settled = |nodes: &[Value]| {
            let from = emitter(nodes);
            number(from, "received") + number(from, "lost") == sent
        };
        let nodes = await_nodes(&mut family.pods[pod], is_settled).await;
        let from = emitter(&nodes);
        assert_eq!(from["out_of_order"], 0);
        assert_eq!(family.number(pod, "lost").await, number(from, "lost"));
        let heard = family.all_heard(pod).await;
        assert_eq!(heard.len() as u64, number(from, "received"));
        let in_order = heard.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(in_order, "each once, in the order of the emitter");
    }
}
