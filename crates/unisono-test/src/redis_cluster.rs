//! A Redis Cluster of one's own.

use std::time::Duration;

use crate::redis_server::{RedisProgram, RedisServer};
use crate::wait::await_until;

/// For the nodes to find each other and agree, and for a failover: seconds.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);
/// Slots of every cluster.
const SLOTS: usize = 16_384;

/// Three masters that share the slots, and a replica of each if wanted. Dropping it kills all.
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Masters of every cluster of the tests.
    pub const MASTERS: usize = 3;

    /// Starts three masters, with `replicas` a replica of each, and returns when all nodes agree.
    ///
    /// # Panics
    /// When they do not start or do not agree.
    pub async fn start(replicas: bool) -> Self {
        Self::start_program(&RedisProgram::installed(), replicas, &[]).await
    }

    /// The same with another program, and with further options.
    ///
    /// # Panics
    /// As [`RedisCluster::start`].
    pub async fn start_program(program: &RedisProgram, replicas: bool, options: &[&str]) -> Self {
        let enabled = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1500"];
        // A replica shows in CLUSTER SLOTS when it has received something, at the latest the first ping.
        let options = [&enabled[..], &["--repl-ping-replica-period", "1"], options].concat();
        let count = if replicas {
            2 * Self::MASTERS
        } else {
            Self::MASTERS
        };
        let nodes: Vec<_> = (0..count)
            .map(|_| RedisServer::start_program(program, &options))
            .collect();
        let cluster = Self { nodes };
        cluster.share_slots();
        cluster.meet().await;
        cluster.replicate();
        cluster.await_settled().await;
        cluster
    }

    fn share_slots(&self) {
        for (at, node) in self.nodes.iter().enumerate() {
            let epoch = (at + 1).to_string();
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]);
            if at < Self::MASTERS {
                let first = SLOTS * at / Self::MASTERS;
                let end = SLOTS * (at + 1) / Self::MASTERS;
                let slots: Vec<_> = (first..end).map(|slot| slot.to_string()).collect();
                let mut words = vec!["CLUSTER", "ADDSLOTS"];
                words.extend(slots.iter().map(String::as_str));
                node.command(&words);
            }
        }
    }

    async fn meet(&self) {
        for node in &self.nodes[1..] {
            let port = node.port().to_string();
            self.nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port]);
        }
        let count = self.nodes.len();
        await_until("the nodes know each other", SETTLE_LIMIT, || {
            self.nodes.iter().all(|node| {
                let known = node.command(&["CLUSTER", "NODES"]);
                known
                    .lines()
                    .filter(|line| !line.contains("handshake"))
                    .count()
                    == count
            })
        })
        .await;
    }

    fn replicate(&self) {
        for (at, node) in self.nodes.iter().enumerate().skip(Self::MASTERS) {
            let master = self.nodes[at - Self::MASTERS].command(&["CLUSTER", "MYID"]);
            node.command(&["CLUSTER", "REPLICATE", &master]);
        }
    }

    /// Returns when every node that runs says that all is well, every replica is in step, and all nodes show all that run to clients. Until
    /// then a client that asks learns of a part of the cluster, and ioredis never asks again.
    ///
    /// # Panics
    /// When they do not.
    pub async fn await_settled(&self) {
        await_until("the cluster has settled", SETTLE_LIMIT, || {
            self.nodes.iter().all(|node| {
                let Ok(info) = node.try_command(&["CLUSTER", "INFO"]) else {
                    return true;
                };
                let replication = node.command(&["INFO", "replication"]);
                info.contains("cluster_state:ok")
                    && info.contains("cluster_slots_ok:16384")
                    && !replication.contains("master_link_status:down")
            }) && self.shows_all()
        })
        .await;
    }

    fn shows_all(&self) -> bool {
        let running: Vec<_> = self
            .nodes
            .iter()
            .filter_map(|node| Some((node.port(), node.try_command(&["CLUSTER", "SLOTS"]).ok()?)))
            .collect();
        running.iter().all(|(_, shown)| {
            let shows = |port: &str| shown.lines().any(|line| line == port);
            running.iter().all(|(port, _)| shows(&port.to_string()))
        })
    }

    /// The nodes: the first masters, then their replicas in the same order.
    pub fn nodes(&mut self) -> &mut [RedisServer] {
        &mut self.nodes
    }

    /// `redis://127.0.0.1:<port>,…` of all nodes, with this login in each: empty, or `user:password@`.
    pub fn url(&self, login: &str) -> String {
        let urls: Vec<_> = self
            .nodes
            .iter()
            .map(|node| format!("redis://{login}127.0.0.1:{}", node.port()))
            .collect();
        urls.join(",")
    }

    /// `127.0.0.1:<port>,…` of the masters.
    pub fn addresses(&self) -> String {
        let addresses: Vec<_> = self.nodes[..Self::MASTERS]
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port()))
            .collect();
        addresses.join(",")
    }

    /// Which of the nodes serves the slot of this key now; asks a node that runs.
    ///
    /// # Panics
    /// When nobody does.
    pub fn owner(&self, key: &str) -> usize {
        self.nodes
            .iter()
            .position(|node| {
                let role = node.try_command(&["ROLE"]).unwrap_or_default();
                role.starts_with("master") && node.try_command(&["EXISTS", key]).is_ok()
            })
            .expect("somebody serves the slot")
    }

    /// Moves the slot of `key` and what is in it to the node `to`, step by step as `redis-cli --cluster reshard` does. `between` is called
    /// when the keys have moved and the slot has not: whoever asks for them is sent on with `ASK`.
    ///
    /// # Panics
    /// When a step fails.
    pub async fn move_slot(&self, key: &str, to: usize, between: impl AsyncFnOnce()) {
        let from = self.owner(key);
        let slot = self.nodes[from].command(&["CLUSTER", "KEYSLOT", key]);
        let id = |at: usize| self.nodes[at].command(&["CLUSTER", "MYID"]);
        let (from_id, to_id) = (id(from), id(to));
        self.nodes[to].command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        self.nodes[from].command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
        let keys = self.nodes[from].command(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"]);
        let port = self.nodes[to].port().to_string();
        for key in keys.lines() {
            self.nodes[from].command(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
        }
        between().await;
        for node in [to, from] {
            self.nodes[node].command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
        }
    }
}
