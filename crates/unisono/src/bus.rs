//! What all namespaces of a server need to reach the other nodes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use unisono_cluster::node::subscriptions;
use unisono_cluster::sharded::Followed;
use unisono_cluster::{Broker, Ledger, Subscription};

use crate::nodes::Nodes;
use crate::requests::Describing;

/// The broker and how it is used.
pub(crate) struct Bus {
    pub(crate) broker: Arc<dyn Broker>,
    /// The channel prefix.
    pub(crate) key: String,
    /// The name under which this server asks the others. One for all namespaces, so that one that comes again listens to the same channels.
    pub(crate) asks_as: String,
    pub(crate) requests: Requests,
    /// Where answers that take time are made: a broker may deliver on a thread that knows of no runtime.
    pub(crate) runtime: Handle,
    /// What the requests of all namespaces keep of their answers.
    pub(crate) ledger: Ledger,
    pub(crate) describing: Describing,
    pub(crate) epoch: Instant,
    /// All channels that are listened to, of all namespaces. A std mutex: held while the broker is told, so that it hears of changes
    /// in their order; never across an await.
    pub(crate) followed: Mutex<Followed>,
    pub(crate) nodes: Nodes,
}

/// How requests between nodes are made and answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requests {
    /// How long answers are waited for.
    pub(crate) timeout: Duration,
    /// Answers go to the node that asked alone.
    pub(crate) private_answers: bool,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            // As Node's `requestsTimeout`.
            timeout: Duration::from_secs(5),
            private_answers: false,
        }
    }
}

impl Bus {
    /// Milliseconds since the server was built.
    pub(crate) fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    fn followed(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody needs a channel.
    pub(crate) fn acquire(&self, channel: &str) {
        let mut followed = self.followed();
        if followed.acquire(channel) {
            self.broker
                .subscribe(Subscription::Channel(channel.to_owned()));
        }
    }

    /// A namespace needs the channel of a room no more; it is left a while later.
    pub(crate) fn release(&self, channel: &str) {
        self.followed().release(channel, self.now_ms());
    }

    /// Leaves the channels that nobody has needed for a while.
    pub(crate) fn leave_channels(&self) {
        let mut followed = self.followed();
        let left = followed.expire(self.now_ms());
        self.unsubscribe(&left);
    }

    /// Leaves all channels, whoever needs them.
    pub(crate) fn leave_all_channels(&self) {
        let mut followed = self.followed();
        let left = followed.clear();
        self.unsubscribe(&left);
    }

    fn unsubscribe(&self, channels: &[Arc<str>]) {
        for channel in channels {
            self.broker
                .unsubscribe(&Subscription::Channel(channel.to_string()));
        }
    }

    /// Starts or ends to listen for a namespace.
    pub(crate) fn listen(&self, nsp: &str, listen: bool) {
        let adapter = self.broker.adapter();
        for subscription in subscriptions(adapter, &self.key, nsp, &self.asks_as) {
            match (&subscription, listen) {
                (Subscription::Channel(channel), true) => self.acquire(channel),
                (Subscription::Channel(channel), false) => {
                    let mut followed = self.followed();
                    if followed.release_at_once(channel) {
                        self.broker.unsubscribe(&subscription);
                    }
                }
                // Nobody else has that of a namespace.
                (Subscription::Pattern(_), true) => self.broker.subscribe(subscription),
                (Subscription::Pattern(_), false) => self.broker.unsubscribe(&subscription),
            }
        }
    }
}
