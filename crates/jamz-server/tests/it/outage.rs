//! Redis goes away and comes back: clients of one pod always hear each other, and all pods
//! agree again within seconds.

use std::time::{Duration, Instant};

use jamz_server::clock::now_ms;
use jamz_server::config::names;
use jamz_server::http::{LIVEZ, METRICS, READYZ};
use serde_json::{Value, json};
use unisono_test::{RedisServer, await_until};

use crate::http::get;
use crate::support::{TestClient, TestPod, change};

const CHANGED: &str = "music-control-changed";
/// Within this time of the return of Redis everybody must know the same.
const AGREED_WITHIN: Duration = Duration::from_secs(5);

struct House {
    redis: RedisServer,
    pods: [TestPod; 2],
    /// Two clients on the first pod, one on the second, all in the session `s1`.
    clients: [TestClient; 3],
}

impl House {
    async fn on(redis: RedisServer) -> Self {
        let url = redis.url();
        let settings = [(names::REDIS_URL, url.as_str())];
        let pods = [
            TestPod::start(&settings).await,
            TestPod::start(&settings).await,
        ];
        let clients = [
            pods[0].client().await,
            pods[0].client().await,
            pods[1].client().await,
        ];
        Self {
            redis,
            pods,
            clients,
        }
    }

    async fn join_all(&mut self) {
        for client in &mut self.clients {
            client.join("s1", None).await;
        }
    }

    /// Waits until every pod has joined, and says so wherever one may look.
    async fn await_links(&self) {
        for pod in &self.pods {
            pod.await_link().await;
            tells(pod, &["subscribed"]).await;
        }
    }

    /// Waits until every pod knows that it is alone, and says so. Probes stay green.
    async fn await_no_links(&self) {
        for pod in &self.pods {
            pod.await_no_link().await;
            tells(pod, &["deaf", "down", "connecting"]).await;
        }
    }

    async fn take(&mut self, by: usize, user: &str, heard_by: &[usize]) {
        // What happens in the same millisecond on two pods has no order.
        let now = now_ms();
        await_until("the clock goes on", AGREED_WITHIN, || now_ms() > now).await;
        self.clients[by].take("s1", user).await;
        for &index in heard_by {
            while change(&self.clients[index].next(CHANGED).await).1 != user {}
        }
    }

    /// Everybody is told that this user is the DJ, soon after `since`, and newcomers and the
    /// store say the same.
    async fn agree_on(&mut self, user: &str, since: Instant) {
        for client in &mut self.clients {
            await_dj(client, user).await;
        }
        assert!(
            since.elapsed() < AGREED_WITHIN,
            "took {:?}",
            since.elapsed()
        );
        let mut states = Vec::new();
        for pod in &self.pods {
            let shown = pod.client().await.join("s1", None).await;
            let mut state = shown[0].1.clone();
            state["timestamp"] = Value::Null;
            states.push(state);
        }
        assert_eq!(states[0], states[1]);
        assert_eq!(states[0]["controller_id"], user);
        let stored = self.redis.command(&["HGET", "jamz:session:s1", "revision"]);
        assert_eq!(states[0]["revision"].to_string(), stored);
    }

    /// A change crosses pods again.
    async fn is_in_unison(&mut self) {
        self.take(0, "after-1", &[0, 1, 2]).await;
        self.take(2, "after-2", &[0, 1, 2]).await;
    }
}

/// Waits until a client has been told, in whichever way, that this user is the DJ.
/// `/health` and `/metrics` name one of these states, and the probes are green.
async fn tells(pod: &TestPod, states: &[&str]) {
    await_until("the pod is ready", AGREED_WITHIN, || {
        pod.app.health().is_ready()
    })
    .await;
    let (status, health) = get(&pod.url, "/health").await;
    let health: Value = serde_json::from_str(&health).unwrap();
    let state = health["adapter"].as_str().unwrap();
    assert!(status == 200 && states.contains(&state), "{health}");
    assert_eq!(health["degraded"], state != "subscribed", "{health}");
    let (_, metrics) = get(&pod.admin, METRICS).await;
    let gauges = states
        .iter()
        .map(|state| format!("unisono_link_state{{state=\"{state}\"}} 1\n"));
    assert!(
        gauges.into_iter().any(|gauge| metrics.contains(&gauge)),
        "{states:?} {metrics}"
    );
    for probe in [LIVEZ, READYZ] {
        assert_eq!(get(&pod.admin, probe).await.0, 200, "{probe}");
    }
}

