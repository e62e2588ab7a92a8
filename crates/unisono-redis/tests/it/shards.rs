//! The sharded adapter on a Redis Cluster: channels live where their slots are, and move with them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use unisono_cluster::{Adapter, Broker, LinkState, Subscription, SubscriptionMode};
use unisono_redis::redis::Script;
use unisono_redis::{Emitter, RedisConfig};
use unisono_test::{RedisCluster, RedisServer, await_until};

use crate::support::{LIMIT, Node};

const SHARDED: Adapter = Adapter::Sharded(SubscriptionMode::Dynamic);

/// From the moment at which the cluster has settled again.
const BACK_WITHIN: Duration = Duration::from_secs(8);

/// A room's channel that the node `at` of the cluster serves.
fn channel_at(cluster: &RedisCluster, at: usize) -> String {
    let names = (0..).map(|number| format!("io#/#room-{number}#"));
    let mut of_it = names.filter(|name| cluster.owner(name) == at);
    of_it.next().expect("a third of all")
}

/// One for each master.
fn channels(cluster: &RedisCluster) -> Vec<String> {
    let masters = 0..RedisCluster::MASTERS;
    masters.map(|at| channel_at(cluster, at)).collect()
}

fn subscribe(node: &Node, channels: &[String]) {
    for channel in channels {
        let subscription = Subscription::Channel(channel.clone());
        node.broker.subscribe(subscription);
    }
}

fn publish(node: &Node, channel: &str, text: &str) {
    let payload = Bytes::copy_from_slice(text.as_bytes());
    let published = node.broker.publish(channel, payload);
    published.expect("the message is accepted");
}

async fn up(cluster: &RedisCluster) -> Node {
    Node::up_speaking(&cluster.url(""), SHARDED).await
}

/// Says it until it is heard, on each of the channels.
async fn await_crossing(from: &Node, to: &Node, channels: &[String], text: &str) {
    for channel in channels {
        await_until(&format!("{text:?} crosses on {channel}"), LIMIT, || {
            publish(from, channel, text);
            to.recorder.texts(channel).iter().any(|seen| seen == text)
        })
        .await;
    }
}

/// The shard that no link is on for its commands too, which all are at the first master.
const LAST: usize = RedisCluster::MASTERS - 1;

