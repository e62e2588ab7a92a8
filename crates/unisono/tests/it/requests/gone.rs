//! Pods that hang, are killed or end: who is waited for, for how long, and who is missing.

use std::time::{Duration, Instant};

use serde_json::json;
use unisono_test::{Conversation, RedisServer, await_until};

use super::pods::{Ours, Pod};
use super::process;
use crate::raw::PATIENCE;

/// What a pod that Redis has seen die may cost a request: the next count comes within 350 ms, and this machine is busy.
const SOON: Duration = Duration::from_millis(1_500);

/// What one that hangs may cost: it is silent after 3.3 s, below the 5 s of a request.
const SILENT: Duration = Duration::from_millis(4_700);

/// Our pod in this process, which asks, and two of ours that are processes, beside one of Node.js.
struct Family {
    asker: Ours,
    others: Vec<Conversation>,
    _node: Pod,
    redis: RedisServer,
}

impl Family {
    async fn start() -> Self {
        let redis = RedisServer::start();
        let node = Pod::node(&redis, false, unisono::Adapter::Classic).await;
        let asker = Ours::patient(&redis, Duration::from_secs(30)).await;
        let mut others = Vec::new();
        for name in ["pod-1", "pod-2"] {
            others.push(process::start(&redis, name).await);
        }
        let family = Self {
            asker,
            others,
            _node: node,
            redis,
        };
        family.await_names(&["pod-1", "pod-2"]).await;
        family
    }

    /// Waits until the asker knows exactly these, none of them silent.
    async fn await_names(&self, expected: &[&str]) {
        await_until("the others to be known", PATIENCE, || {
            let nodes = self.asker.server.io.nodes();
            let living = nodes.iter().filter(|node| !node.is_silent);
            living
                .map(|node| node.name.name.to_string())
                .eq(expected.iter().copied())
        })
        .await;
    }

    /// All kinds of requests at once: who is missing, by name and without, the same for each, and how long the longest took.
    async fn ask_everything(&self) -> (Vec<String>, usize, Duration) {
        let (start, space) = (Instant::now(), self.asker.space());
        let (fetched, rooms, events, acks) = tokio::join!(
            space.fetch_sockets(),
            space.all_rooms(),
            space.server_side_emit_with_ack("sse", &1),
            space
                .broadcast()
                .emit_with_ack("q", &(), Duration::from_secs(30)),
        );
        let took = start.elapsed();
        let nodes = fetched.unwrap().nodes;
        assert_eq!(nodes.expected, 3);
        for others in [
            rooms.unwrap().nodes,
            events.unwrap().nodes,
            acks.unwrap().nodes,
        ] {
            assert_eq!(others, nodes);
        }
        let names = nodes.missing.iter().map(|node| node.name.to_string());
        (names.collect(), nodes.missing_unknown, took)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_is_killed_in_the_middle_costs_less_than_a_second_and_is_named() {
    let mut family = Family::start().await;
    let mut victim = family.others.remove(0);
    // It is counted, and does not answer any more; then it dies.
    victim.stop();
    let killed = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        victim.kill().await;
    };
    let (outcome, ()) = tokio::join!(family.ask_everything(), killed);
    let (missing, unknown, took) = outcome;
    assert_eq!((missing, unknown), (vec!["pod-1".to_owned()], 0));
    assert!(took < SOON, "{took:?}");
    // Whoever comes in its place is another, from the first request on.
    let start = Instant::now();
    let again = process::start(&family.redis, "pod-1").await;
    family.await_names(&["pod-1", "pod-2"]).await;
    let (missing, unknown, took) = family.ask_everything().await;
    assert_eq!((missing, unknown), (vec![], 0));
    assert!(
        took < SOON,
        "{took:?}, {:?} after its start",
        start.elapsed()
    );
    drop(again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_is_replaced_during_a_request_is_missing_although_as_many_listen() {
    let mut family = Family::start().await;
    let mut victim = family.others.remove(0);
    victim.stop();
    let replaced = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        // Both at once: no count sees that one is missing.
        let start = process::start(&family.redis, "pod-1");
        let (new, ()) = tokio::join!(start, victim.kill());
        new
    };
    let (outcome, new) = tokio::join!(family.ask_everything(), replaced);
    let (missing, unknown, took) = outcome;
    assert_eq!((missing, unknown), (vec!["pod-1".to_owned()], 0));
    assert!(took < SOON, "{took:?}");
    drop(new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_hangs_costs_the_first_request_seconds_and_later_ones_nothing() {
    let family = Family::start().await;
    family.others[1].stop();
    let (missing, unknown, took) = family.ask_everything().await;
    assert_eq!((missing, unknown), (vec!["pod-2".to_owned()], 0));
    assert!(took < SILENT, "{took:?}");
    let (missing, _, took) = family.ask_everything().await;
    assert_eq!(missing, ["pod-2"]);
    assert!(took < SOON, "{took:?}");
    let nodes = family.asker.server.io.nodes();
    let silent: Vec<_> = nodes.iter().map(|node| node.is_silent).collect();
    assert_eq!(silent, [false, true]);
    // It goes on, and answers.
    family.others[1].cont();
    family.await_names(&["pod-1", "pod-2"]).await;
    let (missing, unknown, _) = family.ask_everything().await;
    assert_eq!((missing, unknown), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_drains_says_goodbye_and_emitters_are_never_members() {
    let mut family = Family::start().await;
    let counted = family.asker.space().server_count().await;
    assert_eq!(counted, Ok(4));
    let mut emitter = Conversation::emitter(&family.redis.url()).await;
    let event = json!({ "event": "sse", "args": [1] });
    emitter.command("server_side_emit", event).await;
    family.asker.events.recv().await.unwrap();
    assert_eq!(family.asker.space().server_count().await, counted);
    assert_eq!(family.others[0].command("count", json!({})).await, 4);
    for channel in ["socket.io-members", "socket.io-request#/#"] {
        // Three of ours announce themselves, and the fourth pod is of Node.js.
        let listening = family.redis.command(&["PUBSUB", "NUMSUB", channel]);
        let expected = if channel.ends_with("members") {
            "3"
        } else {
            "4"
        };
        assert_eq!(listening.lines().last(), Some(expected), "{channel}");
    }
    family.await_names(&["pod-1", "pod-2"]).await;
    let drained = Instant::now();
    family.others[1].command("drain", json!({})).await;
    family.await_names(&["pod-1"]).await;
    let took = drained.elapsed();
    // The others see the same: ours, which has no name, is all that is left.
    let only_one = |nodes: &[serde_json::Value]| nodes.len() == 1;
    process::await_nodes(&mut family.others[0], only_one).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    let lag = family.asker.server.io.link_lag();
    assert!(lag.is_some_and(|lag| lag < SOON), "{lag:?}");
}
