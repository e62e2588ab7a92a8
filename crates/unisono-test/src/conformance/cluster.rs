//! Three brokers with recorders, and a fence to prove that nothing else is on its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use unisono_cluster::{Broker, Subscription};

use super::Maker;
use crate::recorder::Recorder;
use crate::wait::await_until;

/// A channel every broker of a [`Cluster`] is subscribed to.
pub const FENCE: &str = "fence";

/// For the links of a test to come up, and a new subscription to take effect.
const LINK_LIMIT: Duration = Duration::from_secs(20);

/// Brokers on one bus, each with a recorder as inbox.
pub struct Cluster {
    /// The brokers.
    pub brokers: Vec<Arc<dyn Broker>>,
    /// What each received.
    pub recorders: Vec<Arc<Recorder>>,
    fences: AtomicU32,
}

impl Cluster {
    /// Attaches recorders, makes the same subscriptions on all, and waits until they are in effect.
    ///
    /// # Panics
    /// When the links do not come up.
    pub async fn new(maker: Maker<'_>, subscriptions: &[Subscription]) -> Self {
        let brokers = maker();
        let recorders: Vec<_> = brokers.iter().map(|_| Recorder::new()).collect();
        for (broker, recorder) in brokers.iter().zip(&recorders) {
            broker.attach(recorder.clone());
            broker.subscribe(Subscription::Channel(FENCE.to_owned()));
            for subscription in subscriptions {
                broker.subscribe(subscription.clone());
            }
        }
        let cluster = Self {
            brokers,
            recorders,
            fences: AtomicU32::new(0),
        };
        cluster.await_up().await;
        cluster.settle().await;
        cluster
    }

    /// Waits until every link is up.
    ///
    /// # Panics
    /// When one does not come up.
    pub async fn await_up(&self) {
        let all_up = || self.brokers.iter().all(|broker| broker.state().is_up());
        await_until("all links are up", LINK_LIMIT, all_up).await;
    }

    /// Waits until every subscription and unsubscription made so far is in effect on every broker: subscribes each to one more channel
    /// and publishes there until all hear it. The few subscriptions of a test go out in one batch, channels last, so that this one is not
    /// in effect before the others.
    ///
    /// # Panics
    /// When they do not take effect.
    pub async fn settle(&self) {
        let channel = format!("settle-{}", self.fences.fetch_add(1, Ordering::Relaxed));
        for broker in &self.brokers {
            broker.subscribe(Subscription::Channel(channel.clone()));
        }
        await_until("all subscriptions are in effect", LINK_LIMIT, || {
            self.publish(0, &channel, "settled");
            self.recorders
                .iter()
                .all(|recorder| !recorder.texts(&channel).is_empty())
        })
        .await;
    }

    /// Publishes from one of the brokers.
    ///
    /// # Panics
    /// When it is refused.
    pub fn publish(&self, broker: usize, channel: &str, text: &str) {
        let payload = Bytes::copy_from_slice(text.as_bytes());
        self.brokers[broker]
            .publish(channel, payload)
            .expect("the message is small and the buffer is not full");
    }

    /// Publishes a fence from one of the brokers and waits until all have it: whatever that broker published before has arrived
    /// everywhere, or never will.
    ///
    /// # Panics
    /// When the fence does not arrive.
    pub async fn fence(&self, broker: usize) {
        let text = format!("fence-{}", self.fences.fetch_add(1, Ordering::Relaxed));
        self.publish(broker, FENCE, &text);
        for recorder in &self.recorders {
            recorder.await_text(FENCE, &text).await;
        }
    }

    /// Asserts that no inbox was called twice at once, and closes everything.
    ///
    /// # Panics
    /// When one was.
    pub fn end(self) {
        for (broker, recorder) in self.brokers.iter().zip(&self.recorders) {
            broker.close();
            assert!(
                !recorder.overlapped(),
                "an inbox was called while it was being called"
            );
        }
    }
}
