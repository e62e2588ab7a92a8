//! A Redis Cluster: who serves what, and connections to its nodes.

mod slots;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Value};
use tokio::time::timeout;

use crate::config::{Address, RedisConfig};
use crate::failure::{Deed, Failure};
use crate::limits::ASK_DEADLINE;
pub(crate) use slots::{Slots, redirection, slot_of};

/// What is known of the cluster that a link is in, and the connections to nodes other than the link's own, opened when first needed.
pub(crate) struct Cluster {
    config: RedisConfig,
    /// With the deadlines of whoever asks.
    options: AsyncConnectionConfig,
    // A lock for two tables, held to look something up or put it in.
    known: Mutex<Known>,
}

struct Known {
    slots: Slots,
    connections: BTreeMap<Address, MultiplexedConnection>,
}

impl Cluster {
    pub(crate) fn new(config: RedisConfig, slots: Slots, options: AsyncConnectionConfig) -> Self {
        Self {
            config,
            options,
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

    pub(crate) fn slots(&self) -> Slots {
        self.lock().slots.clone()
    }

    /// Masters and replicas.
    pub(crate) fn nodes(&self) -> Vec<Address> {
        self.lock().slots.nodes().cloned().collect()
    }

    /// The connection for commands to a node. It is opened even if the caller does not wait for it: over a slow path the next finds it.
    pub(crate) async fn connection(
        self: &Arc<Self>,
        address: &Address,
    ) -> Result<MultiplexedConnection, Failure> {
        if let Some(connection) = self.lock().connections.get(address) {
            return Ok(connection.clone());
        }
        let (cluster, address) = (self.clone(), address.clone());
        // Two who need it at the same moment open two, and one of them stays. Each ends within the deadline of its options.
        let opening = tokio::spawn(async move { cluster.open(&address).await });
        opening
            .await
            .unwrap_or_else(|_| Err(Failure::new("the connection was not opened")))
    }

    async fn open(&self, address: &Address) -> Result<MultiplexedConnection, Failure> {
        let connection = self
            .config
            .connect_named(address, &self.options, "cmd")
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

    /// Whether the cluster itself takes all these nodes for dead, by what `asked` says: then nobody reaches them. A node that only this
    /// process cannot reach is none of them.
    pub(crate) async fn have_failed(
        &self,
        nodes: &[Address],
        mut asked: MultiplexedConnection,
    ) -> bool {
        let mut question = redis::cmd("CLUSTER");
        question.arg("NODES");
        let asking = question.query_async::<String>(&mut asked);
        let Ok(Ok(table)) = timeout(ASK_DEADLINE, asking).await else {
            return false;
        };
        let known = self.lock();
        let mut ids = nodes.iter().map(|node| known.slots.id(node));
        ids.all(|id| id.is_some_and(|id| has_failed(&table, id)))
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

/// Whether the reply to `CLUSTER NODES` calls the node of this id dead, or does not know it any more. One that is only suspected
/// (`fail?`) may be well.
fn has_failed(table: &str, id: &str) -> bool {
    let line = table.lines().find_map(|line| line.strip_prefix(id));
    let flags = line.map(|rest| rest.split_whitespace().nth(1).unwrap_or_default());
    !id.is_empty() && flags.is_none_or(|flags| flags.split(',').any(|flag| flag == "fail"))
}

/// What a node says about the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Survey {
    pub(crate) slots: Slots,
    /// Whether the node is in touch with most masters, and all slots that must be are served.
    pub(crate) is_healthy: bool,
}

impl Survey {
    /// Whether it says that `node` serves slots.
    pub(crate) fn is_master(&self, node: &Address) -> bool {
        self.slots.masters().any(|master| master == node)
    }
}

/// Asks a node about the cluster. The caller bounds the time.
pub(crate) async fn survey(
    config: &RedisConfig,
    node: &Address,
    connection: &mut MultiplexedConnection,
) -> Result<Survey, Failure> {
    let refused =
        |error: redis::RedisError, words| Failure::of(&error, config.user(), Deed::Command(words));
    let mut questions = redis::pipe();
    questions.cmd("CLUSTER").arg("SLOTS");
    questions.cmd("CLUSTER").arg("INFO");
    let replies = connection.send_packed_commands(&questions, 0, 2).await;
    let mut replies = replies
        .map_err(|error| refused(error, "cluster|slots"))?
        .into_iter();
    let mut reply = || replies.next().unwrap_or(Value::Nil).extract_error();
    let slots = reply().map_err(|error| refused(error, "cluster|slots"))?;
    let info = reply().map_err(|error| refused(error, "cluster|info"))?;
    let info: String = redis::from_redis_value(info)
        .map_err(|_| Failure::new(format!("{node} gave no readable answer to CLUSTER INFO")))?;
    Ok(Survey {
        slots: Slots::read(slots, node),
        is_healthy: info.lines().any(|line| line.trim() == "cluster_state:ok"),
    })
}

#[cfg(test)]
mod tests {
    use super::has_failed;

    #[test]
    fn only_who_is_known_to_have_failed_has() {
        let table = "aa 10.0.0.1:7@17 myself,master - 0 0 1 connected 0-5\n\
            bb 10.0.0.2:7@17,host master,fail? - 0 0 2 disconnected 6-9\n\
            cc 10.0.0.3:7@17 master,fail - 0 0 3 disconnected 10-16383\n\
            dd :0@0 slave,fail,noaddr aa 0 0 3 disconnected\n\
            ee\n";
        let check = |id, failed| assert_eq!(has_failed(table, id), failed, "{id}");
        check("aa", false);
        check("bb", false);
        check("cc", true);
        check("dd", true);
        check("ee", false);
        // Forgotten by the cluster.
        check("ff", true);
        // Redis has told no id.
        check("", false);
    }
}
