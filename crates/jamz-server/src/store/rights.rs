//! What the store must be allowed to do in Redis, and a trial of it.

use std::collections::BTreeMap;

use unisono_cluster::Adapter;
use unisono_cluster::classic::{members_channel, private_response_channel};
use unisono_cluster::sharded::private_channel;
use unisono_redis::redis::{self, Script};
use unisono_redis::{CommandError, Commander, RedisConfig};

use super::keys::{braces, key_prefix};
use crate::config::RedisSettings;
use crate::session::MAX_SESSION_ID_BYTES;

const TRIAL: &str = include_str!("rights.lua");
/// The commands of the scripts, and those that run them.
const COMMANDS: &str =
    "+evalsha +script|load +hgetall +hget +hmget +hkeys +hset +hdel +expire +del";

/// How many keys are thought of to find one for each master of a cluster: enough for some hundred masters of equal size.
const TRIAL_KEYS: usize = 4_096;

/// The ACL rules that let a pod do all it does, for a line `ACL SETUSER <user> on ><password> <these>`.
pub fn acl_rules(config: &RedisConfig, key: &str) -> String {
    let prefix = key_prefix(config, key);
    let link = config.acl_rules();
    let requests = match config.adapter() {
        Adapter::Classic => format!(" &{key}-request#/#* &{key}-response#/#*"),
        // All channels of a namespace begin alike.
        Adapter::Sharded(_) => String::new(),
    };
    let members = members_channel(key);
    format!(
        "resetkeys ~{prefix}session:* ~{prefix}default-session resetchannels &{key}#/#*{requests} &{members} -@all {link} {COMMANDS}"
    )
}

/// Does once what commits do, on a key and a channel that nobody uses; in a Redis Cluster on each master where sessions may be, since users
/// are not replicated. `Err` says what is missing and what gives it, or what else went wrong.
pub async fn try_rights(commander: &Commander, settings: &RedisSettings) -> Result<(), Trial> {
    let mut outcome = Ok(());
    for key in trial_keys(commander, settings) {
        match try_rights_on(&key, commander, settings).await {
            // Whatever fails elsewhere, this is what somebody can do something about.
            Err(Trial::Refused(refusal)) => {
                let at = commander.master_of(&key);
                let at = at.map_or_else(String::new, |master| format!("{master}: "));
                return Err(Trial::Refused(format!("{at}{refusal}")));
            }
            tried => outcome = outcome.and(tried),
        }
    }
    outcome
}

/// One on every master of a cluster, or one; each too long to be that of a session.
fn trial_keys(commander: &Commander, settings: &RedisSettings) -> Vec<String> {
    let prefix = key_prefix(&settings.config, &settings.key);
    let key = |number: usize| {
        let too_long = MAX_SESSION_ID_BYTES + 1;
        format!("{prefix}session:{number:0too_long$}")
    };
    let mut keys: BTreeMap<String, String> = BTreeMap::new();
    let masters = commander.masters().len().max(1);
    for key in (0..TRIAL_KEYS).map(key) {
        if keys.len() < masters {
            let at = commander.master_of(&key).unwrap_or_default();
            keys.entry(at).or_insert(key);
        }
    }
    keys.into_values().collect()
}

async fn try_rights_on(
    key: &str,
    commander: &Commander,
    settings: &RedisSettings,
) -> Result<(), Trial> {
    // Where commits go, in a Redis Cluster. No node has this name.
    let tag = braces(&settings.config, &settings.key).unwrap_or_default();
    let trial_id = format!("{tag}trial-{}", std::process::id());
    let adapter = settings.config.adapter();
    let channel = answers_to(adapter, &settings.key, &trial_id);
    let publish = adapter.publish_command();
    let arguments = [channel.as_bytes(), publish.as_bytes()];
    let trial = Script::new(TRIAL);
    let written = commander.eval(&trial, &[key], &arguments).await;
    written.map_err(|error| verdict(error, settings))?;
    // Sessions are read without a script.
    let read = commander.query(redis::cmd("HGETALL").arg(key)).await;
    read.map_err(|error| verdict(error, settings))?;
    Ok(())
}

/// Where the answers to a node of this name come, in the namespace `/`.
pub fn answers_to(adapter: Adapter, key: &str, name: &str) -> String {
    match adapter {
        Adapter::Classic => private_response_channel(key, "/", name),
        Adapter::Sharded(_) => private_channel(key, "/", name),
    }
}

/// Why a trial failed.
#[derive(Debug, thiserror::Error)]
pub enum Trial {
    /// A right is missing.
    #[error("{0}")]
    Refused(String),
    /// Redis is away, full or slow.
    #[error(transparent)]
    Failed(CommandError),
}

fn verdict(error: CommandError, settings: &RedisSettings) -> Trial {
    if !error.is_no_permission() {
        return Trial::Failed(error);
    }
    let (user, rules) = (
        settings.config.user(),
        acl_rules(&settings.config, &settings.key),
    );
    Trial::Refused(format!(
        "Redis does not let user {user:?} keep sessions ({}): allow it with ACL SETUSER {user} {rules}",
        error.detail().unwrap_or("NOPERM")
    ))
}
