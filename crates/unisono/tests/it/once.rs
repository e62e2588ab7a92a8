//! What a broadcast costs the pod that emits it does not depend on how many others there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Serialize, Serializer};
use unisono::{Broker, Io, LinkState};
use unisono_cluster::Subscription;
use unisono_redis::{RedisBroker, RedisConfig};
use unisono_test::{Recorder, RedisServer, await_until};

use crate::raw::{PATIENCE, RawSocket};
use crate::server::{TestServer, namespace};

/// A payload that counts how often it is written.
#[derive(Default)]
struct Counted(AtomicUsize);

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        serializer.serialize_str("payload")
    }
}

struct Pod {
    server: TestServer,
    clients: Vec<RawSocket>,
}

impl Pod {
    /// A pod with two clients.
    async fn start(redis: &RedisServer) -> Self {
        let broker = RedisBroker::start(RedisConfig::parse(&redis.url()).unwrap());
        let io = Io::builder()
            .namespace(namespace("/"))
            .broker(Arc::new(broker), "socket.io")
            .build();
        let server = TestServer::serve(io).await;
        let is_up = || server.io.link_state() == LinkState::Subscribed;
        await_until("the pod to be subscribed", PATIENCE, is_up).await;
        let mut clients = Vec::new();
        for _ in 0..2 {
            let mut client = RawSocket::enter(server.port).await;
            assert!(client.text().await.starts_with("42[\"auth\""));
            clients.push(client);
        }
        Self { server, clients }
    }
}

/// Hears what is published for the namespace.
async fn listen(redis: &RedisServer) -> (Arc<Recorder>, RedisBroker) {
    let broker = RedisBroker::start(RedisConfig::parse(&redis.url()).unwrap());
    let recorder = Recorder::new();
    broker.attach(recorder.clone());
    broker.subscribe(Subscription::Pattern("socket.io#/#*".to_owned()));
    recorder.await_state(LinkState::Subscribed).await;
    (recorder, broker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_is_written_and_published_once_whatever_the_number_of_pods() {
    for count in [1, 2, 5] {
        let redis = RedisServer::start();
        let mut pods = Vec::new();
        for _ in 0..count {
            pods.push(Pod::start(&redis).await);
        }
        let (listener, _listens) = listen(&redis).await;
        let payload = Counted::default();
        let space = pods[0].server.io.of("/").unwrap();
        space.emit("news", &payload).unwrap();
        for client in pods.iter_mut().flat_map(|pod| &mut pod.clients) {
            assert_eq!(client.text().await, r#"42["news","payload"]"#);
        }
        let written = payload.0.load(Ordering::Relaxed);
        assert_eq!(written, 1, "with {count} pods");
        // Redis passes the very bytes on: to each pod once, its own included.
        for (index, pod) in pods.iter().enumerate() {
            let stats = || pod.server.io.node_stats()[0].1;
            let heard = || stats().own + stats().delivered >= 1;
            await_until("each pod to hear of it", PATIENCE, heard).await;
            let expected = if index == 0 { (1, 0) } else { (0, 1) };
            assert_eq!((stats().own, stats().delivered), expected);
        }
        redis.command(&["PUBLISH", "socket.io#/#", "the end"]);
        listener.await_text("socket.io#/#", "the end").await;
        assert_eq!(listener.messages().len(), 2, "one publication, and the end");
    }
}
