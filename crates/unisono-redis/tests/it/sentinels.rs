//! The master that sentinels name, and its successor.

use std::time::{Duration, Instant};

use unisono_cluster::{Broker, LinkState, Subscription};
use unisono_redis::RedisConfig;
use unisono_redis::redis::Script;
use unisono_test::{RedisSentinels, RedisServer, await_until};

use crate::support::{LIMIT, Node, await_crossing};

/// From the moment at which the sentinels agree on another master.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(8);

/// That `one` and `two` hear each other, through what both of them subscribed to, and write where `redis` is.
async fn check_together(one: &Node, two: &Node, redis: &RedisServer, text: &str) {
    await_crossing(one, two, &format!("{text} there")).await;
    await_crossing(two, one, &format!("{text} back")).await;
    for (from, to) in [(one, two), (two, one)] {
        let payload = || bytes::Bytes::copy_from_slice(text.as_bytes());
        await_until("the literal subscription works", LIMIT, || {
            from.broker
                .publish("literal", payload())
                .expect("the buffer has room");
            to.recorder.texts("literal").iter().any(|seen| seen == text)
        })
        .await;
    }
    let script = Script::new("return redis.call('SET', KEYS[1], ARGV[1])");
    let commander = one.broker.commander();
    commander
        .eval(&script, &["written"], &[text.as_bytes()])
        .await
        .expect("it is a master");
    assert_eq!(redis.command(&["GET", "written"]), text);
    assert_eq!(one.broker.count("literal").await, Ok(2));
}

async fn pair(url: &str) -> (Node, Node) {
    let (one, two) = (Node::up(url).await, Node::up(url).await);
    for node in [&one, &two] {
        let literal = Subscription::Channel("literal".to_owned());
        node.broker.subscribe(literal);
    }
    (one, two)
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_a_failover() {
    let mut redis = RedisSentinels::start().await;
    let (one, two) = pair(&redis.url("")).await;
    check_together(&one, &two, redis.master().await, "before").await;
    redis.fail_over().await;
    let failed_over = Instant::now();
    // Both sit on the same server again, and that is the new one.
    let master = redis.master().await.port();
    await_until("both are at the new master", LIMIT, || {
        let clients = redis
            .servers()
            .iter()
            .find(|server| server.port() == master);
        let clients = clients
            .expect("it is one of ours")
            .command(&["CLIENT", "LIST"]);
        clients.matches("name=unisono-bus").count() == 2
    })
    .await;
    check_together(&one, &two, redis.master().await, "after").await;
    assert!(
        failed_over.elapsed() < FOLLOWED_WITHIN,
        "{:?}",
        failed_over.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_when_the_master_dies() {
    let mut redis = RedisSentinels::start().await;
    let (one, two) = pair(&redis.url("")).await;
    check_together(&one, &two, redis.master().await, "before").await;
    let master = redis.master().await;
    let dead = master.port();
    master.kill9();
    one.await_state(LinkState::Down).await;
    redis.await_other_than(dead).await;
    let replaced = Instant::now();
    check_together(&one, &two, redis.master().await, "after").await;
    assert!(
        replaced.elapsed() < FOLLOWED_WITHIN,
        "{:?}",
        replaced.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_that_hang_or_are_gone_do_not_matter() {
    let mut redis = RedisSentinels::start().await;
    redis.sentinels()[0].stop();
    redis.sentinels()[1].kill9();
    let started = Instant::now();
    let node = Node::up(&redis.url("")).await;
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    redis.sentinels()[0].cont();
    node.publish("x");
    node.await_text("x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_the_sentinels_left_is_left() {
    let mut redis = RedisSentinels::start().await;
    let node = Node::up(&redis.url("")).await;
    // It still answers and still calls itself a master; only the sentinels know better. So it would be after a partition.
    let elsewhere = RedisServer::start();
    let port = elsewhere.port().to_string();
    for sentinel in redis.sentinels() {
        sentinel.command(&["SENTINEL", "REMOVE", "mymaster"]);
        sentinel.command(&["SENTINEL", "MONITOR", "mymaster", "127.0.0.1", &port, "2"]);
    }
    await_until("the node is at the other server", LIMIT, || {
        elsewhere
            .command(&["CLIENT", "LIST"])
            .contains("name=unisono-bus")
    })
    .await;
    node.await_state(LinkState::Subscribed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_name_and_a_missing_password_are_told() {
    let redis = RedisSentinels::start_with(&[], &["requirepass watchword"]).await;
    let url = redis.url("");
    let closed = Node::start(&url);
    closed.await_state(LinkState::Down).await;
    let refusal = closed.broker.refusal().expect("it is a refusal");
    assert!(
        refusal.contains("sentinel") && refusal.contains("NOAUTH"),
        "{refusal}"
    );
    let config = |url: &str| {
        let config = RedisConfig::parse(url).expect("valid");
        config.sentinel_password("watchword")
    };
    let open = Node::start_with(config(&url));
    open.await_state(LinkState::Subscribed).await;
    assert_eq!(open.broker.refusal(), None);
    let lost = Node::start_with(config(&url.replace("mymaster", "yours")));
    lost.await_state(LinkState::Down).await;
    let error = lost.broker.last_error().expect("there is one");
    assert!(error.contains("\"yours\""), "{error}");
}