#[tokio::test(flavor = "multi_thread")]
async fn every_shard_carries_its_channels_in_order_and_is_counted() {
    const MESSAGES: usize = 500;
    let cluster = RedisCluster::start(false).await;
    let (one, two) = (up(&cluster).await, up(&cluster).await);
    let channels = channels(&cluster);
    subscribe(&one, &channels);
    subscribe(&two, &channels);
    assert_eq!(two.broker.count_each(&channels).await, Ok(vec![2; 3]));
    for number in 0..MESSAGES {
        for channel in &channels {
            publish(&one, channel, &number.to_string());
        }
    }
    let expected: Vec<_> = (0..MESSAGES).map(|number| number.to_string()).collect();
    for node in [&one, &two] {
        for channel in &channels {
            await_until("all have come", LIMIT, || {
                node.recorder.texts(channel).len() >= MESSAGES
            })
            .await;
            assert_eq!(node.recorder.texts(channel), expected);
        }
    }
    one.broker.flush().await;
    let stats = one.broker.stats();
    assert_eq!((stats.refused, stats.unconfirmed), (0, 0));
    assert_eq!(stats.published, (MESSAGES * channels.len()) as u64);
    for channel in &channels {
        let subscription = Subscription::Channel(channel.clone());
        two.broker.unsubscribe(&subscription);
    }
    assert_eq!(two.broker.count_each(&channels).await, Ok(vec![1; 3]));
    for node in [&one, &two] {
        assert_eq!(node.broker.stats().reconnects, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_is_followed_when_its_slot_moves_under_traffic() {
    let cluster = RedisCluster::start(false).await;
    let (one, two) = (up(&cluster).await, up(&cluster).await);
    let channels = channels(&cluster);
    subscribe(&one, &channels);
    subscribe(&two, &channels);
    await_crossing(&one, &two, &channels, "before").await;
    let moved = &channels[LAST];
    cluster
        .move_slot(moved, 0, async || {
            publish(&one, moved, "between");
            two.recorder.await_text(moved, "between").await;
        })
        .await;
    await_crossing(&one, &two, &channels, "after").await;
    await_crossing(&two, &one, &channels, "and back").await;
    for node in [&one, &two] {
        assert!(
            node.broker.stats().reconnects > 0,
            "it may have missed something"
        );
        assert_eq!(node.broker.state(), LinkState::Subscribed);
    }
    assert_eq!(two.broker.count(moved).await, Ok(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_because_its_slot_has_moved_is_sent_on() {
    let cluster = RedisCluster::start(false).await;
    let (one, two) = (up(&cluster).await, up(&cluster).await);
    let channel = channel_at(&cluster, LAST);
    // Only one of them listens there, and has to follow it. The other finds out by publishing.
    subscribe(&two, std::slice::from_ref(&channel));
    assert_eq!(one.broker.count(&channel).await.map(|_| ()), Ok(()));
    assert_eq!(two.broker.count(&channel).await, Ok(1));
    cluster.move_slot(&channel, 0, async || {}).await;
    await_until("the listener is there again", LIMIT, || {
        two.broker.stats().reconnects > 0 && two.broker.state().is_up()
    })
    .await;
    for number in 0..3 {
        publish(&one, &channel, &number.to_string());
    }
    two.recorder.await_text(&channel, "2").await;
    assert_eq!(two.recorder.texts(&channel), ["0", "1", "2"]);
    one.broker.flush().await;
    let stats = one.broker.stats();
    assert_eq!(
        (stats.refused, stats.unconfirmed, stats.reconnects),
        (0, 0, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_dies_is_followed_to_its_replica() {
    let mut cluster = RedisCluster::start(true).await;
    let (one, two) = (up(&cluster).await, up(&cluster).await);
    let channels = channels(&cluster);
    subscribe(&one, &channels);
    subscribe(&two, &channels);
    await_crossing(&one, &two, &channels, "before").await;
    cluster.nodes()[LAST].kill9();
    one.await_not_up().await;
    two.await_not_up().await;
    cluster.await_settled().await;
    let settled = Instant::now();
    await_crossing(&one, &two, &channels, "after").await;
    await_crossing(&two, &one, &channels, "and back").await;
    println!(
        "events cross again {:?} after the cluster has settled",
        settled.elapsed()
    );
    assert!(settled.elapsed() < BACK_WITHIN, "{:?}", settled.elapsed());
    assert_eq!(cluster.owner(&channels[LAST]), LAST + RedisCluster::MASTERS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_hangs_is_noticed_while_the_others_are_lively() {
    let mut cluster = RedisCluster::start(false).await;
    let node = up(&cluster).await;
    let channels = channels(&cluster);
    subscribe(&node, &channels);
    await_crossing(&node, &node, &channels, "before").await;
    // A publish without an answer would be noticed too.
    node.broker.flush().await;
    let says = |server: &RedisServer| server.command(&["SPUBLISH", &channels[0], "alive"]);
    cluster.nodes()[LAST].stop();
    let stopped = Instant::now();
    await_until("it is noticed", LIMIT, || {
        says(&cluster.nodes()[0]);
        node.recorder.states().last() == Some(&LinkState::Deaf)
    })
    .await;
    assert!(
        stopped.elapsed() < Duration::from_secs(4),
        "{:?}",
        stopped.elapsed()
    );
    cluster.nodes()[LAST].cont();
    await_crossing(&node, &node, &channels, "after").await;
    assert_eq!(node.broker.state(), LinkState::Subscribed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_has_not_heard_of_a_move_is_left() {
    let mut cluster = RedisCluster::start(false).await;
    let (one, two) = (up(&cluster).await, up(&cluster).await);
    let channels = channels(&cluster);
    let moved = &channels[LAST];
    subscribe(&one, &channels);
    subscribe(&two, &channels);
    await_crossing(&one, &two, &channels, "before").await;
    let ids: Vec<_> = cluster
        .nodes()
        .iter()
        .map(|node| node.command(&["CLUSTER", "MYID"]))
        .collect();
    // From now on it takes no word from the others, and goes on as before.
    for id in &ids[..LAST] {
        cluster.nodes()[LAST].command(&["CLUSTER", "FORGET", id]);
    }
    let slot = cluster.nodes()[0].command(&["CLUSTER", "KEYSLOT", moved]);
    // So that the first may say with more right than the last that it is its own.
    cluster.nodes()[0].command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[LAST]]);
    for at in 0..LAST {
        cluster.nodes()[at].command(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids[0]]);
    }
    await_until("both listen where it is now", LIMIT, || {
        let count = cluster.nodes()[0].command(&["PUBSUB", "SHARDNUMSUB", moved]);
        count.ends_with("\n2")
    })
    .await;
    await_crossing(&one, &two, &channels[..LAST], "after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_are_enough_on_every_shard() {
    let mut cluster = RedisCluster::start(false).await;
    let config = RedisConfig::parse(&cluster.url("pod:secret@"))
        .expect("valid")
        .speaking(SHARDED);
    let rules = format!(
        "ACL SETUSER pod on >secret -@all resetchannels &io#/#* ~io* +evalsha +script|load {}",
        config.acl_rules()
    );
    let words: Vec<_> = rules.split_whitespace().collect();
    let at_last = channel_at(&cluster, LAST);
    let (last, others) = cluster.nodes().split_last_mut().expect("three");
    for server in others {
        server.command(&words);
    }
    // Users are not replicated: one node may not know them.
    let node = Node::start_with(config);
    await_until("it is not let in", LIMIT, || {
        node.broker.last_error().is_some()
    })
    .await;
    let error = node.broker.last_error().expect("there is one");
    assert!(error.contains(&last.port().to_string()), "{error}");
    last.command(&words);
    node.await_state(LinkState::Subscribed).await;
    subscribe(&node, std::slice::from_ref(&at_last));
    publish(&node, &at_last, "x");
    node.recorder.await_text(&at_last, "x").await;
    // A script publishes where its key is.
    let script = Script::new("return redis.call('SPUBLISH', KEYS[1], 'told')");
    let told = node
        .broker
        .commander()
        .eval(&script, &[&at_last], &[])
        .await;
    told.expect("it runs");
    node.recorder.await_text(&at_last, "told").await;
    assert_eq!(node.broker.count(&at_last).await, Ok(1));
    assert_eq!(node.broker.refusal(), None);
    for server in cluster.nodes() {
        let log = server.command(&["ACL", "LOG"]);
        let is_login = |log: &str| log.is_empty() || log.contains("auth");
        assert!(is_login(&log), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_lets_nobody_leave_costs_the_others_nothing() {
    let mut cluster = RedisCluster::start(false).await;
    let node = up(&cluster).await;
    let channels = channels(&cluster);
    subscribe(&node, &channels);
    assert_eq!(node.broker.count_each(&channels).await, Ok(vec![1; 3]));
    let set = |server: &RedisServer, rule| server.command(&["ACL", "SETUSER", "default", rule]);
    set(&cluster.nodes()[LAST], "-sunsubscribe");
    for channel in &channels {
        let subscription = Subscription::Channel(channel.clone());
        node.broker.unsubscribe(&subscription);
    }
    await_until("the refusal shows", LIMIT, || {
        node.broker.refusal().is_some()
    })
    .await;
    assert_eq!(node.broker.count_each(&channels).await, Ok(vec![0, 0, 1]));
    set(&cluster.nodes()[LAST], "+sunsubscribe");
    subscribe(&node, &channels);
    assert_eq!(node.broker.count_each(&channels).await, Ok(vec![1; 3]));
    await_crossing(&node, &node, &channels, "still").await;
    assert_eq!(node.broker.stats().reconnects, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emitter_publishes_at_the_owner_and_follows_it() {
    let cluster = RedisCluster::start(false).await;
    let node = up(&cluster).await;
    let config = RedisConfig::parse(&cluster.url("")).expect("valid");
    let emitter = Emitter::new(config.speaking(SHARDED), "io");
    let channels = channels(&cluster);
    subscribe(&node, &channels);
    assert_eq!(node.broker.count(&channels[LAST]).await, Ok(1));
    let emit = async |channel: &str, number: u32| {
        let room = channel.trim_start_matches("io#/#").trim_end_matches('#');
        emitter
            .to(room)
            .emit("e", &number)
            .await
            .expect("it is taken")
    };
    for channel in &channels {
        assert_eq!(emit(channel, 1).await, 1, "{channel}");
    }
    let moved = &channels[LAST];
    cluster.move_slot(moved, 0, async || {}).await;
    await_until("the node is there again", LIMIT, || {
        node.broker.stats().reconnects > 0 && node.broker.state().is_up()
    })
    .await;
    assert_eq!(emit(moved, 2).await, 1);
    await_until("both came", LIMIT, || node.recorder.texts(moved).len() == 2).await;
}

/// How many connections to this port have something that its owner has not read.
fn unread(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("this is Linux");
    let local = format!(":{port:04X}");
    let is_unread = |line: &&str| {
        let words: Vec<_> = line.split_whitespace().collect();
        words[1].ends_with(&local) && words[3] == "01" && !words[4].ends_with(":00000000")
    };
    table.lines().skip(1).filter(is_unread).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_when_a_slot_moves_is_not_taken_for_published() {
    let mut cluster = RedisCluster::start(false).await;
    // It listens there too, so Redis tells it of the move ahead of its answer.
    let node = up(&cluster).await;
    let channel = channel_at(&cluster, LAST);
    subscribe(&node, std::slice::from_ref(&channel));
    await_crossing(&node, &node, std::slice::from_ref(&channel), "before").await;
    node.broker.flush().await;
    let before = node.broker.stats();
    let nodes = cluster.nodes();
    let (first, last) = (&nodes[0], &nodes[LAST]);
    let id = |server: &RedisServer| server.command(&["CLUSTER", "MYID"]);
    let slot = first.command(&["CLUSTER", "KEYSLOT", &channel]);
    first.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(last)]);
    let mut operator = TcpStream::connect(("127.0.0.1", last.port())).expect("it listens");
    operator.write_all(b"PING\r\n").expect("it reads");
    operator.read_exact(&mut [0; 7]).expect("it answers");
    let leave = format!("CLUSTER SETSLOT {slot} NODE {}\r\n", id(first));
    // It reads both when it goes on, in this order.
    last.stop();
    operator.write_all(leave.as_bytes()).expect("it fits");
    await_until("the first is there", LIMIT, || unread(last.port()) >= 1).await;
    publish(&node, &channel, "in flight");
    await_until("both are there", LIMIT, || unread(last.port()) >= 2).await;
    last.cont();
    first.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &id(first)]);
    await_crossing(&node, &node, std::slice::from_ref(&channel), "after").await;
    node.broker.flush().await;
    let stats = node.broker.stats();
    assert_eq!(stats.unconfirmed, before.unconfirmed + 1, "{stats:?}");
    let heard = node.recorder.texts(&channel);
    assert!(!heard.contains(&"in flight".to_owned()), "{heard:?}");
}
