//! A Redis Cluster: who serves what, and connections to its nodes.

mod slots;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use crate::config::{Address, RedisConfig};
use crate::connect::{Role, options};
use crate::failure::{Deed, Failure};
use crate::limits::ASK_DEADLINE;
pub(crate) use slots::{Slots, redirection, slot_of};

/// What is known of the cluster that a link is in, and the connections to nodes other than the link's own, opened when first needed.
pub(crate) struct Cluster {
    config: RedisConfig,
    // A lock for two tables, held to look something up or put it in.
    known: Mutex<Known>,
}

struct Known {
    slots: Slots,
    connections: BTreeMap<Address, MultiplexedConnection>,
}

impl Cluster {
    pub(crate) fn new(config: RedisConfig, slots: Slots) -> Self {
        Self {
            config,
            known: Mutex::new(Known {
                slots,
                connections: BTreeMap::new(),
            }),
        }
    }

    /// Replaces what is known, and lets go of nodes that are gone.
    pub(crate) fn learn(&self, slots: Slots) {
        let mut known = self.lock();
        known
            .connections
            .retain(|address, _| slots.nodes().any(|node| node == address));
        known.slots = slots;
    }

    pub(crate) fn note_move(&self, slot: u16, owner: Address) {
        self.lock().slots.note_move(slot, owner);
    }

    /// The master of a slot.
    pub(crate) fn owner(&self, slot: u16) -> Option<Address> {
        self.lock().slots.owner(slot).cloned()
    }

    /// Masters and replicas.
    pub(crate) fn nodes(&self) -> Vec<Address> {
        self.lock().slots.nodes().cloned().collect()
    }

    /// The connection for commands to a node.
    pub(crate) async fn connection(
        &self,
        address: &Address,
    ) -> Result<MultiplexedConnection, Failure> {
        if let Some(connection) = self.lock().connections.get(address) {
            return Ok(connection.clone());
        }
        // Two who need it at the same moment open two, and one of them stays.
        let connection = self
            .config
            .connect_named(address, &options(), "cmd")
            .await?;
        let mut known = self.lock();
        // Only nodes of the cluster are kept, so there are never more than those.
        if known.slots.nodes().any(|node| node == address) {
            known
                .connections
                .insert(address.clone(), connection.clone());
        }
        Ok(connection)
    }

    /// The connection to that node broke or is silent.
    pub(crate) fn give_up(&self, address: &Address) {
        self.lock().connections.remove(address);
    }

    /// A panic elsewhere cannot leave the tables half changed, so a poisoned lock is used as it is.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a node says about the cluster.
pub(crate) struct Survey {
    pub(crate) slots: Slots,
    /// Whether the node is in touch with most masters, and all slots that must be are served.
    pub(crate) is_healthy: bool,
}

/// Asks a node about the cluster, within [`ASK_DEADLINE`].
pub(crate) async fn survey(config: &RedisConfig, node: &Address) -> Result<Survey, Failure> {
    let asking = async {
        let mut connection = config.connect(node, Role::Server, &options()).await?;
        let refused = |error: redis::RedisError, words| {
            Failure::of(&error, config.user(), Deed::Command(words))
        };
        let mut question = redis::cmd("CLUSTER");
        let slots: Result<Value, _> = question.arg("SLOTS").query_async(&mut connection).await;
        let slots = slots.map_err(|error| refused(error, "cluster|slots"))?;
        let mut question = redis::cmd("CLUSTER");
        let info: Result<String, _> = question.arg("INFO").query_async(&mut connection).await;
        let info = info.map_err(|error| refused(error, "cluster|info"))?;
        Ok(Survey {
            slots: Slots::read(slots, node),
            is_healthy: info.lines().any(|line| line.trim() == "cluster_state:ok"),
        })
    };
    timeout(ASK_DEADLINE, asking)
        .await
        .unwrap_or_else(|_| Err(Failure::new(format!("{node}: no answer in time"))))
}
