//! Pods that live and do not listen for a while, and those of whom nobody knows who they are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use unisono::{Answers, Broker, Io, LinkState, MemoryBroker, MemoryBus, RemoteSocket};
use unisono_cluster::classic::{encode_answer, private_response_channel};
use unisono_cluster::{Answer, AnswerBody, Subscription};
use unisono_redis::{RedisBroker, RedisConfig};
use unisono_test::{Proxy, Recorder, RedisServer, Way, await_until};

use super::memory::{self, REQUESTS, RESPONSES};
use crate::raw::PATIENCE;
use crate::server::{TestServer, namespace};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

async fn pod(port: u16) -> TestServer {
    let config = RedisConfig::parse(&format!("redis://127.0.0.1:{port}")).unwrap();
    let io = Io::builder()
        .namespace(namespace("/"))
        .broker(Arc::new(RedisBroker::start(config)), "key")
        .requests_timeout(LONG)
        .build();
    let server = TestServer::serve(io).await;
    await_up(&server).await;
    server
}

async fn await_up(server: &TestServer) {
    await_until("the link is up", PATIENCE, || {
        server.io.link_state() == LinkState::Subscribed
    })
    .await;
}

fn listeners(redis: &RedisServer) -> u32 {
    let counted = redis.command(&["PUBSUB", "NUMSUB", REQUESTS]);
    counted.lines().last().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_whose_link_is_being_healed_is_named_and_not_waited_for() {
    let redis = RedisServer::start();
    let proxy = Proxy::to(redis.port()).await;
    let near = pod(redis.port()).await;
    let far = pod(proxy.port()).await;
    let space = memory::space(&near);
    let name = far.io.node_name().unwrap();
    await_until("the two know each other", PATIENCE, || {
        near.io.nodes().len() == 1 && far.io.nodes().len() == 1
    })
    .await;
    let fetched = space.fetch_sockets().await.unwrap();
    assert!(fetched.nodes.have_all_answered() && fetched.nodes.expected == 1);
    proxy.set(Way::HangUp);
    proxy.cut();
    await_until("its subscriptions are gone", PATIENCE, || {
        listeners(&redis) == 1
    })
    .await;
    let start = Instant::now();
    let fetched = space.fetch_sockets().await.unwrap();
    let acks = space.broadcast().emit_with_ack("q", &(), LONG).await;
    let acks = acks.unwrap();
    // It is silent after three seconds: until then it is one that lives.
    assert!(start.elapsed() < Duration::from_secs(2));
    for nodes in [&fetched.nodes, &acks.nodes] {
        assert_eq!(nodes.missing, std::slice::from_ref(&name), "{nodes:?}");
        assert!(!nodes.have_all_answered() && !nodes.unreachable);
    }
    assert!(!acks.is_complete());
    proxy.set(Way::Open);
    await_up(&far).await;
    let fetched = space.fetch_sockets().await.unwrap();
    assert!(fetched.nodes.have_all_answered() && fetched.nodes.expected == 1);
}

/// A namespace that a pod does not serve is none of its business.
#[tokio::test]
async fn a_pod_without_the_namespace_is_not_missing() {
    let bus = MemoryBus::new();
    let near = memory::pod(&bus, namespace("/")).await;
    let far = memory::pod(&bus, namespace("/other")).await;
    await_until("the two know each other", PATIENCE, || {
        near.io.nodes().len() == 1 && far.io.nodes().len() == 1
    })
    .await;
    let fetched = memory::space(&near).fetch_sockets().await.unwrap();
    assert_eq!(fetched.nodes, unisono::Nodes::default());
}

/// Somebody on the bus who is no member.
struct Outsider {
    broker: MemoryBroker,
    recorder: Arc<Recorder>,
}

impl Outsider {
    fn new(bus: &MemoryBus, channels: &[&str]) -> Self {
        let (broker, recorder) = (bus.broker(), Recorder::new());
        broker.attach(recorder.clone());
        for channel in channels {
            broker.subscribe(Subscription::Channel((*channel).to_owned()));
        }
        Self { broker, recorder }
    }

    /// What a pod finds that asks, when these answer under their names, and how long it took.
    async fn answer(
        &self,
        asker: &TestServer,
        names: &[&str],
    ) -> (Answers<RemoteSocket>, Duration) {
        let (space, start) = (memory::space(asker), Instant::now());
        let before = self.recorder.texts(REQUESTS).len();
        let asked = tokio::spawn(async move { space.fetch_sockets().await.unwrap() });
        await_until("the request to be heard", PATIENCE, || {
            self.recorder.texts(REQUESTS).len() > before
        })
        .await;
        let request = self.recorder.texts(REQUESTS).pop().unwrap();
        let request: serde_json::Value = serde_json::from_str(&request).unwrap();
        for name in names {
            let answer = Answer {
                id: request["requestId"].as_str().unwrap().to_owned(),
                from: Some((*name).to_owned()),
                body: AnswerBody::Sockets(Vec::new()),
            };
            let payload = encode_answer(answer).unwrap();
            self.broker.publish(RESPONSES, payload).unwrap();
        }
        let fetched = timeout(PATIENCE, asked).await.unwrap().unwrap();
        (fetched, start.elapsed())
    }
}

#[tokio::test]
async fn an_answer_of_somebody_else_does_not_stand_for_a_pod_that_hangs() {
    let bus = MemoryBus::new();
    let limit = Duration::from_secs(1);
    let near = memory::patient_pod(&bus, namespace("/"), limit).await;
    // It listens as a pod of Node.js does, and says nothing; the other is not among those who listen.
    let hanging = Outsider::new(&bus, &[REQUESTS]);
    let (fetched, took) = hanging.answer(&near, &["other"]).await;
    assert_eq!(
        (fetched.nodes.expected, fetched.nodes.missing_unknown),
        (1, 1)
    );
    assert!(took >= limit, "{took:?}");
}

#[tokio::test]
async fn a_pod_that_was_counted_before_its_name_was_known_is_found_at_once() {
    let bus = MemoryBus::new();
    let near = memory::patient_pod(&bus, namespace("/"), LONG).await;
    let private = private_response_channel("key", "/", "new");
    let new = Outsider::new(&bus, &[REQUESTS, &private]);
    let mut quickest = LONG;
    for _ in 0..5 {
        let (fetched, took) = new.answer(&near, &["other", "new"]).await;
        assert!(fetched.nodes.have_all_answered(), "{:?}", fetched.nodes);
        assert_eq!(fetched.nodes.expected, 1);
        quickest = quickest.min(took);
    }
    // Not only when it is counted again in any case.
    assert!(quickest < Duration::from_millis(250), "{quickest:?}");
}
