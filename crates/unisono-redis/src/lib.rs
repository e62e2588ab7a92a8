//! The link to Redis: a [`Broker`](unisono_cluster::Broker) that heals itself, and a [`Commander`] for scripts.
//!
//! [`RedisBroker::start`] returns at once and works without Redis; it joins when Redis appears and again after every outage. Two
//! connections, opened and given up together:
//!
//! ```text
//! bus          publishes what the bounded buffer holds, in order, in pipelines; and every message goes straight from its
//!              socket to the inbox, nothing is queued between
//! commander    scripts and commands with a deadline, never behind publishes
//! ```
//!
//! The link never trusts silence: after a second without any message it publishes to a channel of its own, and when that does not come
//! back it is deaf and connects anew. See [`unisono_cluster::broker`] for the contract and the states.
//!
//! What waited through an outage is sent when as many listen to the channel of all servers as are to (see
//! [`expect_listeners`](unisono_cluster::Broker::expect_listeners)), 1.2 seconds after the link is back at the latest; what is published
//! meanwhile waits behind it.
//!
//! An [`Emitter`] is for programs that only emit: one connection, no subscription.
//! Where Redis is, [`RedisConfig::parse`] reads: one server, the master that sentinels name, or a Redis Cluster. It is found anew for every
//! attempt, with passwords and certificates read anew from their files, and looked for again while the link is up:
//!
//! ```text
//! sentinels    the link sits on the server that most of them name and that calls itself a master
//! cluster      all links sit on one master, the owner of slot 0, so that they hear everything in one order; a publish reaches the
//!              subscribers of every node; commands go to the owners of their keys. Of the sharded adapter each link has a bus connection to
//!              every master, and a channel is subscribed and published at the owner of its slot
//! ```
//!
//! What Redis does not let a link do shows in [`RedisBroker::refusal`], with the ACL rule that allows it ([`RedisConfig::acl_rules`] are
//! all of them).
//!
//! Needs Redis 6 or later (RESP3), or Valkey. Never retries a publish, so nothing is sent twice; never blocks a caller; never prints a password.
//!
//! ```no_run
//! use unisono_cluster::{Broker, Subscription};
//! use unisono_redis::{RedisBroker, RedisConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = RedisBroker::start(RedisConfig::parse("redis://localhost:6379")?);
//! broker.subscribe(Subscription::Pattern("socket.io#/#*".into()));
//! broker.publish("socket.io#/#", bytes::Bytes::from_static(b"..."))?;
//! # Ok(())
//! # }
//! ```

mod acl;
mod broker;
mod buffer;
mod cluster;
mod commander;
mod config;
mod connect;
mod emitter;
mod failure;
mod gathering;
mod limits;
mod link;
mod nodes;
mod publisher;
mod route;
mod trial;

pub use broker::RedisBroker;
pub use commander::{CommandError, CommandErrorKind, Commander};
pub use config::{ConfigError, RedisConfig, redact_url};
pub use emitter::{Emitter, EmitterBroadcast, EmitterError};
/// For the types of scripts, commands and replies.
pub use redis;
