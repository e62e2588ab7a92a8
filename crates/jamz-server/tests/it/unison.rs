//! Several pods, one Redis: everybody sees the same, in the same order, and it is what is stored.

use jamz_server::config::names;
use serde_json::json;
use unisono_test::RedisServer;

use crate::support::{TestClient, TestPod, change};

const CHANGED: &str = "music-control-changed";
/// How often two clients take control at the same moment.
const ROUNDS: usize = 200;
/// Of the sharded adapter.
const MODES: [&str; 3] = ["static", "dynamic", "dynamic-private"];

/// On one Redis, with the classic adapter, or with the sharded one in this mode.
async fn two_pods(redis: &RedisServer, mode: Option<&str>) -> (TestPod, TestPod) {
    let url = redis.url();
    (pod(&url, mode).await, pod(&url, mode).await)
}

async fn pod(url: &str, mode: Option<&str>) -> TestPod {
    let settings = [
        (names::REDIS_URL, url),
        (names::REDIS_ADAPTER, mode.map_or("", |_| "sharded")),
        (names::REDIS_SUBSCRIPTION_MODE, mode.unwrap_or("")),
    ];
    let pod = TestPod::start(&settings).await;
    pod.await_link().await;
    pod
}

/// The local test of the migration document: two servers on one Redis, A on one, B on the
/// other, nobody joined anything.
#[tokio::test]
async fn a_on_one_pod_takes_control_and_b_on_the_other_hears_it() {
    a_on_one_pod_takes_control_and_b_on_the_other_hears_it_with(None).await;
}

#[tokio::test]
async fn a_on_one_pod_takes_control_and_b_on_the_other_hears_it_sharded() {
    for mode in MODES {
        a_on_one_pod_takes_control_and_b_on_the_other_hears_it_with(Some(mode)).await;
    }
}

async fn a_on_one_pod_takes_control_and_b_on_the_other_hears_it_with(mode: Option<&str>) {
    let redis = RedisServer::start();
    let (one, two) = two_pods(&redis, mode).await;
    let (mut a, mut b) = (one.client().await, two.client().await);
    a.client.emit("music-take-control", &()).await.unwrap();
    let heard = b.next(CHANGED).await;
    assert_eq!(heard["controllerId"], a.id());
    assert_eq!(b.next("music-controller-changed").await, heard);
    assert_eq!(a.next(CHANGED).await, heard);
    b.emit("music-take-control", &json!({"userId": "bob"}))
        .await;
    assert_eq!(change(&a.next(CHANGED).await), (2, "bob".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_take_control_at_once_are_seen_in_one_order_by_all() {
    two_who_take_control_at_once_are_seen_in_one_order_by_all_with(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_take_control_at_once_are_seen_in_one_order_by_all_sharded() {
    for mode in MODES {
        two_who_take_control_at_once_are_seen_in_one_order_by_all_with(Some(mode)).await;
    }
}

async fn two_who_take_control_at_once_are_seen_in_one_order_by_all_with(mode: Option<&str>) {
    let redis = RedisServer::start();
    let (one, two) = two_pods(&redis, mode).await;
    let mut clients = [
        one.client().await,
        two.client().await,
        one.client().await,
        two.client().await,
    ];
    for client in &mut clients {
        client.join("s1", None).await;
    }
    for round in 0..ROUNDS {
        let (left, right) = (format!("a{round}"), format!("b{round}"));
        tokio::join!(clients[0].take("s1", &left), clients[1].take("s1", &right));
    }
    let mut seen = Vec::new();
    for client in &mut clients {
        let mut changes = Vec::new();
        while changes.len() < 2 * ROUNDS {
            changes.push(change(&client.next(CHANGED).await));
        }
        seen.push(changes);
    }
    let revisions: Vec<u64> = seen[0].iter().map(|(revision, _)| *revision).collect();
    assert_eq!(revisions, (1..=2 * ROUNDS as u64).collect::<Vec<_>>());
    assert!(seen.iter().all(|changes| changes == &seen[0]));
    let (last, dj) = seen[0].last().unwrap().clone();
    for pod in [&one, &two] {
        let shown = pod.client().await.join("s1", None).await;
        assert_eq!(
            (&shown[0].1["revision"], &shown[0].1["controller_id"]),
            (&json!(last), &json!(dj))
        );
    }
    let stored = redis.command(&["HGET", "jamz:session:s1", "revision"]);
    assert_eq!(stored, last.to_string());
    assert!(
        redis
            .command(&["HGET", "jamz:session:s1", "controller"])
            .contains(&dj)
    );
}

#[tokio::test]
async fn a_session_is_known_to_a_pod_that_starts_later() {
    let redis = RedisServer::start();
    let one = TestPod::joined(&redis.url()).await;
    let mut a = one.client().await;
    a.join("s1", None).await;
    a.take("s1", "alice").await;
    a.next(CHANGED).await;
    one.end().await;
    let two = TestPod::joined(&redis.url()).await;
    let shown = two.client().await.join("s1", None).await;
    assert_eq!(shown[0].1["controller_id"], "alice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_misses_nothing_and_hears_nothing_twice() {
    a_newcomer_misses_nothing_and_hears_nothing_twice_with(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_misses_nothing_and_hears_nothing_twice_sharded() {
    for mode in MODES {
        a_newcomer_misses_nothing_and_hears_nothing_twice_with(Some(mode)).await;
    }
}

/// Whoever joins while changes go on is shown one state and then every change after it.
async fn a_newcomer_misses_nothing_and_hears_nothing_twice_with(mode: Option<&str>) {
    let redis = RedisServer::start();
    let (one, two) = two_pods(&redis, mode).await;
    let mut dj = one.client().await;
    let last: u64 = 120;
    dj.join("s1", None).await;
    dj.take("s1", "u1").await;
    dj.next(CHANGED).await;
    let taking = tokio::spawn(async move {
        for number in 2..=last {
            dj.take("s1", &format!("u{number}")).await;
            tokio::task::yield_now().await;
        }
        dj
    });
    for _ in 0..10 {
        let mut newcomer = two.client().await;
        let revisions = revisions_until(&mut newcomer, last).await;
        let first = revisions[0];
        assert_eq!(revisions, (first..=last).collect::<Vec<_>>());
    }
    taking.await.unwrap();
}

/// Joins, and gives the revision of the state shown and of every change after it.
async fn revisions_until(client: &mut TestClient, last: u64) -> Vec<u64> {
    client
        .emit("join-music-session", &json!({"sessionId": "s1"}))
        .await;
    let mut revisions = vec![
        client.next("music-session-state").await["revision"]
            .as_u64()
            .unwrap(),
    ];
    while *revisions.last().unwrap() < last {
        let told = client.next(CHANGED).await;
        // Part of the welcome: it tells the state that was just shown.
        if told["from"] != "server" {
            revisions.push(change(&told).0);
        }
    }
    revisions
}

#[tokio::test]
async fn installations_with_different_keys_share_a_redis_without_meeting() {
    let redis = RedisServer::start();
    let url = redis.url();
    let ours = TestPod::joined(&url).await;
    let settings = [
        (names::REDIS_URL, url.as_str()),
        (names::REDIS_KEY, "other"),
    ];
    let theirs = TestPod::start(&settings).await;
    theirs.await_link().await;
    let (mut a, mut b) = (ours.client().await, theirs.client().await);
    a.join("s1", None).await;
    b.join("s1", None).await;
    a.take("s1", "alice").await;
    a.next(CHANGED).await;
    assert!(b.drain().await.is_empty());
    assert!(theirs.client().await.join("s1", None).await.is_empty());
}