async fn await_dj(client: &mut TestClient, user: &str) {
    loop {
        let (event, payload) = client.any().await;
        let told = match event.as_str() {
            CHANGED => &payload["userId"],
            "music-session-state" => &payload["controller_id"],
            _ => continue,
        };
        if told == user {
            return;
        }
    }
}

/// What a client remembers when it is told nothing new.
async fn told_again(client: &TestClient) {
    client
        .emit("join-music-session", &json!({"sessionId": "s1"}))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_start_without_redis_serve_and_join_when_it_appears() {
    let mut house = House::on(RedisServer::stopped()).await;
    house.join_all().await;
    house.take(0, "alice", &[0, 1]).await;
    house.take(2, "bob", &[2]).await;
    let since = Instant::now();
    house.redis.restart();
    house.await_links().await;
    // Bob was last.
    told_again(&house.clients[2]).await;
    house.agree_on("bob", since).await;
    house.is_in_unison().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_loses_nothing_that_pods_remember() {
    let mut house = House::on(RedisServer::start()).await;
    house.await_links().await;
    house.join_all().await;
    house.take(0, "before", &[0, 1, 2]).await;
    house.redis.kill9();
    house.await_no_links().await;
    house.take(2, "bob", &[2]).await;
    house.take(0, "alice", &[0, 1]).await;
    let since = Instant::now();
    house.redis.restart();
    for index in [0, 1] {
        told_again(&house.clients[index]).await;
    }
    house.agree_on("alice", since).await;
    house.is_in_unison().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_back_empty_gets_the_sessions_back() {
    let mut house = House::on(RedisServer::start()).await;
    house.await_links().await;
    house.join_all().await;
    house.take(0, "before", &[0, 1, 2]).await;
    house.redis.kill9();
    house.await_no_links().await;
    let since = Instant::now();
    house.redis.restart();
    house.agree_on("before", since).await;
    house.is_in_unison().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_emptied_in_service_gets_the_session_back_with_the_next_change() {
    let mut house = House::on(RedisServer::start()).await;
    house.await_links().await;
    house.join_all().await;
    house.take(0, "one", &[0, 1, 2]).await;
    house.take(0, "two", &[0, 1, 2]).await;
    house.redis.command(&["FLUSHALL"]);
    let since = Instant::now();
    house.clients[2].take("s1", "three").await;
    house.agree_on("three", since).await;
    let revision: u32 = house
        .redis
        .command(&["HGET", "jamz:session:s1", "revision"])
        .parse()
        .unwrap();
    assert!(revision > 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_for_ten_seconds_is_survived() {
    let mut house = House::on(RedisServer::start()).await;
    house.await_links().await;
    house.join_all().await;
    house.take(0, "before", &[0, 1, 2]).await;
    house.redis.stop();
    let stopped = Instant::now();
    // Before anybody has noticed.
    house.take(0, "alice", &[0, 1]).await;
    house.await_no_links().await;
    house.take(0, "anna", &[0, 1]).await;
    house.take(2, "bob", &[2]).await;
    // The hang is what is tested; nothing is ordered by this wait.
    let rest = Duration::from_secs(10).saturating_sub(stopped.elapsed());
    tokio::time::sleep(rest).await;
    let since = Instant::now();
    house.redis.cont();
    told_again(&house.clients[2]).await;
    house.agree_on("bob", since).await;
    house.is_in_unison().await;
}
