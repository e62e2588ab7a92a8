//! What all namespaces of a server need to reach the other nodes.

use std::sync::{Arc, Mutex, PoisonError};
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
    /// The channels of rooms that are listened to, of all namespaces. A std mutex: held while the broker is told, so that it hears of changes
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

    /// A namespace needs the channel of a room.
    pub(crate) fn acquire(&self, channel: &str) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if followed.acquire(channel) {
            self.broker
                .subscribe(Subscription::Channel(channel.to_owned()));
        }
    }

    /// It needs it no more; the channel is left a while later.
    pub(crate) fn release(&self, channel: &str) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.release(channel, self.now_ms());
    }

    /// Leaves the channels that nobody has needed for a while.
    pub(crate) fn leave_channels(&self) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        for channel in followed.expire(self.now_ms()) {
            self.broker
                .unsubscribe(&Subscription::Channel(channel.to_string()));
        }
    }

    /// Leaves all channels of rooms.
    pub(crate) fn leave_all_channels(&self) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        for channel in followed.clear() {
            self.broker
                .unsubscribe(&Subscription::Channel(channel.to_string()));
        }
    }

    /// Starts or ends to listen for a namespace.
    pub(crate) fn listen(&self, nsp: &str, listen: bool) {
        let adapter = self.broker.adapter();
        for subscription in subscriptions(adapter, &self.key, nsp, &self.asks_as) {
            if listen {
                self.broker.subscribe(subscription);
            } else {
                self.broker.unsubscribe(&subscription);
            }
        }
    }
}
