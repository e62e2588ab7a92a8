//! What all namespaces of a server need to reach the other nodes.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use unisono_cluster::classic::Subscriptions;
use unisono_cluster::{Broker, Ledger};

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
    /// Starts or ends to listen for a namespace.
    pub(crate) fn listen(&self, nsp: &str, listen: bool) {
        for subscription in Subscriptions::new(&self.key, nsp, &self.asks_as).iter() {
            if listen {
                self.broker.subscribe(subscription.clone());
            } else {
                self.broker.unsubscribe(subscription);
            }
        }
    }
}
