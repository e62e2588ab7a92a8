//! A pod is killed in the middle of something.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jamz_server::config::names;
use unisono::{Io, Namespace};
use unisono_cluster::{Broker, LinkState};
use unisono_redis::{RedisBroker, RedisConfig};
use unisono_test::{Way, await_until};

use super::check::check;
use super::pod::Pod;
use super::rows::{Lost, Noticed, Row, Seen};
use super::stage::Stage;
use crate::support::PATIENCE;

const IN_COMMIT: Row = Row {
    accident: "a pod is killed between a commit and its reply; another takes its place",
    test: "killed_in_a_commit",
    lasts: Duration::ZERO,
    noticed: Noticed::Perhaps,
    lost: Lost::Uncounted,
    remark: "The change is everybody's if Redis has it. The new pod hears others from when it is there.",
    seen: Seen {
        noticed: "–",
        back: "0.04–0.07 s",
        lost: "5–7",
    },
};

const IN_REQUEST: Row = Row {
    accident: "a pod is killed in the middle of a `fetchSockets` and a broadcast with acknowledgements; another takes its place",
    test: "killed_in_a_request",
    lasts: Duration::ZERO,
    noticed: Noticed::Perhaps,
    lost: Lost::Uncounted,
    remark: "The request ends in its time and says that one of two has not answered; later ones do not wait for the dead.",
    seen: Seen {
        noticed: "–",
        back: "0.01–0.04 s",
        lost: "26–30",
    },
};

pub(super) const ROWS: &[&Row] = &[&IN_COMMIT, &IN_REQUEST];

/// How long a request waits for answers.
const REQUESTS_TIMEOUT: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_a_commit() {
    let start = Instant::now();
    let outcome = check(
        &IN_COMMIT,
        Stage::behind_proxies().await,
        async |stage| {
            stage.proxies[0].set(Way::AnswersHeld);
            stage.sides[0].listener.take("dying").await;
            let committed = || stage.stored().1.contains("dying");
            await_until("Redis has the change", PATIENCE, committed).await;
            stage.sides[0].talker.stop().await;
            stage.sides[0].pod.kill9();
            // Its last change is everybody's.
            stage.sides[1].listener.await_change("dying").await;
            stage.proxies[0].set(Way::Open);
            let url = format!("redis://127.0.0.1:{}", stage.proxies[0].port());
            let successor = Pod::start(&[(names::REDIS_URL, &url)]).await;
            stage.replace(0, "c", successor).await;
        },
        async |_| {},
    )
    .await;
    let looks = outcome.stage.sides[1].pod.looks_since(start);
    assert!(
        looks
            .iter()
            .skip_while(|look| look.degraded)
            .all(|look| !look.degraded)
    );
}

/// A node in this process that asks the pods.
struct Asker {
    io: Io,
    broker: Arc<RedisBroker>,
}

impl Asker {
    async fn on(url: &str) -> Self {
        let broker = Arc::new(RedisBroker::start(RedisConfig::parse(url).unwrap()));
        let io = Io::builder()
            .namespace(Namespace::new("/"))
            .broker(broker.clone(), names::DEFAULT_REDIS_KEY)
            .requests_timeout(REQUESTS_TIMEOUT)
            .build();
        let up = || broker.state() == LinkState::Subscribed;
        await_until("the asker has joined", PATIENCE, up).await;
        Self { io, broker }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_a_request() {
    check(
        &IN_REQUEST,
        Stage::usual().await,
        async |stage| {
            let asker = Asker::on(&stage.redis.url()).await;
            let space = asker.io.of("/").unwrap();
            let all = space.fetch_sockets().await.unwrap();
            assert!(all.nodes.have_all_answered() && all.answers.len() == 4);
            stage.sides[1].talker.stop().await;
            // It is counted, and does not answer any more.
            stage.sides[1].pod.freeze();
            let start = Instant::now();
            let fetched = space.fetch_sockets();
            let asked = space.broadcast();
            let acks = asked.emit_with_ack("question", &(), REQUESTS_TIMEOUT);
            let killed = async {
                let others = &stage.sides[0].listener;
                let asked = || others.times_heard("question") == 1;
                await_until("the other pod has asked its clients", PATIENCE, asked).await;
                stage.sides[1].pod.kill9();
            };
            let (fetched, acks, ()) = tokio::join!(fetched, acks, killed);
            let took = start.elapsed();
            assert!(took < 3 * REQUESTS_TIMEOUT, "{took:?}");
            let (fetched, acks) = (fetched.unwrap(), acks.unwrap());
            for nodes in [&fetched.nodes, &acks.nodes] {
                assert_eq!((nodes.expected, nodes.missing_count()), (2, 1));
            }
            assert_eq!(fetched.answers.len(), 2);
            assert!(acks.is_empty() && !acks.is_complete());
            // Nobody waits for the dead; for a while it might still be one whose link is being healed.
            let start = Instant::now();
            loop {
                let without = space.fetch_sockets().await.unwrap();
                assert_eq!(without.answers.len(), 2);
                if without.nodes.have_all_answered() {
                    break;
                }
                assert_eq!(without.nodes.missing.len(), 1);
                assert!(start.elapsed() < PATIENCE, "{:?}", without.nodes);
            }
            asker.broker.close();
            let url = stage.redis.url();
            let successor = Pod::start(&[(names::REDIS_URL, &url)]).await;
            stage.replace(1, "c", successor).await;
        },
        async |_| {},
    )
    .await;
}
