//! What waits through an outage is sent when all are back that were there before it.

use std::time::{Duration, Instant};

use unisono_cluster::{Adapter, Broker, LinkState, Subscription, SubscriptionMode};
use unisono_redis::RedisConfig;
use unisono_test::{Proxy, RedisCluster, RedisServer, Way, await_until};

use crate::support::{LIMIT, Node};

const SHARDED: Adapter = Adapter::Sharded(SubscriptionMode::Dynamic);
/// To which all of them listen.
const MEMBERS: &str = "io-members";
/// How long whoever is back waits for the others.
const BOUND: Duration = Duration::from_millis(1_200);
/// How old a message may become: less than that,
const LITTLE: Duration = Duration::from_millis(1_000);
/// or more than any of these tests lasts.
const LONG: Duration = Duration::from_secs(60);
/// What a busy machine may add.
const BUSY: Duration = Duration::from_millis(1_500);
/// In what happens at once on such a machine.
const SOON: Duration = Duration::from_millis(900);

/// A node that listens to the members' channel as well.
async fn member(port: u16, adapter: Adapter, expected: usize, max_age: Duration) -> Node {
    let url = format!("redis://127.0.0.1:{port}");
    member_at(&url, adapter, expected, max_age).await
}

async fn member_at(url: &str, adapter: Adapter, expected: usize, max_age: Duration) -> Node {
    let config = RedisConfig::parse(url).expect("valid");
    let config = config.speaking(adapter);
    let node = Node::start_with(config.publish_buffer(1 << 20, 10_000, max_age));
    node.broker
        .subscribe(Subscription::Channel(MEMBERS.to_owned()));
    node.broker.expect_listeners(MEMBERS, expected);
    node.await_state(LinkState::Subscribed).await;
    node
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_in_an_outage_reaches_whoever_is_back_later_once() {
    reaches_whoever_is_back_later(Adapter::Classic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_in_an_outage_reaches_whoever_is_back_later_once_sharded() {
    reaches_whoever_is_back_later(SHARDED).await;
}

async fn reaches_whoever_is_back_later(adapter: Adapter) {
    let mut server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let quick = member(server.port(), adapter, 2, LONG).await;
    let slow = member(proxy.port(), adapter, 2, LONG).await;
    server.kill9();
    quick.await_state(LinkState::Down).await;
    slow.await_state(LinkState::Down).await;
    proxy.set(Way::Silent);
    server.restart();
    let texts = numbers(0..600);
    texts[..500].iter().for_each(|text| quick.publish(text));
    quick.await_state(LinkState::Subscribed).await;
    texts[500..].iter().for_each(|text| quick.publish(text));
    // The other is so much later.
    tokio::time::sleep(BOUND / 4).await;
    assert_eq!(quick.broker.stats().buffered_messages, 600);
    proxy.set(Way::Open);
    slow.await_text("599").await;
    assert_eq!(slow.texts(), texts);
    quick.await_text("599").await;
    assert_eq!(quick.texts(), texts);
    // From now on nothing is kept.
    let published = Instant::now();
    quick.publish("at once");
    slow.await_text("at once").await;
    assert!(published.elapsed() < SOON, "{:?}", published.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_before_the_others_are_back_waits_for_them_too() {
    let mut server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let quick = member(server.port(), Adapter::Classic, 2, LONG).await;
    let slow = member(proxy.port(), Adapter::Classic, 2, LONG).await;
    server.kill9();
    quick.await_state(LinkState::Down).await;
    slow.await_state(LinkState::Down).await;
    proxy.set(Way::Silent);
    server.restart();
    // Nothing waits when it is back.
    quick.await_state(LinkState::Subscribed).await;
    tokio::time::sleep(BOUND / 8).await;
    quick.publish("said");
    tokio::time::sleep(BOUND / 8).await;
    assert_eq!(quick.broker.stats().buffered_messages, 1);
    proxy.set(Way::Open);
    slow.await_text("said").await;
    assert_eq!(quick.broker.stats().published, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_lost_again_and_again_does_not_wait_anew_each_time() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port()).await;
    let one = member(proxy.port(), Adapter::Classic, 2, LONG).await;
    let lose = async || {
        let reconnects = one.broker.stats().reconnects;
        proxy.cut();
        let is_back = || one.broker.stats().reconnects > reconnects && one.broker.state().is_up();
        await_until("it is back", LIMIT, is_back).await;
    };
    // The other is not there at all.
    lose().await;
    one.publish("waits");
    for _ in 0..3 {
        assert_eq!(one.texts(), [""; 0]);
        tokio::time::sleep(BOUND * 5 / 12).await;
        lose().await;
    }
    let back = Instant::now();
    one.await_text("waits").await;
    assert!(back.elapsed() < SOON, "{:?}", back.elapsed());
    // Once something is sent, others have their time again.
    lose().await;
    one.publish("once more");
    let back = Instant::now();
    one.await_text("once more").await;
    assert!(back.elapsed() > BOUND / 2, "{:?}", back.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_stays_away_is_waited_for_so_long_and_nothing_grows_too_old_meanwhile() {
    let mut server = RedisServer::start();
    let one = member(server.port(), Adapter::Classic, 2, LITTLE).await;
    let gone = member(server.port(), Adapter::Classic, 2, LITTLE).await;
    server.kill9();
    one.await_state(LinkState::Down).await;
    gone.broker.close();
    server.restart();
    let mut said = 0;
    while one.broker.state() != LinkState::Subscribed {
        one.publish(&said.to_string());
        said += 1;
        // A little of everything up to the moment when it is back.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let back = Instant::now();
    let dropped = one.broker.stats().dropped_expired;
    one.await_text(&(said - 1).to_string()).await;
    let waited = back.elapsed();
    assert!(BOUND / 2 < waited && waited < BOUND + BUSY, "{waited:?}");
    assert_eq!(one.broker.stats().dropped_expired, dropped);
    assert_eq!(one.texts(), numbers(dropped as usize..said));
    // It is known now that the other is gone.
    one.broker.expect_listeners(MEMBERS, 1);
    sends_at_once(&one, &mut server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_there_before_is_waited_for_though_nothing_has_come_from_there() {
    let mut server = RedisServer::start();
    let earlier = member(server.port(), Adapter::Classic, 1, LONG).await;
    let node = member(server.port(), Adapter::Classic, 1, LONG).await;
    let hello = bytes::Bytes::from_static(b"hello");
    node.broker.publish(MEMBERS, hello).expect("accepted");
    node.broker.flush().await;
    earlier.broker.close();
    server.kill9();
    node.await_state(LinkState::Down).await;
    node.publish("waits");
    server.restart();
    node.await_state(LinkState::Subscribed).await;
    let back = Instant::now();
    node.await_text("waits").await;
    assert!(back.elapsed() > BOUND / 2, "{:?}", back.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_alone_waits_for_nobody() {
    let mut server = RedisServer::start();
    let alone = member(server.port(), Adapter::Classic, 1, LONG).await;
    sends_at_once(&alone, &mut server).await;
}

async fn sends_at_once(node: &Node, server: &mut RedisServer) {
    server.kill9();
    node.await_state(LinkState::Down).await;
    node.publish("waits");
    server.restart();
    node.await_state(LinkState::Subscribed).await;
    let back = Instant::now();
    node.await_text("waits").await;
    assert!(back.elapsed() < SOON, "{:?}", back.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_may_not_be_asked_who_is_there_nobody_is_waited_for() {
    let rights = "--user default on nopass ~* &* +@all -pubsub";
    let mut server = RedisServer::start_with(&rights.split(' ').collect::<Vec<_>>());
    let one = member(server.port(), Adapter::Classic, 2, LONG).await;
    let gone = member(server.port(), Adapter::Classic, 2, LONG).await;
    gone.broker.close();
    sends_at_once(&one, &mut server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_redis_cluster_the_others_are_waited_for_as_well() {
    let mut cluster = RedisCluster::start(false).await;
    let url = cluster.url("");
    for adapter in [Adapter::Classic, SHARDED] {
        let mut lose = async |node: &Node| {
            let reconnects = node.broker.stats().reconnects;
            // Classic links meet at one node, sharded ones are at all.
            for server in cluster.nodes() {
                server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            }
            await_until("it is back", LIMIT, || {
                node.broker.stats().reconnects > reconnects && node.broker.state().is_up()
            })
            .await;
            Instant::now()
        };
        let one = member_at(&url, adapter, 2, LONG).await;
        let back = lose(&one).await;
        one.publish("waits");
        one.await_text("waits").await;
        assert!(back.elapsed() > BOUND / 2, "{:?}", back.elapsed());
        let other = member_at(&url, adapter, 2, LONG).await;
        lose(&one).await;
        one.publish("is heard");
        other.await_text("is heard").await;
        assert_eq!(one.broker.stats().published, 2);
    }
}
