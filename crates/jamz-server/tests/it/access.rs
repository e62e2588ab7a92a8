//! Pods with few rights at Redis, and two installations on one.

use jamz_server::config::{Config, names};
use jamz_server::store::acl_rules;
use serde_json::json;
use unisono_test::{RedisServer, await_until};

use crate::http::get;
use crate::support::{PATIENCE, TestPod, settings};

/// Lets `user` in with the password `pw` and these rules.
fn set_user(redis: &RedisServer, user: &str, rules: &str) {
    let mut words = vec!["ACL", "SETUSER", user, "on", ">pw"];
    words.extend(rules.split_whitespace());
    redis.command(&words);
}

fn url(redis: &RedisServer, user: &str) -> String {
    redis
        .url()
        .replace("redis://", &format!("redis://{user}:pw@"))
}

fn rules(more: &[(&str, &str)]) -> String {
    let config = Config::read(&settings(more)).expect("good");
    let redis = config.redis.expect("given");
    acl_rules(&redis.config, &redis.key)
}

/// Two clients on two pods, of whom one changes what both see; then a request that counts pods.
async fn play(pods: &[TestPod; 2]) {
    let (mut a, mut b) = (pods[0].client().await, pods[1].client().await);
    for client in [&mut a, &mut b] {
        client.join("s1", None).await;
    }
    a.emit(
        "music-take-control",
        &json!({ "sessionId": "s1", "userId": "a" }),
    )
    .await;
    let heard = b.next("music-control-changed").await;
    assert_eq!(heard["userId"], "a", "{heard}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_rights_are_enough_for_a_pod() {
    for adapter in ["classic", "sharded"] {
        documented_rights_are_enough(adapter).await;
    }
}

async fn documented_rights_are_enough(adapter: &str) {
    let redis = RedisServer::start();
    let url = url(&redis, "jamz");
    let environment = [
        (names::REDIS_URL, url.as_str()),
        (names::REDIS_ADAPTER, adapter),
    ];
    let rules = rules(&environment);
    let document = include_str!("../../../../docs/operations.md");
    let line = format!("ACL SETUSER jamz on >PASSWORD {rules}");
    assert!(
        document.contains(&line),
        "docs/operations.md must say: {line}"
    );
    set_user(&redis, "jamz", &rules);
    let pods = [
        TestPod::start(&environment).await,
        TestPod::start(&environment).await,
    ];
    for pod in &pods {
        pod.await_link().await;
    }
    play(&pods).await;
    for pod in &pods {
        assert_eq!(pod.app.refusal(), None);
        assert!(!pod.app.is_degraded(pod.app.link().state()));
    }
    assert_eq!(
        redis.command(&["ACL", "LOG"]),
        "",
        "nothing was refused by the way"
    );
    assert!(redis.command(&["KEYS", "*"]).contains("jamz:session:s1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_the_store_lacks_is_told_and_its_return_noticed() {
    let redis = RedisServer::start();
    let url = url(&redis, "jamz");
    let rules = rules(&[(names::REDIS_URL, url.as_str())]);
    set_user(&redis, "jamz", &rules);
    redis.command(&["ACL", "SETUSER", "jamz", "-hset"]);
    let pod = TestPod::joined(&url).await;
    await_until("the refusal shows", PATIENCE, || {
        pod.app.refusal().is_some()
    })
    .await;
    let refusal = pod.app.refusal().expect("awaited");
    let is_told = refusal.contains("keep sessions") && refusal.contains("+hset");
    assert!(is_told && !refusal.contains("pw"), "{refusal}");
    let address = pod.url.trim_start_matches("http://").to_owned();
    let (_, health) = get(&address, "/health").await;
    for part in ["\"degraded\":true", "\"refused\":true"] {
        assert!(health.contains(part), "{health}");
    }
    // Anybody may ask there.
    assert!(!health.contains("hset"), "{health}");
    redis.command(&["ACL", "SETUSER", "jamz", "+hset"]);
    await_until("the refusal is gone", PATIENCE, || {
        pod.app.refusal().is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_prefixes_on_one_redis_never_meet() {
    let redis = RedisServer::start();
    let keys = ["socket.io", "other:app"];
    let mut houses = Vec::new();
    for (user, key) in ["one", "two"].into_iter().zip(keys) {
        let url = url(&redis, user);
        let environment = [(names::REDIS_URL, url.as_str()), (names::REDIS_KEY, key)];
        // Neither may touch what the other has: what crossed would be refused.
        set_user(&redis, user, &rules(&environment));
        let pods = [
            TestPod::start(&environment).await,
            TestPod::start(&environment).await,
        ];
        for pod in &pods {
            pod.await_link().await;
        }
        houses.push(pods);
    }
    let mut stranger = houses[1][0].client().await;
    stranger.join("s1", None).await;
    play(&houses[0]).await;
    let heard = stranger.drain().await;
    let changes = heard.iter().filter(|(name, _)| name.contains("control"));
    assert_eq!(changes.count(), 0, "{heard:?}");
    play(&houses[1]).await;
    for pod in houses.iter().flatten() {
        assert_eq!(pod.app.refusal(), None);
    }
    assert_eq!(redis.command(&["ACL", "LOG"]), "");
    let mut stored: Vec<_> = redis
        .command(&["KEYS", "*s1"])
        .lines()
        .map(str::to_owned)
        .collect();
    stored.sort();
    assert_eq!(stored, ["jamz:other:app:session:s1", "jamz:session:s1"]);
}
