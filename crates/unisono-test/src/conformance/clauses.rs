//! The clauses, except that on inboxes which use their broker.

use std::sync::Arc;

use bytes::Bytes;
use unisono_cluster::limits::MAX_BUS_MESSAGE_BYTES;
use unisono_cluster::{Adapter, Broker, CountError, PublishError, Subscription};

use super::{Cluster, FENCE, Maker};
use crate::recorder::Recorder;

fn channel(name: &str) -> Subscription {
    Subscription::Channel(name.to_owned())
}

fn pattern(glob: &str) -> Subscription {
    Subscription::Pattern(glob.to_owned())
}

/// What takes this name: a pattern, where the broker has them.
fn around(broker: &Arc<dyn Broker>, name: &str) -> Subscription {
    match broker.adapter() {
        Adapter::Classic => pattern(&format!("{name}*")),
        Adapter::Sharded(_) => channel(name),
    }
}

/// All listen to these names.
async fn listening(maker: Maker<'_>, names: &[&str]) -> Cluster {
    let cluster = Cluster::new(maker, &[]).await;
    for broker in &cluster.brokers {
        for name in names {
            broker.subscribe(around(broker, name));
        }
    }
    cluster.settle().await;
    cluster
}

/// An inbox hears of the state at once and of every change; the last is an up one.
pub async fn inbox_is_told_the_state(maker: Maker<'_>) {
    let cluster = Cluster::new(maker, &[]).await;
    for (broker, recorder) in cluster.brokers.iter().zip(&cluster.recorders) {
        recorder.await_state(broker.state()).await;
        assert!(
            recorder.states().last().is_some_and(|state| state.is_up()),
            "{:?}",
            recorder.states()
        );
    }
    cluster.end();
}

/// Messages of one publisher arrive everywhere in the order in which it published them, over several channels.
pub async fn one_publisher_keeps_its_order(maker: Maker<'_>) {
    let cluster = listening(maker, &["order-0", "order-1", "order-2"]).await;
    let expected: Vec<_> = (0..500)
        .map(|number| (format!("order-{}", number % 3), number.to_string()))
        .collect();
    for (channel, text) in &expected {
        cluster.publish(1, channel, text);
    }
    cluster.fence(1).await;
    for recorder in &cluster.recorders {
        let seen: Vec<_> = recorder
            .messages()
            .into_iter()
            .filter(|(channel, _)| channel.starts_with("order"))
            .collect();
        let seen: Vec<_> = seen
            .into_iter()
            .map(|(channel, text)| (channel, String::from_utf8_lossy(&text).into_owned()))
            .collect();
        assert_eq!(seen, expected);
    }
    cluster.end();
}

/// All brokers see the messages of all publishers in one and the same order.
pub async fn total_order_is_shared(maker: Maker<'_>) {
    let cluster = listening(maker, &["left", "right"]).await;
    let publish_all = |(index, broker): (usize, &Arc<dyn Broker>)| {
        let broker = broker.clone();
        std::thread::spawn(move || {
            for number in 0..200 {
                let name = if number % 2 == 0 { "left" } else { "right" };
                broker
                    .publish(name, Bytes::from(format!("{index}-{number}")))
                    .expect("the buffer is not full");
            }
        })
    };
    let publishers: Vec<_> = cluster
        .brokers
        .iter()
        .enumerate()
        .map(publish_all)
        .collect();
    for publisher in publishers {
        publisher.join().expect("publishing does not panic");
    }
    for index in 0..cluster.brokers.len() {
        cluster.fence(index).await;
    }
    let seen = |recorder: &Arc<Recorder>| -> Vec<_> {
        recorder
            .messages()
            .into_iter()
            .filter(|(name, _)| name == "left" || name == "right")
            .collect()
    };
    let first = seen(&cluster.recorders[0]);
    assert_eq!(first.len(), 600);
    for recorder in &cluster.recorders[1..] {
        assert!(seen(recorder) == first, "two brokers saw two orders");
    }
    cluster.end();
}

/// A subscribed publisher receives its own messages, once.
pub async fn echo_reaches_the_publisher(maker: Maker<'_>) {
    let cluster = Cluster::new(maker, &[channel("echo")]).await;
    cluster.publish(2, "echo", "hello");
    cluster.fence(2).await;
    for recorder in &cluster.recorders {
        assert_eq!(recorder.texts("echo"), ["hello"]);
    }
    cluster.end();
}

