//! What an emitter, which is no pod, asks of all pods.

use serde_json::{Value, json};
use unisono_test::Conversation;

use super::cluster::{CLIENTS, Cluster};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emitter_moves_and_ends_sockets_on_all_pods_and_is_never_counted() {
    let mut cluster = Cluster::mixed().await;
    let mut emitter = Conversation::emitter(&cluster.redis.url()).await;
    for from in 0..4 {
        assert_eq!(cluster.pods[from].server_count().await, 4);
    }
    let join = json!({ "rooms": ["lobby"], "except": ["b"], "join": ["e1", "e2"] });
    emitter.command("sockets_join", join).await;
    for from in 0..4 {
        cluster.await_members(from, "e1", &["c0", "c2"]).await;
        cluster.await_members(from, "e2", &["c0", "c2"]).await;
    }
    let leave = json!({ "rooms": ["e2"], "leave": "e1" });
    emitter.command("sockets_leave", leave).await;
    cluster.await_members(1, "e1", &[]).await;
    let event = json!({ "event": "sse", "args": [1, { "two": 2 }] });
    emitter.command("server_side_emit", event).await;
    for pod in &mut cluster.pods {
        let expected = json!({ "args": [1, { "two": 2 }], "ack": false });
        assert_eq!(pod.server_side_event().await, expected);
    }
    let end = json!({ "rooms": ["lobby"], "except": ["e2"], "close": true });
    emitter.command("disconnect_sockets", end).await;
    for name in [CLIENTS[1], CLIENTS[3]] {
        let ended = |e: &Value| e["event"] == "disconnect" && e["client"] == name;
        let event = cluster.clients.event_where(ended).await;
        assert_eq!(event["reason"], "io server disconnect");
    }
    for from in 0..4 {
        cluster.await_members(from, "lobby", &["c0", "c2"]).await;
    }
}
