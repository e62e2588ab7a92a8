//! The stock JavaScript client, and a stock Node.js pod on the same Redis.

use serde_json::json;
use unisono_test::{Conversation, RedisServer};

use crate::support::TestPod;

const CHANGED: &str = "music-control-changed";

/// While pods move over from Node.js one by one, clients of both kinds are in one session.
#[tokio::test]
async fn a_stock_node_pod_on_the_same_redis_passes_our_changes_on() {
    let redis = RedisServer::start();
    let ours = TestPod::joined(&redis.url()).await;
    let node = Conversation::node_pod(&redis.url()).await;
    let mut clients = Conversation::clients().await;
    clients
        .open("n", node.ready["url"].as_str().unwrap(), &["websocket"])
        .await;
    clients.emit_ack("n", "join", json!(["audio-s1"])).await;
    let ours_client = ours.client().await;
    ours_client.take("s1", "alice").await;
    let heard = clients.message("n", CHANGED).await;
    assert_eq!(
        (&heard[0]["userId"], &heard[0]["revision"]),
        (&json!("alice"), &json!(1))
    );
}

/// A drain closes the transport and sends no DISCONNECT: stock clients try to come back by
/// themselves.
#[tokio::test]
async fn stock_clients_try_again_after_a_drain() {
    let pod = TestPod::start(&[]).await;
    let mut clients = Conversation::clients().await;
    clients.open("a", &pod.url, &["websocket"]).await;
    pod.end().await;
    let left = clients.event_where(|e| e["event"] == "disconnect").await;
    assert_eq!(left["reason"], "transport close");
    // After a DISCONNECT it would not try.
    clients
        .event_where(|e| e["event"] == "reconnect_attempt")
        .await;
}
