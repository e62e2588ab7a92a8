//! What the tests of this workspace share: real servers, stock peers, waiting without sleeping, and the conformance suite of brokers.
//!
//! Not published, and used from tests only: failures panic with a sentence that says what was awaited.

pub mod conformance;
mod conversation;
mod peer;
mod proxy;
mod recorder;
mod redis_cluster;
mod redis_sentinels;
mod redis_server;
mod redis_tls;
mod resp;
mod wait;

pub use conversation::Conversation;
pub use peer::Peer;
pub use proxy::{Proxy, Way};
pub use recorder::Recorder;
pub use redis_cluster::RedisCluster;
pub use redis_sentinels::RedisSentinels;
pub use redis_server::{RedisProgram, RedisServer};
pub use redis_tls::TestCertificate;
pub use wait::{ClosedPort, await_until};