/// A pattern takes what it matches and a literal what it equals; what both match comes once for each; subscribing twice changes nothing.
pub async fn patterns_and_literals(maker: Maker<'_>) {
    let subscriptions = [
        pattern("io#/a\\[b\\]#*"),
        channel("io#/x*#"),
        channel("both"),
        pattern("bo*"),
        pattern("bo*"),
    ];
    let cluster = Cluster::new(maker, &subscriptions).await;
    let all = [
        "io#/a[b]#",
        "io#/a[b]#room#",
        "io#/ab#",
        "io#/x*#",
        "io#/xy#",
        "both",
        "b",
    ];
    for name in all {
        cluster.publish(0, name, "x");
    }
    cluster.fence(0).await;
    for recorder in &cluster.recorders {
        let counts = all.map(|name| recorder.texts(name).len());
        assert_eq!(counts, [1, 1, 0, 1, 0, 2, 0]);
    }
    cluster.end();
}

/// After an unsubscription took effect nothing more comes; other subscriptions are untouched; a new one works again.
pub async fn unsubscribing_ends_delivery(maker: Maker<'_>) {
    let cluster = Cluster::new(maker, &[channel("gone"), channel("kept-1")]).await;
    cluster.brokers[0].unsubscribe(&channel("gone"));
    cluster.brokers[0].unsubscribe(&channel("never there"));
    cluster.settle().await;
    cluster.publish(1, "gone", "1");
    cluster.publish(1, "kept-1", "1");
    cluster.fence(1).await;
    assert_eq!(cluster.recorders[0].texts("gone"), [""; 0]);
    assert_eq!(cluster.recorders[1].texts("gone"), ["1"]);
    assert_eq!(cluster.recorders[0].texts("kept-1"), ["1"]);
    cluster.brokers[0].subscribe(channel("gone"));
    cluster.settle().await;
    cluster.publish(1, "gone", "2");
    cluster.fence(1).await;
    assert_eq!(cluster.recorders[0].texts("gone"), ["2"]);
    cluster.end();
}

/// Subscriptions that come and go without a pause end as they were asked for last, and deliver once.
pub async fn rapid_changes_end_as_said_last(maker: Maker<'_>) {
    let cluster = Cluster::new(maker, &[]).await;
    let broker = &cluster.brokers[0];
    let (stays, goes) = (around(broker, "stays-1"), around(broker, "goes-1"));
    for round in 0..200 {
        broker.subscribe(stays.clone());
        broker.subscribe(goes.clone());
        if round % 20 == 0 {
            tokio::task::yield_now().await;
        }
        broker.unsubscribe(&stays);
        broker.unsubscribe(&goes);
    }
    broker.subscribe(stays);
    cluster.settle().await;
    cluster.publish(1, "stays-1", "x");
    cluster.publish(1, "goes-1", "x");
    cluster.fence(1).await;
    assert_eq!(cluster.recorders[0].texts("stays-1"), ["x"]);
    assert_eq!(cluster.recorders[0].texts("goes-1"), [""; 0]);
    cluster.end();
}

/// Whoever subscribes and then publishes hears it, without a pause in between.
pub async fn publishing_comes_after_subscribing(maker: Maker<'_>) {
    let cluster = Cluster::new(maker, &[]).await;
    for number in 0..100 {
        let name = format!("own-{number}#");
        let broker = &cluster.brokers[0];
        broker.subscribe(around(broker, &name));
        cluster.publish(0, &name, "x");
    }
    cluster.fence(0).await;
    for number in 0..100 {
        let name = format!("own-{number}#");
        assert_eq!(cluster.recorders[0].texts(&name), ["x"], "{name}");
    }
    cluster.end();
}

/// A subscription delivers nothing that was published before it.
pub async fn nothing_from_before(maker: Maker<'_>) {
    let cluster = Cluster::new(maker, &[]).await;
    cluster.publish(0, "late", "before");
    cluster.fence(0).await;
    cluster.brokers[1].subscribe(channel("late"));
    cluster.settle().await;
    cluster.publish(0, "late", "after");
    cluster.fence(0).await;
    assert_eq!(cluster.recorders[1].texts("late"), ["after"]);
    assert_eq!(cluster.recorders[0].texts("late"), [""; 0]);
    cluster.end();
}

