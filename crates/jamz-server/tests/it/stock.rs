//! The stock JavaScript client, and a stock Node.js pod on the same Redis.

use serde_json::{Value, json};
use unisono_test::{NodePeer, RedisServer};

use crate::support::TestPod;

const CHANGED: &str = "music-control-changed";

/// A command that must succeed; what comes before its reply is skipped.
async fn done(peer: &mut NodePeer, mut command: Value) -> Value {
    let id = command.to_string();
    command["id"] = json!(id);
    peer.send(&command).await;
    let reply = peer.receive_where(|line| line["reply"] == id).await;
    assert_eq!(reply["ok"], true, "{command} {reply}");
    reply["value"].clone()
}

async fn open(peer: &mut NodePeer, client: &str, url: &str, transport: &str) {
    let command = json!({"cmd": "open", "client": client, "url": url, "transports": [transport]});
    done(peer, command).await;
}

/// The payload of the next change that this client is told.
async fn told(peer: &mut NodePeer, client: &str) -> Value {
    let wanted = |line: &Value| line["client"] == client && line["name"] == CHANGED;
    let line = peer.receive_where(wanted).await;
    line["args"][0].clone()
}

#[tokio::test]
async fn stock_clients_on_two_pods_and_both_transports_hear_each_other() {
    let redis = RedisServer::start();
    let one = TestPod::joined(&redis.url()).await;
    let two = TestPod::joined(&redis.url()).await;
    let mut a = NodePeer::spawn("peers/client.js", &[]);
    let mut b = NodePeer::spawn("peers/client.js", &[]);
    open(&mut a, "a", &one.url, "websocket").await;
    open(&mut b, "b", &two.url, "polling").await;
    let take = |client: &str, payload: Value| {
        let event = "music-take-control";
        json!({"cmd": "emit", "client": client, "event": event, "args": [payload]})
    };
    done(&mut a, take("a", json!({"userId": "alice"}))).await;
    let heard = told(&mut b, "b").await;
    assert_eq!(
        (&heard["userId"], &heard["revision"]),
        (&json!("alice"), &json!(1))
    );
    assert_eq!(told(&mut a, "a").await, heard);
    done(&mut b, take("b", json!({"userId": "bob"}))).await;
    assert_eq!(told(&mut a, "a").await["userId"], "bob");
}

/// While pods move over from Node.js one by one, clients of both kinds are in one session.
#[tokio::test]
async fn a_stock_node_pod_on_the_same_redis_passes_our_changes_on() {
    let redis = RedisServer::start();
    let ours = TestPod::joined(&redis.url()).await;
    let url = redis.url();
    let mut node = NodePeer::spawn_with("peers/node-pod.js", &[], &[("REDIS_URL", &url)]);
    let ready = node.receive_where(|line| line["event"] == "ready").await;
    let mut peer = NodePeer::spawn("peers/client.js", &[]);
    open(&mut peer, "n", ready["url"].as_str().unwrap(), "websocket").await;
    let join = json!({"cmd": "emit_ack", "client": "n", "event": "join", "args": ["audio-s1"]});
    done(&mut peer, join).await;
    let ours_client = ours.client().await;
    ours_client.take("s1", "alice").await;
    let heard = told(&mut peer, "n").await;
    assert_eq!(
        (&heard["userId"], &heard["revision"]),
        (&json!("alice"), &json!(1))
    );
}

/// A drain closes the transport and sends no DISCONNECT: stock clients try to come back by
/// themselves.
#[tokio::test]
async fn stock_clients_try_again_after_a_drain() {
    let pod = TestPod::start(&[]).await;
    let mut peer = NodePeer::spawn("peers/client.js", &[]);
    open(&mut peer, "a", &pod.url, "websocket").await;
    pod.end().await;
    let left = peer
        .receive_where(|line| line["event"] == "disconnect")
        .await;
    assert_eq!(left["reason"], "transport close");
    // After a DISCONNECT it would not try.
    peer.receive_where(|line| line["event"] == "reconnect_attempt")
        .await;
}
