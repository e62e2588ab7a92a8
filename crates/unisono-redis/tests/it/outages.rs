//! What the link does when Redis is away, comes back, hangs, or cuts it off.

use std::time::{Duration, Instant};

use bytes::Bytes;
use unisono_cluster::{Adapter, Broker, LinkState, PublishError, Subscription, SubscriptionMode};
use unisono_redis::RedisConfig;
use unisono_test::{RedisServer, await_until};

use crate::support::{LIMIT, Node, await_crossing};

const SHARDED: Adapter = Adapter::Sharded(SubscriptionMode::Dynamic);

async fn two_nodes(server: &RedisServer, adapter: Adapter) -> (Node, Node) {
    let url = server.url();
    let one = Node::up_speaking(&url, adapter).await;
    (one, Node::up_speaking(&url, adapter).await)
}

/// What the inbox was told. Whether the link was up before it was attached is chance.
fn states_once_up(node: &Node) -> Vec<LinkState> {
    let mut states = node.recorder.states();
    states.retain(|&state| state != LinkState::Connecting);
    states
}

/// What is promised: events cross nodes again this soon after Redis is back.
const BACK_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn starts_without_redis_and_joins_when_it_appears() {
    let mut server = RedisServer::stopped();
    let (one, two) = (Node::start(&server.url()), Node::start(&server.url()));
    one.await_state(LinkState::Down).await;
    two.await_state(LinkState::Down).await;
    assert!(one.broker.last_error().is_some());
    server.restart();
    let back = Instant::now();
    await_crossing(&one, &two, "hello").await;
    assert!(back.elapsed() < BACK_WITHIN, "{:?}", back.elapsed());
    assert_eq!(
        one.broker.stats().reconnects,
        0,
        "the first time is no reconnect"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn heals_after_a_crash_of_redis() {
    heals_after_a_crash_of_redis_speaking(Adapter::Classic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heals_after_a_crash_of_redis_sharded() {
    heals_after_a_crash_of_redis_speaking(SHARDED).await;
}

async fn heals_after_a_crash_of_redis_speaking(adapter: Adapter) {
    let mut server = RedisServer::start();
    let (one, two) = two_nodes(&server, adapter).await;
    await_crossing(&one, &two, "before").await;
    server.kill9();
    one.await_state(LinkState::Down).await;
    two.await_state(LinkState::Down).await;
    one.broker
        .subscribe(Subscription::Channel("made while away".to_owned()));
    server.restart();
    let back = Instant::now();
    await_crossing(&one, &two, "one to two").await;
    await_crossing(&two, &one, "two to one").await;
    assert!(back.elapsed() < BACK_WITHIN, "{:?}", back.elapsed());
    two.broker
        .publish("made while away", Bytes::from_static(b"x"))
        .expect("the link is up");
    one.recorder.await_text("made while away", "x").await;
    assert_eq!(one.broker.stats().reconnects, 1);
    assert_eq!(
        states_once_up(&one),
        [
            LinkState::Subscribed,
            LinkState::Down,
            LinkState::Subscribed
        ],
        "each change is told once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_a_hanging_redis_and_heals_when_it_goes_on() {
    notices_a_hanging_redis_and_heals_when_it_goes_on_speaking(Adapter::Classic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_a_hanging_redis_and_heals_when_it_goes_on_sharded() {
    notices_a_hanging_redis_and_heals_when_it_goes_on_speaking(SHARDED).await;
}

async fn notices_a_hanging_redis_and_heals_when_it_goes_on_speaking(adapter: Adapter) {
    let server = RedisServer::start();
    let (one, two) = two_nodes(&server, adapter).await;
    await_crossing(&one, &two, "before").await;
    one.broker.flush().await;
    server.stop();
    let stopped = Instant::now();
    one.await_state(LinkState::Deaf).await;
    assert!(
        stopped.elapsed() < Duration::from_secs(4),
        "{:?}",
        stopped.elapsed()
    );
    assert!(one.broker.stats().probes_failed > 0);
    // Connecting hangs too: the link is down for good until Redis goes on.
    one.await_state(LinkState::Down).await;
    two.await_state(LinkState::Down).await;
    server.cont();
    let back = Instant::now();
    await_crossing(&one, &two, "after").await;
    await_crossing(&two, &one, "and back").await;
    assert!(back.elapsed() < BACK_WITHIN, "{:?}", back.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn heals_after_being_cut_off() {
    heals_after_being_cut_off_speaking(Adapter::Classic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heals_after_being_cut_off_sharded() {
    heals_after_being_cut_off_speaking(SHARDED).await;
}

async fn heals_after_being_cut_off_speaking(adapter: Adapter) {
    let server = RedisServer::start();
    let (one, two) = two_nodes(&server, adapter).await;
    for kind in ["pubsub", "normal"] {
        let reconnects = one.broker.stats().reconnects;
        server.command(&["CLIENT", "KILL", "TYPE", kind]);
        // The next publish may be the first to touch a dead connection, and is then given up; the one after it is not.
        await_until("the link was replaced", LIMIT, || {
            one.broker.stats().reconnects > reconnects
        })
        .await;
        await_crossing(&one, &two, kind).await;
        await_crossing(&two, &one, &format!("{kind} back")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn suspicion_replaces_the_connections() {
    let server = RedisServer::start();
    let node = Node::up(&server.url()).await;
    node.recorder.await_state(LinkState::Subscribed).await;
    // Too young a link is not suspected; an older one is.
    await_until("the link was replaced", LIMIT, || {
        node.broker.suspect();
        node.broker.stats().reconnects == 1
    })
    .await;
    node.await_state(LinkState::Subscribed).await;
    assert_eq!(
        states_once_up(&node),
        [
            LinkState::Subscribed,
            LinkState::Deaf,
            LinkState::Subscribed
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_what_waited_in_order() {
    let mut server = RedisServer::start();
    let (one, two) = (Node::up(&server.url()).await, Node::up(&server.url()).await);
    server.kill9();
    one.await_state(LinkState::Down).await;
    two.await_state(LinkState::Down).await;
    let config = RedisConfig::parse(&server.url())
        .expect("valid")
        .publish_buffer(1 << 20, 1_000, Duration::from_secs(60));
    let patient = Node::start_with(config);
    let texts: Vec<_> = (0..600).map(|number| number.to_string()).collect();
    texts.iter().for_each(|text| patient.publish(text));
    assert_eq!(patient.broker.stats().buffered_messages, 600);
    server.restart();
    patient.broker.flush().await;
    assert_eq!(patient.broker.stats().published, 600);
    // Its own subscription was in effect before it sent anything.
    patient.await_text("599").await;
    assert_eq!(patient.texts(), texts);
}

#[tokio::test(flavor = "multi_thread")]
async fn drops_what_waited_too_long_or_is_too_much_and_counts_it() {
    let mut server = RedisServer::stopped();
    let config = RedisConfig::parse(&server.url())
        .expect("valid")
        .publish_buffer(1 << 20, 2, Duration::from_millis(100));
    let node = Node::start_with(config);
    node.publish("too old");
    node.publish("too old as well");
    assert_eq!(
        node.broker.publish("io#/#", Bytes::new()),
        Err(PublishError::BufferFull)
    );
    await_until("both are dropped", LIMIT, || {
        node.broker.stats().dropped_expired == 2
    })
    .await;
    server.restart();
    node.await_state(LinkState::Subscribed).await;
    node.publish("fresh");
    node.await_text("fresh").await;
    assert_eq!(node.texts(), ["fresh"]);
    let stats = node.broker.stats();
    assert_eq!(
        (
            stats.dropped_buffer_full,
            stats.dropped_expired,
            stats.buffered_bytes
        ),
        (1, 2, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_reported_without_showing_it() {
    let server = RedisServer::start_with(&["--requirepass", "right"]);
    let address = format!("127.0.0.1:{}", server.port());
    let wrong = Node::start(&format!("redis://:wrong-secret@{address}"));
    wrong.await_state(LinkState::Down).await;
    let error = wrong.broker.last_error().expect("there was an error");
    assert!(!error.contains("wrong-secret"), "{error}");
    let right = Node::start(&format!("redis://:right@{address}"));
    right.await_state(LinkState::Subscribed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_certificates_are_checked() {
    let (server, certificate) = RedisServer::start_tls();
    let config = RedisConfig::parse(&server.tls_url()).expect("valid");
    let trusting = Node::start_with(config.clone().root_certificates(&certificate));
    trusting.await_state(LinkState::Subscribed).await;
    trusting.publish("secret");
    trusting.await_text("secret").await;
    let doubting = Node::start_with(config.clone());
    doubting.await_state(LinkState::Down).await;
    let error = doubting.broker.last_error().expect("there was an error");
    assert!(error.contains("certificate"), "{error}");
    let confused = Node::start_with(config.root_certificates(b"no certificate"));
    confused.await_state(LinkState::Down).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_everything() {
    let server = RedisServer::start();
    let node = Node::up(&server.url()).await;
    let recorders = std::sync::Arc::downgrade(&node.recorder);
    let Node { broker, recorder } = node;
    broker.close();
    drop((broker, recorder));
    await_until("the inbox is let go", LIMIT, || {
        recorders.strong_count() == 0
    })
    .await;
    await_until("the connections are closed", LIMIT, || {
        // The one that asks is the only one left.
        server
            .command(&["CLIENT", "LIST"])
            .lines()
            .filter(|line| line.contains("id="))
            .count()
            == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_before_a_broker_was_closed_goes_out() {
    const MESSAGES: usize = 1_000;
    let server = RedisServer::start();
    let (one, two) = (Node::up(&server.url()).await, Node::up(&server.url()).await);
    let said: Vec<_> = (0..MESSAGES).map(|number| number.to_string()).collect();
    said.iter().for_each(|text| one.publish(text));
    one.broker.close();
    let payload = Bytes::from_static(b"late");
    let late = one.broker.publish("io#/#", payload);
    assert_eq!(late, Err(PublishError::Closed));
    two.await_text(&said[MESSAGES - 1]).await;
    assert_eq!(two.texts(), said);
    await_until("its connections are gone", LIMIT, || {
        server.command(&["PUBSUB", "NUMPAT"]) == "1"
    })
    .await;
    // Nor does a Redis that hangs keep them for ever.
    two.publish("in vain");
    server.stop();
    two.broker.close();
    server.cont();
    await_until("those of the other are gone too", LIMIT, || {
        server.command(&["PUBSUB", "NUMPAT"]) == "0"
    })
    .await;
}
