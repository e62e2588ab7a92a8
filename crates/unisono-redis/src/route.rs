//! Which server the link connects to, found anew for every attempt, and whether that is still the right one.
//!
//! With sentinels it is the master that most of them name. In a Redis Cluster, where a publish reaches the subscribers of every node, any
//! master would do; all links take the same one, the owner of [`MEETING_SLOT`], because only those who listen to one server hear
//! everything in one order. Where it cannot be reached they take the next, and come back later.

mod sentinel;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::cluster::{self, Cluster, Slots};
use crate::config::{Address, RedisConfig, Topology};
use crate::failure::Failure;
use crate::limits::{MAX_CLUSTER_NODES, RETURN_AFTER, WATCH_EVERY};
use sentinel::Sentinels;

/// Its owner is where all links of a cluster meet. A slot, and not a node: it has an owner whatever becomes of the nodes.
const MEETING_SLOT: u16 = 0;

/// Finds the server. Remembers between attempts what it learnt.
#[derive(Clone)]
pub(crate) struct Route {
    config: RedisConfig,
    /// Attempts since the last that succeeded, so that each begins with another node: one that hangs holds up one attempt and not all.
    turn: usize,
    /// Nodes of a cluster that were not in the configuration.
    learnt: Vec<Address>,
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
        }
    }

    /// The link is up where it was sent.
    pub(crate) fn arrived(&mut self) {
        self.turn = 0;
    }

    /// The server to connect to now.
    pub(crate) async fn find(&mut self) -> Result<Place, Failure> {
        let turn = self.turn;
        // Before anything is awaited: whoever gives up waiting must not begin with the same servers again.
        self.turn = turn.wrapping_add(1);
        self.find_place(turn).await
    }

    async fn find_place(&mut self, turn: usize) -> Result<Place, Failure> {
        match &self.config.topology {
            Topology::Single => Ok(Place {
                // The configuration has at least one.
                address: self.config.addresses[0].clone(),
                slots: None,
            }),
            Topology::Sentinel { master } => {
                let address = Sentinels::new(&self.config, master).find().await?;
                Ok(Place {
                    address,
                    slots: None,
                })
            }
            Topology::Cluster => {
                let (address, slots) = self.find_node(turn).await?;
                Ok(Place {
                    address,
                    slots: Some(slots),
                })
            }
        }
    }

    /// A master of the cluster, by what a healthy node says; by what any node says, if none is healthy.
    async fn find_node(&mut self, turn: usize) -> Result<(Address, Slots), Failure> {
        let mut seeds = self.config.addresses.clone();
        seeds.extend(self.learnt.iter().cloned());
        let first = turn % seeds.len();
        seeds.rotate_left(first);
        let mut last_resort = Err(Failure::new("no node of the cluster answered"));
        for seed in &seeds {
            match cluster::survey(&self.config, seed).await {
                Ok(survey) if survey.is_healthy => return self.choose(survey.slots, turn),
                Ok(survey) => last_resort = Ok(survey.slots),
                Err(failure) if last_resort.is_err() => last_resort = Err(failure),
                Err(_) => {}
            }
        }
        self.choose(last_resort?, turn)
    }

    fn choose(&mut self, slots: Slots, turn: usize) -> Result<(Address, Slots), Failure> {
        self.learnt = slots.nodes().take(MAX_CLUSTER_NODES).cloned().collect();
        self.learnt
            .retain(|node| !self.config.addresses.contains(node));
        let masters = in_turn(&slots);
        let address = match masters.len() {
            0 => return Err(Failure::new("no slot of the cluster is served by any node")),
            count => masters[turn % count].clone(),
        };
        Ok((address, slots))
    }

    /// Ends, with the reason, when the link should be somewhere else; a single server never does. What cannot be found out is no reason:
    /// whether the server is there, the link's probes say.
    pub(crate) async fn until_elsewhere(
        mut self,
        here: Address,
        cluster: Option<Arc<Cluster>>,
    ) -> Failure {
        if self.config.topology == Topology::Single {
            return std::future::pending().await;
        }
        let arrived = Instant::now();
        loop {
            // Jittered, so that the nodes do not ask in step.
            sleep(WATCH_EVERY.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
            let moved = match (&self.config.topology, &cluster) {
                (Topology::Sentinel { master }, _) => {
                    Sentinels::new(&self.config, master).elsewhere(&here).await
                }
                (_, Some(cluster)) => {
                    let may_return = arrived.elapsed() >= RETURN_AFTER;
                    self.left_by_cluster(&here, cluster, may_return).await
                }
                _ => None,
            };
            if let Some(failure) = moved {
                return failure;
            }
        }
    }

    /// Refreshes what is known of the cluster by the way.
    async fn left_by_cluster(
        &mut self,
        here: &Address,
        cluster: &Cluster,
        may_return: bool,
    ) -> Option<Failure> {
        let survey = cluster::survey(&self.config, here).await.ok()?;
        let masters = in_turn(&survey.slots);
        let meeting = masters.first()?.clone();
        let is_master = masters.contains(here);
        let is_healthy = survey.is_healthy;
        cluster.learn(survey.slots);
        if !is_master {
            let text = format!("{here} is no master of the cluster any more");
            return Some(Failure::new(text));
        }
        if !is_healthy && self.is_healthy_elsewhere(here).await {
            return Some(Failure::new(format!("{here} has lost the cluster")));
        }
        if meeting != *here && may_return && is_well(&self.config, &meeting).await {
            return Some(Failure::new(format!("all meet at {meeting}")));
        }
        None
    }

    /// Cut off from the others, or is the cluster broken everywhere? Where others are well, they do not hear us.
    async fn is_healthy_elsewhere(&self, here: &Address) -> bool {
        for node in self.config.addresses.iter().chain(&self.learnt) {
            if node != here && is_well(&self.config, node).await {
                return true;
            }
        }
        false
    }
}

/// The masters in the order in which all links try them.
fn in_turn(slots: &Slots) -> Vec<Address> {
    let mut masters: Vec<_> = slots.masters().cloned().collect();
    let meeting = slots.owner(MEETING_SLOT);
    if let Some(at) = masters.iter().position(|master| Some(master) == meeting) {
        masters.rotate_left(at);
    }
    masters
}

async fn is_well(config: &RedisConfig, node: &Address) -> bool {
    let survey = cluster::survey(config, node).await;
    survey.is_ok_and(|survey| survey.is_healthy)
}

/// Bounds one question to one server.
async fn within<T>(
    limit: Duration,
    address: &Address,
    question: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout(limit, question)
        .await
        .unwrap_or_else(|_| Err(Failure::new(format!("{address}: no answer in time"))))
}
