//! Two pods on one Redis, with a talker and a listener on each.

use std::time::{Duration, Instant};

use jamz_server::clock::now_ms;
use jamz_server::config::names;
use unisono_test::{Proxy, RedisServer, await_until};

use super::pod::{Metrics, Pod};
use super::voice::{SESSION, Talker, Voice};
use crate::support::PATIENCE;

const NAMES: [&str; 2] = ["a", "b"];

/// One pod and its clients.
pub(crate) struct Side {
    pub(crate) pod: Pod,
    pub(super) talker: Talker,
    pub(super) listener: Voice,
    /// The metrics before the talker began.
    pub(super) before: Metrics,
}

/// What an accident happens to.
pub(crate) struct Stage {
    pub(crate) redis: RedisServer,
    /// Between Redis and each of the pods, on stages that have them.
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) sides: [Side; 2],
    /// What Redis said of subscriptions when all was well.
    pub(super) subscriptions: Option<Subscriptions>,
}

/// What each connection that listens is subscribed to, counted, and who hears requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subscriptions {
    connections: Vec<String>,
    requests: String,
}

impl Subscriptions {
    /// Two connections listen to the same, and both to requests.
    pub(super) fn are_of_two(&self) -> bool {
        matches!(&self.connections[..], [one, two] if one == two) && self.requests.ends_with("\n2")
    }
}

impl Stage {
    /// Two pods that have joined a fresh Redis.
    pub(crate) async fn usual() -> Self {
        let redis = RedisServer::start();
        let url = redis.url();
        Self::joined(redis, [&url, &url]).await
    }

    /// The same with a proxy between Redis and each pod.
    pub(crate) async fn behind_proxies() -> Self {
        let redis = RedisServer::start();
        let proxies = vec![Proxy::to(redis.port()).await, Proxy::to(redis.port()).await];
        let url = |proxy: &Proxy| format!("redis://127.0.0.1:{}", proxy.port());
        let mut stage = Self::joined(redis, [&url(&proxies[0]), &url(&proxies[1])]).await;
        stage.proxies = proxies;
        stage
    }

    /// Two pods that reach that Redis by these URLs, and have joined it.
    pub(crate) async fn joined(redis: RedisServer, urls: [&str; 2]) -> Self {
        let pods = [
            Pod::start(&[(names::REDIS_URL, urls[0])]).await,
            Pod::start(&[(names::REDIS_URL, urls[1])]).await,
        ];
        Self::of_joined(redis, pods).await
    }

    /// The same with pods that were started already.
    pub(super) async fn of_joined(redis: RedisServer, pods: [Pod; 2]) -> Self {
        for pod in &pods {
            pod.await_joined().await;
        }
        let mut stage = Self::of(redis, pods).await;
        stage.take(0, "before", &[0, 1]).await;
        let what = "everybody hears everybody";
        await_until(what, PATIENCE, || {
            stage.heard_across(0, Instant::now() - PATIENCE).is_some()
                && stage.heard_across(1, Instant::now() - PATIENCE).is_some()
        })
        .await;
        stage.subscriptions = Some(stage.subscriptions());
        stage
    }

    /// Pods that may not have joined.
    pub(super) async fn of(redis: RedisServer, pods: [Pod; 2]) -> Self {
        let [one, two] = pods;
        let mut sides = [Side::of(one).await, Side::of(two).await];
        // Now there is somebody to hear them.
        for (side, name) in sides.iter_mut().zip(NAMES) {
            side.talker.start(name);
        }
        Self {
            redis,
            proxies: Vec::new(),
            sides,
            subscriptions: None,
        }
    }

    /// Another pod stands on that side, with clients of its own.
    pub(super) async fn replace(&mut self, side: usize, name: &'static str, pod: Pod) {
        pod.await_joined().await;
        self.sides[side] = Side::of(pod).await;
        self.sides[side].talker.start(name);
    }

    /// The listener of a side becomes the DJ, and listeners of these sides hear of it.
    pub(super) async fn take(&self, side: usize, user: &str, heard_on: &[usize]) -> Duration {
        // What happens in the same millisecond on two pods has no order.
        let now = now_ms();
        await_until("the clock goes on", PATIENCE, || now_ms() > now).await;
        let start = Instant::now();
        self.sides[side].listener.take(user).await;
        for &side in heard_on {
            self.sides[side].listener.await_change(user).await;
        }
        start.elapsed()
    }

    /// When the listener of the other side first heard a word of this side's talker that was said after `since`.
    pub(super) fn heard_across(&self, side: usize, since: Instant) -> Option<Instant> {
        let talker = &self.sides[side].talker;
        talker.first_heard_by(&self.sides[1 - side].listener, since)
    }

    /// What Redis says of subscriptions.
    pub(super) fn subscriptions(&self) -> Subscriptions {
        let clients = self.redis.command(&["CLIENT", "LIST", "TYPE", "pubsub"]);
        let lines = clients.lines().filter(|line| line.contains(" psub="));
        let mut connections: Vec<_> = lines
            .map(|line| {
                let words = line.split(' ');
                let wanted =
                    words.filter(|word| word.starts_with("sub=") || word.starts_with("psub="));
                wanted.collect::<Vec<_>>().join(" ")
            })
            .collect();
        connections.sort();
        Subscriptions {
            connections,
            requests: self
                .redis
                .command(&["PUBSUB", "NUMSUB", "socket.io-request#/#"]),
        }
    }

    /// The revision and the DJ in the store.
    pub(super) fn stored(&self) -> (String, String) {
        let key = format!("jamz:session:{SESSION}");
        let field = |name| self.redis.command(&["HGET", &key, name]);
        (field("revision"), field("controller"))
    }
}

impl Side {
    async fn of(pod: Pod) -> Self {
        let listener = Voice::on(&pod.url).await;
        let speaking = Voice::on(&pod.url).await;
        let before = pod.metrics().await;
        Self {
            talker: Talker::of(speaking),
            pod,
            listener,
            before,
        }
    }
}
