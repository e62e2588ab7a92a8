//! A pod is taken away under 500 stock clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use jamz_server::config::names;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use unisono_test::{Conversation, RedisServer};

use crate::process::Served;

const CLIENTS: usize = 500;

/// What a Kubernetes Service does: a new connection goes to one of the pods that take it.
struct Service {
    port: u16,
    /// Index of the pod that is preferred.
    preferred: Arc<AtomicUsize>,
}

impl Service {
    async fn over(pods: [String; 2]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let preferred = Arc::new(AtomicUsize::new(0));
        let first = preferred.clone();
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let first = first.load(Relaxed);
                let order = [pods[first].clone(), pods[1 - first].clone()];
                tokio::spawn(async move {
                    for pod in order {
                        if let Ok(mut pod) = TcpStream::connect(pod).await {
                            // Whoever ends first ends the other; how is not of interest.
                            let _ = tokio::io::copy_bidirectional(&mut client, &mut pod).await;
                            return;
                        }
                    }
                });
            }
        });
        Self { port, preferred }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_pod_that_ends_come_back_to_another_by_themselves() {
    let redis = RedisServer::start();
    let url = redis.url();
    let environment = [
        (names::REDIS_URL, url.as_str()),
        (names::DRAIN_SECONDS, "20"),
    ];
    let mut first = Served::listening(&environment);
    let mut second = Served::listening(&environment);
    for pod in [&mut first.0, &mut second.0] {
        pod.line("✅ Socket.IO Redis adapter connected");
    }
    let service = Service::over([first.1.clone(), second.1.clone()]).await;
    let mut clients = Conversation::clients().await;
    let open = json!({
        "client": "c", "url": format!("http://127.0.0.1:{}", service.port), "count": CLIENTS,
        "transports": ["websocket"], "quiet": true, "timeout_ms": 60_000,
    });
    clients.command("open", open).await;
    service.preferred.store(1, Relaxed);
    let begun = Instant::now();
    first.0.signal("TERM");
    for n in 0..CLIENTS {
        let name = format!("c-{n}");
        let left = clients
            .event_where(|e| e["event"] == "disconnect" && e["client"] == *name)
            .await;
        // After `io server disconnect` a stock client would stay away.
        assert_eq!(left["reason"], "transport close", "{name}");
        clients
            .event_where(|e| e["event"] == "reconnect" && e["client"] == *name)
            .await;
    }
    let ended = tokio::task::spawn_blocking(move || first.0.child.wait().unwrap());
    assert_eq!(ended.await.unwrap().code(), Some(0));
    assert!(
        begun.elapsed().as_secs() < 20,
        "longer than the grace period"
    );
    // They are served where they are now, all of them.
    clients.emit("c-0", "music-take-control", json!([])).await;
    for n in 0..CLIENTS {
        let name = format!("c-{n}");
        while clients.command("counts", json!({ "client": name })).await["music-control-changed"]
            != 1
        {
            tokio::task::yield_now().await;
        }
    }
    second.0.signal("TERM");
    assert_eq!(second.0.child.wait().unwrap().code(), Some(0));
}
