//! Ways to Redis that are slow, closed, or lead where this process may not be.

use std::time::{Duration, Instant};

use unisono_cluster::{Broker, LinkState};
use unisono_redis::RedisConfig;
use unisono_test::{Proxy, RedisCluster, RedisSentinels, RedisServer, Way, await_until};

use crate::support::{LIMIT, Node, await_crossing};

/// From a master behind a proxy that goes silent to events on another one, where nobody has to take over first.
const ELSEWHERE_WITHIN: Duration = Duration::from_secs(8);

/// That a node hears itself and counts.
async fn check_up(node: &Node) {
    node.await_state(LinkState::Subscribed).await;
    node.publish("there and back");
    node.await_text("there and back").await;
    assert_eq!(node.broker.count("nobody").await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_comes_up_over_a_slow_path() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    // More than an attempt has time for at first, less than a probe has.
    proxy.set(Way::Slow(Duration::from_millis(390)));
    let node = Node::start(&format!("redis://127.0.0.1:{}", proxy.port()));
    check_up(&node).await;
    let stats = node.broker.stats();
    assert!(stats.connects_failed > 0, "{stats:?}");
    assert_eq!(stats.reconnects, 0, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_behind_a_slow_path_are_heard() {
    let mut redis = RedisSentinels::start().await;
    let mut url = redis.url("");
    let mut proxies = Vec::new();
    for sentinel in redis.sentinels() {
        let proxy = Proxy::to(sentinel.port()).await;
        proxy.set(Way::Slow(Duration::from_millis(250)));
        url = url.replace(&sentinel.port().to_string(), &proxy.port().to_string());
        proxies.push(proxy);
    }
    check_up(&Node::start(&url)).await;
}

/// A cluster whose nodes are known by the ports of proxies before them.
async fn behind_proxies(cluster: &mut RedisCluster) -> Vec<Proxy> {
    let mut proxies = Vec::new();
    for node in cluster.nodes() {
        let proxy = Proxy::to(node.port()).await;
        let port = proxy.port().to_string();
        node.command(&["CONFIG", "SET", "cluster-announce-port", &port]);
        proxies.push(proxy);
    }
    await_until("all know each other by the proxies", LIMIT, || {
        cluster.nodes().iter().all(|node| {
            let shown = node.command(&["CLUSTER", "SLOTS"]);
            let shows = |proxy: &Proxy| shown.lines().any(|line| line == proxy.port().to_string());
            proxies.iter().all(shows)
        })
    })
    .await;
    proxies
}

fn url_of(proxies: &[Proxy]) -> String {
    let urls = proxies
        .iter()
        .map(|proxy| format!("redis://127.0.0.1:{}", proxy.port()));
    urls.collect::<Vec<_>>().join(",")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_behind_a_slow_path_is_found() {
    let mut cluster = RedisCluster::start(false).await;
    let proxies = behind_proxies(&mut cluster).await;
    for proxy in &proxies {
        proxy.set(Way::Slow(Duration::from_millis(200)));
    }
    let node = Node::start(&url_of(&proxies));
    node.await_state(LinkState::Subscribed).await;
    node.publish("there and back");
    node.await_text("there and back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_place_that_is_well_and_out_of_reach_is_done_without_and_returned_to() {
    let mut cluster = RedisCluster::start(false).await;
    let proxies = behind_proxies(&mut cluster).await;
    let one = Node::up(&url_of(&proxies)).await;
    let two = Node::up(&url_of(&proxies)).await;
    await_crossing(&one, &two, "before").await;
    proxies[0].set(Way::Silent);
    let silent = Instant::now();
    one.await_not_up().await;
    two.await_not_up().await;
    await_crossing(&one, &two, "there").await;
    await_crossing(&two, &one, "and back").await;
    assert!(
        silent.elapsed() < ELSEWHERE_WITHIN,
        "{:?}",
        silent.elapsed()
    );
    let reconnects = || [&one, &two].map(|node| node.broker.stats().reconnects);
    let before = reconnects();
    proxies[0].set(Way::Open);
    await_until("both are at the first", Duration::from_secs(60), || {
        let clients = cluster.nodes()[0].command(&["CLIENT", "LIST"]);
        reconnects() != before && clients.matches("name=unisono-bus").count() == 2
    })
    .await;
    one.await_state(LinkState::Subscribed).await;
    two.await_state(LinkState::Subscribed).await;
    assert_eq!(reconnects(), before.map(|count| count + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_place_that_refuses_a_node_does_not_take_it_from_where_it_is() {
    let mut cluster = RedisCluster::start(false).await;
    for (at, server) in cluster.nodes().iter().enumerate() {
        // Users are not replicated, so a right may be missing on one node alone.
        let publishing = if at == 0 { "-publish" } else { "+publish" };
        server.command(&[
            "ACL", "SETUSER", "pod", "on", ">secret", "+@all", "~*", "&*", publishing,
        ]);
    }
    let config = RedisConfig::parse(&cluster.url("pod:secret@")).expect("valid");
    let node = Node::start_with(config);
    node.await_state(LinkState::Subscribed).await;
    let refused = |cluster: &mut RedisCluster| {
        let log = cluster.nodes()[0].command(&["ACL", "LOG"]);
        log.lines()
            .skip_while(|line| *line != "count")
            .nth(1)
            .and_then(|count| count.parse::<u32>().ok())
    };
    // Once before it came up elsewhere, and again when it looks whether it may return.
    assert_eq!(refused(&mut cluster), Some(1));
    await_until("it has tried to return", Duration::from_secs(40), || {
        refused(&mut cluster) == Some(2)
    })
    .await;
    node.publish("still here");
    node.await_text("still here").await;
    assert_eq!(node.broker.stats().reconnects, 0);
}
