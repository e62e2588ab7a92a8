//! What the keys of sessions are called.
//!
//! A commit changes a session and publishes it in one script, and a script has but one node of a Redis Cluster. Classic channels are heard from
//! every node. A sharded one lives where its slot is, so there the keys of all sessions carry a hash tag that puts them into the slot of the
//! channel that commits are published on: `{socket.io#/#}jamz:session:<id>`.

use unisono_cluster::Adapter;
use unisono_cluster::sharded::main_channel;
use unisono_redis::RedisConfig;

use crate::config::names::DEFAULT_REDIS_KEY;

/// What the keys of pods with the channel prefix `key` begin with.
pub(super) fn key_prefix(config: &RedisConfig, key: &str) -> String {
    let tag = braces(config, key).unwrap_or_default();
    match key {
        DEFAULT_REDIS_KEY => format!("{tag}jamz:"),
        key => format!("{tag}jamz:{key}:"),
    }
}

/// The hash tag to be added to what must be in the slot of the channel of commits; `None` where there is no need to, or the prefix has one.
pub(super) fn braces(config: &RedisConfig, key: &str) -> Option<String> {
    let is_needed = is_tied(config) && hash_tag(key).is_none();
    is_needed.then(|| format!("{{{}}}", main_channel(key, "/")))
}

/// Whether sessions can be where their channel is: with a brace in it that begins no hash tag, nothing else has the slot of that.
pub(crate) fn fits(config: &RedisConfig, key: &str) -> bool {
    !is_tied(config) || hash_tag(key).is_some() || !key.contains(['{', '}'])
}

fn is_tied(config: &RedisConfig) -> bool {
    config.is_cluster() && matches!(config.adapter(), Adapter::Sharded(_))
}

/// The part of a name that decides its slot, if it is not the whole.
fn hash_tag(name: &str) -> Option<&str> {
    let (_, behind) = name.split_once('{')?;
    let (tag, _) = behind.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

#[cfg(test)]
mod tests {
    use unisono_cluster::SubscriptionMode;

    use super::*;

    fn config(url: &str, adapter: Adapter) -> RedisConfig {
        RedisConfig::parse(url).expect("valid").speaking(adapter)
    }

    #[test]
    fn only_a_sharded_cluster_ties_sessions_to_a_slot() {
        let sharded = Adapter::Sharded(SubscriptionMode::Dynamic);
        let cluster = "redis://a,redis://b";
        for (url, adapter) in [
            ("redis://a", Adapter::Classic),
            ("redis://a", sharded),
            (cluster, Adapter::Classic),
        ] {
            let config = config(url, adapter);
            assert_eq!(key_prefix(&config, "socket.io"), "jamz:");
            assert_eq!(key_prefix(&config, "mine"), "jamz:mine:");
            assert!(fits(&config, "a}b"));
        }
        let config = config(cluster, sharded);
        let check = |key: &str, prefix: &str| {
            assert!(fits(&config, key), "{key}");
            assert_eq!(key_prefix(&config, key), prefix);
        };
        check("socket.io", "{socket.io#/#}jamz:");
        check("mine", "{mine#/#}jamz:mine:");
        check("a{b}c", "jamz:a{b}c:");
        check("}a{b}", "jamz:}a{b}:");
        for key in ["a}b", "a{b", "a{}b", "a{}{b}"] {
            assert!(!fits(&config, key), "{key}");
        }
    }
}
