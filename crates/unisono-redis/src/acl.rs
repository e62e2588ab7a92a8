//! What the link needs to be allowed, as ACL rules of Redis.

use crate::config::{RedisConfig, Topology};
use crate::link::PROBE_PREFIX;

/// Rights of every link. The name that `CLIENT SETNAME` gives is a convenience; refused, every connection leaves a line in `ACL LOG`.
const LINK: &str =
    "+subscribe +unsubscribe +psubscribe +punsubscribe +publish +pubsub|numsub +client|setname";

impl RedisConfig {
    /// The rules that let the link work, to stand in `ACL SETUSER … -@all` beside those for what is sent over it: the channels of the
    /// application, letter by letter where they are patterns (`&socket.io#/#*`), and the commands and keys of its scripts.
    pub fn acl_rules(&self) -> String {
        let mut rules = format!("&{PROBE_PREFIX}* {LINK}");
        match self.topology {
            Topology::Single => {}
            Topology::Sentinel { .. } => rules.push_str(" +role"),
            Topology::Cluster => rules.push_str(" +cluster|slots +cluster|info +asking"),
        }
        if self.database != 0 {
            rules.push_str(" +select");
        }
        rules
    }
}