/// Payloads are bytes, empty ones too; names may contain anything.
pub async fn any_bytes_and_names(maker: Maker<'_>) {
    let names = ["a#b##", "with space\r\n", "ünïcode ☃", "", "*"];
    let cluster = Cluster::new(maker, &names.map(channel)).await;
    let payloads = [
        Bytes::new(),
        Bytes::from((0..=255).collect::<Vec<u8>>()),
        Bytes::from(vec![7; 200_000]),
    ];
    for name in names {
        for payload in &payloads {
            cluster.brokers[0]
                .publish(name, payload.clone())
                .expect("the message is small");
        }
    }
    cluster.fence(0).await;
    for recorder in &cluster.recorders {
        for name in names {
            let seen: Vec<_> = recorder
                .messages()
                .into_iter()
                .filter(|(channel, _)| channel == name)
                .collect();
            let seen: Vec<_> = seen.into_iter().map(|(_, payload)| payload).collect();
            assert!(seen == payloads, "{name:?}");
        }
    }
    cluster.end();
}

/// A message above the limit of the bus is refused and counted; the largest allowed arrives.
pub async fn oversize_is_refused(maker: Maker<'_>) {
    let cluster = Cluster::new(maker, &[channel("large")]).await;
    let bytes = MAX_BUS_MESSAGE_BYTES + 1;
    let refused = cluster.brokers[0].publish("large", Bytes::from(vec![0; bytes]));
    assert_eq!(refused, Err(PublishError::TooLarge { bytes }));
    assert_eq!(cluster.brokers[0].stats().dropped_too_large, 1);
    let largest = Bytes::from(vec![1; MAX_BUS_MESSAGE_BYTES]);
    assert_eq!(cluster.brokers[0].publish("large", largest), Ok(()));
    cluster.fence(0).await;
    let seen: Vec<_> = cluster.recorders[2]
        .messages()
        .into_iter()
        .filter(|(name, _)| name == "large")
        .collect();
    assert_eq!(
        seen.iter()
            .map(|(_, payload)| payload.len())
            .collect::<Vec<_>>(),
        [MAX_BUS_MESSAGE_BYTES]
    );
    cluster.end();
}

/// Literal subscriptions are counted over the whole bus, each broker's once; those of before the call at once, patterns never.
pub async fn literal_subscribers_are_counted(maker: Maker<'_>) {
    let cluster = Cluster::new(maker, &[]).await;
    if cluster.brokers[0].adapter() == Adapter::Classic {
        for broker in &cluster.brokers {
            broker.subscribe(pattern("coun*"));
        }
    }
    let count = async |broker: usize| cluster.brokers[broker].count("count").await;
    assert_eq!(count(0).await, Ok(0));
    for (index, broker) in cluster.brokers.iter().enumerate() {
        broker.subscribe(channel("count"));
        broker.subscribe(channel("count"));
        broker.subscribe(channel("count-not"));
        assert_eq!(count(index).await, Ok(index + 1));
    }
    cluster.settle().await;
    for index in 0..3 {
        assert_eq!(count(index).await, Ok(3));
    }
    cluster.brokers[1].unsubscribe(&channel("count"));
    assert_eq!(count(1).await, Ok(2));
    cluster.brokers[0].close();
    assert_eq!(count(0).await, Err(CountError));
    let gone = async { while count(2).await != Ok(1) {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), gone)
        .await
        .expect("a closed broker is not counted");
    cluster.end();
}

/// A closed broker delivers and accepts nothing; the others are untouched. Closing twice changes nothing.
pub async fn close_is_final(maker: Maker<'_>) {
    let cluster = Cluster::new(maker, &[channel("after")]).await;
    cluster.brokers[0].close();
    cluster.brokers[0].close();
    assert_eq!(
        cluster.brokers[0].publish("after", Bytes::new()),
        Err(PublishError::Closed)
    );
    cluster.publish(1, "after", "x");
    cluster.publish(1, FENCE, "last");
    for recorder in &cluster.recorders[1..] {
        recorder.await_text(FENCE, "last").await;
        assert_eq!(recorder.texts("after"), ["x"]);
    }
    assert_eq!(cluster.recorders[0].texts("after"), [""; 0]);
    cluster.end();
}
