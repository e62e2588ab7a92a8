//! Whatever somebody writes to the channels of requests and answers.

use std::time::Instant;

use serde_json::json;
use unisono_cluster::{Broker, LinkState, Subscription};
use unisono_redis::{RedisBroker, RedisConfig};
use unisono_test::{Recorder, await_until};

use super::cluster::{CLIENTS, Cluster};
use super::pods::{Ours, Pod, REQUESTS_TIMEOUT};
use crate::raw::PATIENCE;

const REQUESTS: &str = "socket.io-request#/#";
const RESPONSES: &str = "socket.io-response#/#";

fn ours(cluster: &Cluster) -> [&Ours; 2] {
    let ours = cluster.pods.iter().filter_map(|pod| match pod {
        Pod::Ours(ours) => Some(ours),
        Pod::Node(_) => None,
    });
    let ours: Vec<_> = ours.collect();
    [ours[0], ours[1]]
}

/// Only our pods: some of this ends pods of Node.js.
async fn cluster() -> Cluster {
    let mut cluster = Cluster::mixed().await;
    for index in [2, 0] {
        let Pod::Node(mut node) = cluster.pods.remove(index) else {
            unreachable!("they stand in turn");
        };
        node.kill().await;
    }
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_requests_do_no_harm_and_are_counted() {
    let cluster = cluster().await;
    let [one, _] = ours(&cluster);
    let stats = || one.server.io.node_stats()[0].1;
    let before = (stats(), one.server.refused("bus"));
    let forged = [
        "",
        "{",
        "\u{1}\u{2}noise",
        "[]",
        "{}",
        "null",
        r#"{"type":1}"#,
        r#"{"type":4,"opts":{}}"#,
        r#"{"type":4,"opts":{"rooms":"lobby"},"close":true}"#,
        r#"{"type":6,"data":[]}"#,
        r#"{"type":7,"requestId":"r","packet":{"type":2,"data":["e"]}}"#,
        r#"{"type":7,"requestId":"r","packet":{"type":1},"opts":{"rooms":[]}}"#,
    ];
    for payload in forged {
        cluster.redis.command(&["PUBLISH", REQUESTS, payload]);
    }
    for unknown in ["99", "-1", "8", "\"1\""] {
        let payload = format!(r#"{{"type":{unknown},"requestId":"r"}}"#);
        cluster.redis.command(&["PUBLISH", REQUESTS, &payload]);
    }
    // An event that nobody handles, one whose handler answers, and one that wants no answer.
    for event in ["nobody", "sse"] {
        let payload = format!(r#"{{"uid":"x","requestId":"r","type":6,"data":["{event}"]}}"#);
        cluster.redis.command(&["PUBLISH", REQUESTS, &payload]);
    }
    let space = one.space();
    let fetched = space.fetch_sockets().await.unwrap();
    assert!(fetched.nodes.have_all_answered());
    assert_eq!(fetched.answers.len(), 2, "nobody was disconnected");
    let after = stats();
    // `{}` names no type.
    assert_eq!(after.requests_unknown - before.0.requests_unknown, 5);
    assert_eq!(
        after.undecodable - before.0.undecodable,
        forged.len() as u64 - 1
    );
    let refused = one.server.refused("bus") - before.1;
    assert_eq!(refused, forged.len() as u64 + 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_answers_and_our_own_name_do_no_harm_and_are_counted() {
    let mut cluster = cluster().await;
    let [one, _] = ours(&cluster);
    let space = one.space();
    let stats = || one.server.io.node_stats()[0].1;
    let own_client = space.local_sockets()[0].id().to_owned();
    // A third subscriber that never answers keeps requests open, and hears their names.
    let listener = RedisBroker::start(RedisConfig::parse(&cluster.redis.url()).unwrap());
    let recorder = Recorder::new();
    listener.attach(recorder.clone());
    listener.subscribe(Subscription::Channel(REQUESTS.to_owned()));
    recorder.await_state(LinkState::Subscribed).await;
    let asked = {
        let space = space.clone();
        tokio::spawn(async move { space.fetch_sockets().await.unwrap() })
    };
    await_until("the request to be heard", PATIENCE, || {
        !recorder.texts(REQUESTS).is_empty()
    })
    .await;
    let request: serde_json::Value = serde_json::from_str(&recorder.texts(REQUESTS)[0]).unwrap();
    let uid = request["uid"].as_str().unwrap();
    let id = request["requestId"].as_str().unwrap();
    let publish = |channel: &str, payload: &str| {
        cluster.redis.command(&["PUBLISH", channel, payload]);
    };
    let before = stats();
    // Under the name of this pod: it takes it for its own, which it has carried out already.
    let opts = json!({ "rooms": [own_client], "except": [] });
    let own = json!({ "uid": uid, "type": 4, "opts": opts, "close": true });
    publish(REQUESTS, &own.to_string());
    let private = format!("{RESPONSES}{uid}#");
    let (node, _) = id.rsplit_once('-').unwrap();
    for channel in [RESPONSES, &private] {
        for payload in [
            "noise".to_owned(),
            format!("{node}- noise"),
            format!(r#"{{"requestId":"{id}","sockets":"#),
            format!(r#"{{"requestId":"{id}","sockets":{{}}}}"#),
            format!(r#"{{"requestId":"{id}","type":3}}"#),
            format!(r#"{{"requestId":"{id}","rooms":["r"]}}"#),
            format!(r#"{{"requestId":"{id}","type":8,"clientCount":1}}"#),
            format!(r#"{{"requestId":"{node}-4711","sockets":[]}}"#),
            r#"{"requestId":"unknown","sockets":[]}"#.to_owned(),
        ] {
            publish(channel, &payload);
        }
    }
    let answered = asked.await.unwrap();
    assert_eq!(
        (answered.nodes.expected, answered.nodes.missing_count()),
        (2, 1)
    );
    assert_eq!(answered.answers.len(), 2);
    let after = stats();
    assert_eq!(after.answers_late - before.answers_late, 2);
    assert_eq!(after.answers_refused - before.answers_refused, 6);
    assert_eq!(after.undecodable - before.undecodable, 6);
    assert_eq!(after.own - before.own, 1);
    // Whoever takes the place of a node is one for as long as it listens, and what it says of sockets without ids is nothing.
    let asked = {
        let space = space.clone();
        tokio::spawn(async move { space.fetch_sockets().await.unwrap() })
    };
    await_until("the request to be heard", PATIENCE, || {
        recorder.texts(REQUESTS).len() == 3
    })
    .await;
    let request: serde_json::Value = serde_json::from_str(&recorder.texts(REQUESTS)[2]).unwrap();
    let sockets = json!([{}, null, 7, { "id": 1 }, { "id": "x", "rooms": 1, "handshake": [] }]);
    let answer = json!({ "requestId": request["requestId"], "sockets": sockets });
    publish(RESPONSES, &answer.to_string());
    let answered = asked.await.unwrap();
    assert!(answered.nodes.have_all_answered());
    let mut rooms = answered.answers.iter().map(|socket| socket.rooms());
    assert!(rooms.any(|rooms| rooms == ["x"]));
    assert_eq!(answered.answers.len(), 3);
    drop(listener);
    let start = Instant::now();
    while space.server_count().await != Ok(2) {
        assert!(start.elapsed() < PATIENCE, "the listener is still counted");
    }
    let start = Instant::now();
    let fetched = space.fetch_sockets().await.unwrap();
    assert!(fetched.nodes.have_all_answered() && fetched.answers.len() == 2);
    assert!(start.elapsed() < REQUESTS_TIMEOUT);
    for name in [CLIENTS[1], CLIENTS[3]] {
        cluster.clients.emit_ack(name, "echo", json!([1])).await;
    }
}
