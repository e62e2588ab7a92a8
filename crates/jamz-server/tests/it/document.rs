//! The local test of the migration document, to the letter: two instances on two ports of one host, one Redis, client A on the one
//! and client B on the other, nobody has joined anything. A emits `music-take-control`, B receives `music-control-changed`.

use serde_json::{Value, json};
use unisono_test::{Conversation, RedisServer};

use jamz_server::config::names;

use crate::process::Served;

const TRANSPORTS: [(&str, &[&str]); 3] = [
    ("websocket", &["websocket"]),
    ("polling", &["polling"]),
    ("upgrade", &["polling", "websocket"]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takes_control_on_one_port_and_b_hears_it_on_the_other() {
    let redis = RedisServer::start();
    let url = redis.url();
    let environment = [(names::REDIS_URL, url.as_str())];
    let mut pods = [
        Served::listening(&environment),
        Served::listening(&environment),
    ];
    for (pod, _, _) in &mut pods {
        pod.line("✅ Socket.IO Redis adapter connected - multi-pod clustering enabled");
    }
    let mut clients = Conversation::clients().await;
    for (a, a_transports) in TRANSPORTS {
        for (b, b_transports) in TRANSPORTS {
            let (a, b) = (format!("a-{a}-{b}"), format!("b-{a}-{b}"));
            clients
                .open(&a, &format!("http://{}", pods[0].1), a_transports)
                .await;
            clients
                .open(&b, &format!("http://{}", pods[1].1), b_transports)
                .await;
            for args in [
                json!([]),
                json!([{}]),
                json!([{ "userId": a }]),
                json!([null]),
            ] {
                clients.emit(&a, "music-take-control", args.clone()).await;
                let heard = clients.message(&b, "music-control-changed").await;
                assert_eq!(heard[0]["userId"], args[0]["userId"], "{a} to {b} {args}");
                // The older name and the sender itself, with the same payload.
                assert_eq!(clients.message(&b, "music-controller-changed").await, heard);
                assert_eq!(clients.message(&a, "music-control-changed").await, heard);
            }
            clients.command("close", json!({ "client": a })).await;
            clients.command("close", json!({ "client": b })).await;
        }
    }
    for (pod, _, _) in &mut pods {
        pod.line("Socket.IO connection");
        pod.signal("TERM");
        assert_eq!(pod.child.wait().unwrap().code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_instance_without_redis_works_alone() {
    let (mut pod, clients, _) = Served::listening(&[]);
    let url = format!("http://{clients}");
    let mut clients = Conversation::clients().await;
    clients.open("a", &url, &["websocket"]).await;
    clients.open("b", &url, &["polling"]).await;
    clients.emit("a", "music-take-control", json!([])).await;
    let heard: Value = clients.message("b", "music-control-changed").await;
    assert_eq!(heard[0]["revision"], 1);
    pod.signal("TERM");
    assert_eq!(pod.child.wait().unwrap().code(), Some(0));
}
