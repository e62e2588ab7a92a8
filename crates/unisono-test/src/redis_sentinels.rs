//! A master, a replica, and three sentinels that watch them.

use std::time::Duration;

use crate::redis_server::RedisServer;
use crate::wait::await_until;

/// The name that the sentinels know the master by.
const MASTER: &str = "mymaster";

/// For the sentinels to find each other and the replica, and for a failover: seconds.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

/// A master, a replica and three sentinels, of which two are enough to agree. Dropping it kills all.
pub struct RedisSentinels {
    servers: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

impl RedisSentinels {
    /// Starts them, and returns when every sentinel knows all others and the replica is in step.
    ///
    /// # Panics
    /// When they do not start or do not find each other.
    pub async fn start() -> Self {
        Self::start_with(&[], &[]).await
    }

    /// Starts them with further options for the servers and lines for the configuration of the sentinels.
    ///
    /// # Panics
    /// As [`RedisSentinels::start`].
    pub async fn start_with(options: &[&str], lines: &[&str]) -> Self {
        let master = RedisServer::start_with(options);
        let port = master.port().to_string();
        let replica_of = ["--replicaof", "127.0.0.1", &port];
        let replica = RedisServer::start_with(&[options, &replica_of].concat());
        await_until("the replica is in step", SETTLE_LIMIT, || {
            replica
                .command(&["INFO", "replication"])
                .contains("master_link_status:up")
        })
        .await;
        let mut configuration = vec![
            format!("sentinel monitor {MASTER} 127.0.0.1 {port} 2"),
            format!("sentinel down-after-milliseconds {MASTER} 1000"),
            format!("sentinel failover-timeout {MASTER} 5000"),
        ];
        configuration.extend(lines.iter().map(|&line| line.to_owned()));
        let sentinels = (0..3).map(|_| RedisServer::start_sentinel(&configuration));
        let all = Self {
            servers: vec![master, replica],
            sentinels: sentinels.collect(),
        };
        await_until("the sentinels know each other", SETTLE_LIMIT, || {
            all.sentinels.iter().all(|sentinel| {
                let info = sentinel
                    .try_command(&["INFO", "sentinel"])
                    .unwrap_or_default();
                // One that asks for a password says nothing; the test that wants it waits by itself.
                info.is_empty() || (info.contains("slaves=1") && info.contains("sentinels=3"))
            })
        })
        .await;
        all
    }

    /// `redis+sentinel://127.0.0.1:<port>,…/mymaster`, with this login for the servers before the addresses: empty, or `user:password@`.
    pub fn url(&self, login: &str) -> String {
        let addresses: Vec<_> = self
            .sentinels
            .iter()
            .map(|sentinel| format!("127.0.0.1:{}", sentinel.port()))
            .collect();
        format!("redis+sentinel://{login}{}/{MASTER}", addresses.join(","))
    }

    /// The server that is a master and that the sentinels agree on.
    pub async fn master(&mut self) -> &mut RedisServer {
        let mut found = None;
        await_until("the sentinels agree on a master", SETTLE_LIMIT, || {
            found = self.agreed();
            found.is_some()
        })
        .await;
        &mut self.servers[found.expect("awaited")]
    }

    /// The sentinels.
    pub fn sentinels(&mut self) -> &mut [RedisServer] {
        &mut self.sentinels
    }

    /// The servers: the first master, then its replica.
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// Has the sentinels make the replica the master, as an operator does; returns when it is.
    ///
    /// # Panics
    /// When they do not.
    pub async fn fail_over(&mut self) {
        let before = self.master().await.port();
        await_until("a failover is begun", SETTLE_LIMIT, || {
            self.sentinels[0]
                .try_command(&["SENTINEL", "FAILOVER", MASTER])
                .is_ok()
        })
        .await;
        self.await_other_than(before).await;
    }

    /// Returns when the sentinels agree on another master than the one on this port.
    ///
    /// # Panics
    /// When they do not.
    pub async fn await_other_than(&mut self, port: u16) {
        await_until("there is another master", SETTLE_LIMIT, || {
            self.agreed()
                .is_some_and(|at| self.servers[at].port() != port)
        })
        .await;
    }

    fn agreed(&self) -> Option<usize> {
        let named: Vec<_> = self
            .sentinels
            .iter()
            .filter_map(|sentinel| {
                let question = ["SENTINEL", "get-master-addr-by-name", MASTER];
                sentinel.try_command(&question).ok()
            })
            .collect();
        let first = named.first()?;
        let port: u16 = first.lines().nth(1)?.parse().ok()?;
        let at = self
            .servers
            .iter()
            .position(|server| server.port() == port)?;
        let role = self.servers[at].try_command(&["ROLE"]).ok()?;
        (named.iter().all(|name| name == first) && role.starts_with("master")).then_some(at)
    }
}
