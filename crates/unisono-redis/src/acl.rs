//! What the link needs to be allowed, as ACL rules of Redis.

use unisono_cluster::Adapter;

use crate::config::{RedisConfig, Topology};
use crate::link::PROBE_PREFIX;

const CLASSIC: &str = "+subscribe +unsubscribe +psubscribe +punsubscribe +publish +pubsub|numsub";
const SHARDED: &str = "+ssubscribe +sunsubscribe +spublish +pubsub|shardnumsub";

impl RedisConfig {
    /// The rules that let the link work, to stand in `ACL SETUSER … -@all` beside those for what is sent over it: the channels of the
    /// application, letter by letter where they are patterns (`&socket.io#/#*`), and the commands and keys of its scripts.
    pub fn acl_rules(&self) -> String {
        let link = match self.adapter {
            Adapter::Classic => CLASSIC,
            Adapter::Sharded(_) => SHARDED,
        };
        // The name is a convenience; refused, every connection leaves a line in `ACL LOG`.
        let mut rules = format!("&{PROBE_PREFIX}* {link} +client|setname");
        match self.topology {
            Topology::Single => {}
            Topology::Sentinel { .. } => rules.push_str(" +role"),
            Topology::Cluster => {
                rules.push_str(" +cluster|slots +cluster|info +cluster|nodes +asking");
            }
        }
        if self.database != 0 {
            rules.push_str(" +select");
        }
        rules
    }
}
