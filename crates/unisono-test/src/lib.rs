//! What the tests of this workspace share: real servers, stock peers, waiting without sleeping, and the conformance suite of brokers.
//!
//! Not published, and used from tests only: failures panic with a sentence that says what was awaited.

pub mod conformance;
mod conversation;
mod peer;
mod recorder;
mod redis_server;
mod resp;
mod wait;

pub use conversation::Conversation;
pub use peer::Peer;
pub use recorder::Recorder;
pub use redis_server::RedisServer;
pub use wait::{await_until, free_port};
