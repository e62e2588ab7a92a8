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

/// Clients of every version that is in the field are in one session.
#[tokio::test]
async fn clients_of_socket_io_2_3_and_4_hear_each_other() {
    let pod = TestPod::start(&[]).await;
    let mut clients = Conversation::clients().await;
    let names = ["v2", "v3", "v4"];
    for (version, name) in (2..).zip(names) {
        for (transport, name) in [
            ("websocket", name.to_owned()),
            ("polling", format!("{name}-polling")),
        ] {
            let open = json!({
                "client": name, "url": pod.url, "version": version, "transports": [transport]
            });
            clients.command("open", open).await;
            let join = json!([{ "sessionId": "s1", "userId": name }]);
            clients.emit(&name, "join-music-session", join).await;
            clients.emit(&name, "test-ping", json!([1])).await;
            clients.message(&name, "test-pong").await;
        }
    }
    for name in names {
        let take = json!([{ "sessionId": "s1", "userId": name }]);
        clients.emit(name, "music-take-control", take).await;
        for other in names {
            for other in [other.to_owned(), format!("{other}-polling")] {
                let heard = clients.message(&other, CHANGED).await;
                assert_eq!(heard[0]["userId"], json!(name), "{other}");
            }
        }
    }
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
