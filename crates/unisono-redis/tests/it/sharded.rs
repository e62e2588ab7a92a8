//! What only sharded publish/subscribe has: a channel for each room, and channels that move.

use std::time::Instant;

use bytes::Bytes;
use unisono_cluster::{Adapter, Broker, LinkState, Subscription, SubscriptionMode};
use unisono_redis::redis::Script;
use unisono_test::{RedisServer, await_until};

use crate::support::{LIMIT, Node};

const SHARDED: Adapter = Adapter::Sharded(SubscriptionMode::Dynamic);

/// Rooms of one node.
const ROOMS: usize = 10_000;

fn room(number: usize) -> Subscription {
    Subscription::Channel(format!("io#/#room-{number}#"))
}

/// As seen from outside: channels that somebody listens to.
fn channels(server: &RedisServer) -> usize {
    let channels = server.command(&["PUBSUB", "SHARDCHANNELS", "io#*"]);
    channels.lines().count()
}

async fn await_channels(server: &RedisServer, expected: usize) {
    let what = format!("{expected} channels");
    await_until(&what, LIMIT, || channels(server) == expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_rooms_are_followed_and_are_back_after_a_crash() {
    let mut server = RedisServer::start();
    let node = Node::up_speaking(&server.url(), SHARDED).await;
    let start = Instant::now();
    (0..ROOMS).for_each(|number| node.broker.subscribe(room(number)));
    // Waits for all of them to be confirmed.
    assert_eq!(node.broker.count("io#/#room-9999#").await, Ok(1));
    println!("{ROOMS} rooms confirmed after {:?}", start.elapsed());
    await_channels(&server, ROOMS + 1).await;
    (0..ROOMS / 2).for_each(|number| node.broker.unsubscribe(&room(number)));
    assert_eq!(node.broker.count("io#/#room-0#").await, Ok(0));
    await_channels(&server, ROOMS / 2 + 1).await;
    assert_eq!(node.broker.stats().reconnects, 0, "leaving is not losing");

    server.kill9();
    node.await_state(LinkState::Down).await;
    // What comes and goes meanwhile counts as well.
    node.broker.subscribe(room(0));
    node.broker.unsubscribe(&room(9_999));
    server.restart();
    node.await_state(LinkState::Subscribed).await;
    await_channels(&server, ROOMS / 2 + 1).await;
    for (number, heard) in [(0, 1), (1, 0), (9_998, 1), (9_999, 0)] {
        let name = format!("io#/#room-{number}#");
        assert_eq!(node.broker.count(&name).await, Ok(heard), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_are_not_asked_for() {
    let server = RedisServer::start();
    let node = Node::up_speaking(&server.url(), SHARDED).await;
    let pattern = Subscription::Pattern("io#*".to_owned());
    node.broker.subscribe(pattern.clone());
    node.publish("x");
    node.await_text("x").await;
    assert_eq!(server.command(&["PUBSUB", "NUMPAT"]), "0");
    node.broker.unsubscribe(&pattern);
    assert_eq!(node.broker.count("io#/#").await, Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_the_two_adapters_do_not_hear_each_other() {
    let server = RedisServer::start();
    let sharded = Node::up_speaking(&server.url(), SHARDED).await;
    let classic = Node::up(&server.url()).await;
    sharded.publish("sharded");
    classic.publish("classic");
    sharded.await_text("sharded").await;
    classic.await_text("classic").await;
    for broker in [&sharded.broker, &classic.broker] {
        broker.flush().await;
    }
    assert_eq!((sharded.texts().len(), classic.texts().len()), (1, 1));
    assert_eq!(server.command(&["PUBSUB", "NUMSUB", "io#/#"]), "io#/#\n0");
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_publish_to_shard_channels_too() {
    let server = RedisServer::start();
    let node = Node::up_speaking(&server.url(), SHARDED).await;
    let commander = node.broker.commander();
    let script = Script::new("return redis.call(ARGV[1], KEYS[1], ARGV[2])");
    let command = commander.adapter().publish_command().as_bytes();
    let told = commander
        .eval(&script, &["io#/#"], &[command, b"told"])
        .await;
    told.expect("it runs");
    node.await_text("told").await;
}

/// A Redis Cluster of one node, whose slots are all its own.
fn cluster_of_one() -> RedisServer {
    let server = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_moves_is_listened_to_again() {
    let server = cluster_of_one();
    await_until("the cluster is up", LIMIT, || {
        server
            .command(&["CLUSTER", "INFO"])
            .contains("cluster_state:ok")
    })
    .await;
    let node = Node::up_speaking(&server.url(), SHARDED).await;
    // Each channel is in a slot of its own here, so each must be asked for by itself.
    (0..100).for_each(|number| node.broker.subscribe(room(number)));
    assert_eq!(node.broker.count("io#/#room-99#").await, Ok(1));
    let slot = server.command(&["CLUSTER", "KEYSLOT", "io#/#room-7#"]);
    // It is gone, and here again before anybody can ask.
    server.command(&["CLUSTER", "DELSLOTS", &slot]);
    server.command(&["CLUSTER", "ADDSLOTS", &slot]);
    await_until("the link was replaced", LIMIT, || {
        node.broker.stats().reconnects > 0
    })
    .await;
    node.await_state(LinkState::Subscribed).await;
    await_until("the channel is listened to", LIMIT, || {
        let count = server.command(&["PUBSUB", "SHARDNUMSUB", "io#/#room-7#"]);
        count.ends_with("\n1")
    })
    .await;
    node.broker
        .publish("io#/#room-7#", Bytes::from_static(b"x"))
        .expect("the link is up");
    node.recorder.await_text("io#/#room-7#", "x").await;
}
