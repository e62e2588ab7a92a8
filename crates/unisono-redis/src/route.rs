//! Which server the link connects to, found anew for every attempt, and whether that is still the right one.
//!
//! With sentinels it is the master that most of them name. In a Redis Cluster, where a publish reaches the subscribers of every node, any
//! master would do; all links take the same one, the owner of slot 0, because only those who listen to one server hear everything in one
//! order. Where it cannot be reached they take another, and come back later. What is the right one, [`judgement`] says.

mod judgement;
mod memory;
mod nodes;
mod sentinel;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::cluster::Slots;
use crate::config::{Address, RedisConfig, Topology};
use crate::failure::Failure;
use crate::limits::{ASK_AT_ONCE, HELD_AFTER, MAX_CLUSTER_NODES, STRIKE_LIMIT};
use judgement::ClusterView;
use memory::{Patience, Strikes};
use sentinel::Sentinels;
pub(crate) use watch::Here;

/// Finds the server. Remembers between attempts what it learnt.
#[derive(Clone)]
pub(crate) struct Route {
    config: RedisConfig,
    /// Attempts so far: each begins with other nodes of a large cluster.
    turn: usize,
    /// Nodes of a cluster that were not in the configuration, masters first.
    learnt: Vec<Address>,
    patience: Patience,
    /// Shared with those who watch whether the server is still the right one.
    strikes: Arc<Mutex<Strikes>>,
    sent: Option<Sent>,
}

/// Where the last attempt was sent, and what became of it.
#[derive(Clone)]
struct Sent {
    to: Address,
    began: Instant,
    arrived: Option<Instant>,
}

/// Where to connect.
pub(crate) struct Place {
    pub(crate) address: Address,
    /// What is known of the cluster, if it is one.
    pub(crate) slots: Option<Slots>,
}

impl Route {
    pub(crate) fn new(config: RedisConfig) -> Self {
        Self {
            config,
            turn: 0,
            learnt: Vec::new(),
            patience: Patience::default(),
            strikes: Arc::default(),
            sent: None,
        }
    }

    /// How long an attempt may take, finding the server included.
    pub(crate) fn deadline(&self) -> Duration {
        self.patience.attempt()
    }

    /// The link is up where it was sent.
    pub(crate) fn arrived(&mut self) {
        if let Some(sent) = &mut self.sent {
            let now = Instant::now();
            sent.arrived = Some(now);
            self.patience.sufficed(now - sent.began);
        }
    }

    /// The attempt came to nothing.
    pub(crate) fn failed(&mut self, failure: &Failure) {
        if failure.is_late {
            self.patience.ran_out();
        }
    }

    /// The server to connect to now.
    pub(crate) async fn find(&mut self) -> Result<Place, Failure> {
        let began = Instant::now();
        if let Some(sent) = self.sent.take() {
            self.account_for(&sent, began);
        }
        let place = match &self.config.topology {
            Topology::Single => Place {
                // The configuration has at least one.
                address: self.config.addresses[0].clone(),
                slots: None,
            },
            Topology::Sentinel { master } => {
                let deadline = self.patience.ask();
                let (view, failure) = Sentinels::new(&self.config, master, deadline).look().await;
                Place {
                    address: view.place().ok_or(failure)?.clone(),
                    slots: None,
                }
            }
            Topology::Cluster => self.find_node().await?,
        };
        self.sent = Some(Sent {
            to: place.address.clone(),
            began,
            arrived: None,
        });
        Ok(place)
    }

    async fn find_node(&mut self) -> Result<Place, Failure> {
        let mut view = ClusterView::default();
        let (nodes, deadline) = (self.next_nodes(), self.patience.ask());
        let is_struck = |node: &Address| self.is_struck(node);
        let failure = nodes::look(&self.config, nodes, deadline, is_struck, &mut view).await;
        let address = view.place(is_struck).ok_or(failure)?.clone();
        let slots = view.survey(&address).map(|survey| survey.slots.clone());
        if let Some(slots) = &slots {
            self.learn(slots);
        }
        Ok(Place { address, slots })
    }

    /// Those to be asked first: each time others, as far as there are more.
    fn next_nodes(&mut self) -> Vec<Address> {
        let mut nodes = self.config.addresses.clone();
        nodes.extend(self.learnt.iter().cloned());
        let first = self.turn.wrapping_mul(ASK_AT_ONCE) % nodes.len();
        self.turn = self.turn.wrapping_add(1);
        nodes.rotate_left(first);
        nodes.truncate(ASK_AT_ONCE);
        nodes
    }

    fn learn(&mut self, slots: &Slots) {
        self.learnt.clear();
        for node in slots.masters().chain(slots.nodes()) {
            let is_known = self.config.addresses.contains(node) || self.learnt.contains(node);
            if !is_known && self.learnt.len() < MAX_CLUSTER_NODES {
                self.learnt.push(node.clone());
            }
        }
    }

    /// Of single servers and masters behind sentinels there is only one, whatever happens there.
    fn account_for(&self, sent: &Sent, now: Instant) {
        if self.config.topology != Topology::Cluster {
            return;
        }
        match sent.arrived.map(|arrived| now - arrived) {
            Some(held) if held >= STRIKE_LIMIT => self.strikes().forgive(&sent.to),
            Some(held) if held >= HELD_AFTER => {}
            _ => self.strikes().strike(&sent.to, now),
        }
    }

    fn is_struck(&self, node: &Address) -> bool {
        self.strikes().holds(node, Instant::now())
    }

    /// A panic elsewhere cannot leave it half changed.
    fn strikes(&self) -> MutexGuard<'_, Strikes> {
        self.strikes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bounds one question to one server.
async fn within<T>(
    limit: Duration,
    address: &Address,
    question: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout(limit, question)
        .await
        .unwrap_or_else(|_| Err(Failure::late(format!("{address}: no answer in time"))))
}
