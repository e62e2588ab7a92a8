//! What the in-memory bus does beyond the contract of all brokers, which the conformance suite checks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use unisono_cluster::limits::MAX_MEMORY_QUEUE;
use unisono_cluster::{
    Broker, Inbox, LinkState, MemoryBroker, MemoryBus, PublishError, Subscription,
};

/// Publishes again for every message, as often as told, and notes what it got.
struct Chatty {
    broker: Arc<MemoryBroker>,
    left: AtomicUsize,
    refused: Mutex<Option<PublishError>>,
}

impl Inbox for Chatty {
    fn message(&self, channel: &str, _: Bytes) {
        while self.left.load(Ordering::Relaxed) > 0 {
            self.left.fetch_sub(1, Ordering::Relaxed);
            if let Err(error) = self.broker.publish(channel, Bytes::new()) {
                *self.refused.lock().expect("nobody panics here") = Some(error);
                self.left.store(0, Ordering::Relaxed);
            }
        }
    }

    fn link(&self, state: LinkState) {
        assert_eq!(state, LinkState::Local);
    }
}

#[test]
fn the_queue_is_bounded() {
    let broker = Arc::new(MemoryBus::new().broker());
    let left = AtomicUsize::new(MAX_MEMORY_QUEUE + 10);
    let chatty = Arc::new(Chatty {
        broker: broker.clone(),
        left,
        refused: Mutex::new(None),
    });
    broker.attach(chatty.clone());
    broker.subscribe(Subscription::Channel("c".to_owned()));
    assert_eq!(broker.publish("c", Bytes::new()), Ok(()));
    assert_eq!(
        *chatty.refused.lock().expect("nobody panicked"),
        Some(PublishError::BufferFull)
    );
    let stats = broker.stats();
    assert_eq!(
        (
            stats.dropped_buffer_full,
            stats.received,
            stats.buffered_messages
        ),
        (1, MAX_MEMORY_QUEUE as u64 + 1, 0)
    );
}

struct Panicking;

impl Inbox for Panicking {
    fn message(&self, _: &str, payload: Bytes) {
        assert!(payload.is_empty(), "as this test wants");
    }

    fn link(&self, _: LinkState) {}
}

#[test]
fn a_panicking_inbox_does_not_stop_the_bus() {
    let broker = MemoryBus::new().broker();
    broker.attach(Arc::new(Panicking));
    broker.subscribe(Subscription::Channel("c".to_owned()));
    assert!(
        catch_unwind(AssertUnwindSafe(
            || broker.publish("c", Bytes::from_static(b"x"))
        ))
        .is_err()
    );
    assert_eq!(broker.publish("c", Bytes::new()), Ok(()));
    assert_eq!(broker.stats().received, 2);
}

#[test]
fn a_dropped_broker_is_forgotten() {
    let bus = MemoryBus::new();
    let (kept, dropped) = (bus.broker(), bus.broker());
    dropped.subscribe(Subscription::Channel("c".to_owned()));
    drop(dropped);
    assert_eq!(kept.publish("c", Bytes::new()), Ok(()));
    assert_eq!(kept.stats().received, 0);
}

/// Where every subscription is compared, it takes thousands of times as long.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how long it takes is what matters"
)]
fn a_channel_is_found_among_many_as_soon_as_among_few() {
    let publish = |subscriptions: usize| {
        let bus = MemoryBus::new();
        let brokers = [bus.broker(), bus.broker()];
        for broker in &brokers {
            for number in 0..subscriptions {
                broker.subscribe(Subscription::Channel(format!("channel-{number}")));
            }
        }
        let start = Instant::now();
        for _ in 0..1_000 {
            assert_eq!(brokers[0].publish("channel-0", Bytes::new()), Ok(()));
        }
        start.elapsed()
    };
    let least = |subscriptions| (0..3).map(|_| publish(subscriptions)).min();
    let (few, many) = (least(10), least(20_000));
    assert!(
        many < few.map(|few| few * 50),
        "{many:?} instead of {few:?}"
    );
}
