//! Scripts and commands, each with a deadline.

use std::sync::Arc;

use redis::{Cmd, RedisError, Script, ServerErrorKind, Value};
use tokio::time::timeout;
use unisono_cluster::{Adapter, LinkState};

use crate::cluster::{Cluster, slot_of};
use crate::config::{Address, RedisConfig, Topology};
use crate::failure::Failure;
use crate::limits::REPLY_DEADLINE;
use crate::link::{Connections, Link};
use crate::nodes::{Request, RequestError};

/// Runs scripts and commands on a connection of its own. Clones are cheap and share it.
///
/// In a Redis Cluster they go to the node that serves their key, and follow the key when it moves: the first of a script's keys, or a
/// command's first argument.
#[derive(Clone)]
pub struct Commander {
    link: Arc<Link>,
}

/// What went wrong, by what the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandErrorKind {
    /// There is no connection, or none to the node of the cluster that has the key; nothing was sent. Try again when there is.
    Unavailable,
    /// No reply within the deadline (1 s, or the emitter's). The command may have been, or may yet be, executed.
    Timeout,
    /// The connection broke while waiting. The command may have been executed.
    Disconnected,
    /// Redis replied with an error: the command had no effect, or a script stopped where it failed.
    Refused,
}

/// A command that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.text())]
pub struct CommandError {
    kind: CommandErrorKind,
    source: Option<RedisError>,
}

impl CommandError {
    pub(crate) fn new(kind: CommandErrorKind, source: Option<RedisError>) -> Self {
        Self { kind, source }
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> CommandErrorKind {
        self.kind
    }

    /// True when the command may have been executed all the same.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(
            self.kind,
            CommandErrorKind::Timeout | CommandErrorKind::Disconnected
        )
    }

    /// The error code of Redis (`WRONGTYPE`, `NOPERM`, or what a script returned), when it refused.
    pub fn code(&self) -> Option<&str> {
        self.source
            .as_ref()
            .filter(|_| self.kind == CommandErrorKind::Refused)?
            .code()
    }

    /// What Redis said behind the code, when it refused.
    pub fn detail(&self) -> Option<&str> {
        self.source
            .as_ref()
            .filter(|_| self.kind == CommandErrorKind::Refused)?
            .detail()
    }

    /// True when this user lacks a right: to the command, to the key, or to what a script did.
    pub fn is_no_permission(&self) -> bool {
        // Redis 6 and Valkey say `ERR` when it was in a script.
        let in_script = |text: &str| {
            text.contains("The user executing the script can't")
                || text.contains("ACL failure in script")
                || text.contains("NOPERM")
        };
        self.code() == Some("NOPERM") || self.detail().is_some_and(in_script)
    }

    fn text(&self) -> &'static str {
        match self.kind {
            CommandErrorKind::Unavailable => "redis is not available now, nothing was sent",
            CommandErrorKind::Timeout => "redis did not reply in time, the outcome is unknown",
            CommandErrorKind::Disconnected => {
                "the connection to redis broke, the outcome is unknown"
            }
            CommandErrorKind::Refused => "redis refused the command",
        }
    }
}

impl From<RequestError> for CommandError {
    fn from(error: RequestError) -> Self {
        let error = match error {
            RequestError::Unreachable(failure) => {
                return Self::new(CommandErrorKind::Unavailable, Some(failure.into()));
            }
            RequestError::Home(error) | RequestError::Elsewhere(error) => error,
        };
        let kind = if error.is_timeout() {
            CommandErrorKind::Timeout
        } else if error.is_unrecoverable_error() {
            CommandErrorKind::Disconnected
        } else {
            CommandErrorKind::Refused
        };
        Self::new(kind, Some(error))
    }
}

impl Commander {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self { link }
    }

    /// Runs a script by its hash, loading it first where Redis does not have it.
    ///
    /// # Errors
    /// See [`CommandErrorKind`]. Fails at once when the link is not up.
    pub async fn eval(
        &self,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<Value, CommandError> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(script.get_hash()).arg(keys.len()).arg(keys);
        for arg in args {
            command.arg(*arg);
        }
        let request = Request {
            command: &command,
            script: Some(script),
        };
        self.run(&request).await
    }

    /// Runs a command.
    ///
    /// # Errors
    /// See [`CommandErrorKind`]. Fails at once when the link is not up.
    pub async fn query(&self, command: &Cmd) -> Result<Value, CommandError> {
        let request = Request {
            command,
            script: None,
        };
        self.run(&request).await
    }

    /// The masters of the Redis Cluster that the link is in, `host:port` each; none elsewhere, or while the link is away.
    pub fn masters(&self) -> Vec<String> {
        let cluster = self.cluster();
        let masters =
            cluster.map(|cluster| cluster.slots().masters().map(Address::to_string).collect());
        masters.unwrap_or_default()
    }

    /// Which of them serves a key.
    pub fn master_of(&self, key: &str) -> Option<String> {
        let owner = self.cluster()?.owner(slot_of(key.as_bytes()));
        owner.map(|owner| owner.to_string())
    }

    /// Runs a command at one of the [`masters`](Self::masters), whatever its key is.
    ///
    /// # Errors
    /// As [`query`](Self::query). [`CommandErrorKind::Unavailable`] for a name that is none of theirs.
    pub async fn query_at(&self, master: &str, command: &Cmd) -> Result<Value, CommandError> {
        let nodes = self.connections()?.commander;
        let known = nodes.cluster.as_ref().map(|cluster| cluster.nodes());
        let mut known = known.into_iter().flatten();
        let Some(node) = known.find(|node| node.to_string() == master) else {
            return Err(CommandError::new(CommandErrorKind::Unavailable, None));
        };
        let reply = timeout(REPLY_DEADLINE, nodes.run_at(&node, command)).await;
        reply.map_or_else(
            |_| Err(CommandError::new(CommandErrorKind::Timeout, None)),
            |reply| reply.map_err(CommandError::from),
        )
    }

    fn cluster(&self) -> Option<Arc<Cluster>> {
        self.connections().ok()?.commander.cluster
    }

    async fn run(&self, request: &Request<'_>) -> Result<Value, CommandError> {
        let connections = self.connections()?;
        let mut at = None;
        let reply = timeout(REPLY_DEADLINE, connections.commander.run(request, &mut at)).await;
        if let (Err(_), Some(node)) = (&reply, &at) {
            // Another node of the cluster hangs; the link does not.
            connections.commander.give_up(node);
            return Err(CommandError::new(CommandErrorKind::Timeout, None));
        }
        self.outcome(reply.ok(), connections.generation)
    }

    /// Which adapter the link speaks: scripts that publish do it with its [`publish_command`](Adapter::publish_command).
    pub fn adapter(&self) -> Adapter {
        self.link.config.adapter
    }

    /// What the link was started with.
    pub fn config(&self) -> &RedisConfig {
        &self.link.config
    }

    /// True when commands can be sent now.
    pub fn is_available(&self) -> bool {
        *self.link.state.borrow() == LinkState::Subscribed
    }

    fn connections(&self) -> Result<Connections, CommandError> {
        let current = self.link.connections.borrow().clone();
        current
            .filter(|_| self.is_available())
            .ok_or(CommandError::new(CommandErrorKind::Unavailable, None))
    }

    /// `None` is a reply that did not come in time.
    fn outcome(
        &self,
        reply: Option<Result<Value, RequestError>>,
        generation: u64,
    ) -> Result<Value, CommandError> {
        let error = match reply {
            Some(Ok(value)) => return Ok(value),
            Some(Err(error)) => error,
            None => {
                // A connection of its own, with nothing to probe it: its silence is all there is to notice.
                self.link.lost(generation, None);
                return Err(CommandError::new(CommandErrorKind::Timeout, None));
            }
        };
        if let RequestError::Home(error) = &error {
            if error.is_timeout() || error.is_unrecoverable_error() {
                self.link.lost(generation, Some(error));
            }
            self.note_misplaced(error, generation);
        }
        Err(error.into())
    }

    /// Redis is there, and is not what was configured.
    fn note_misplaced(&self, error: &RedisError, generation: u64) {
        let is_replica = [ServerErrorKind::ReadOnly, ServerErrorKind::MasterDown];
        if is_replica
            .into_iter()
            .any(|kind| error.kind() == kind.into())
        {
            // The master of yesterday: the way there leads elsewhere by now, or soon.
            let code = error.code().unwrap_or_default();
            self.link.note(Failure::new(format!(
                "this Redis is a replica, which takes no changes ({code}): looking for its master"
            )));
            if self.link.config.topology == Topology::Single {
                // Its address may lead to the same replica again, which serves broadcasts well: not more often than that helps.
                self.link.suspect();
            } else {
                self.link.lost(generation, None);
            }
        } else if error.kind() == ServerErrorKind::Moved.into() && !self.link.config.is_cluster() {
            self.link.note(Failure::refusal(
                "this Redis is a node of a cluster (MOVED): give the URLs of several nodes with commas between, or this one twice",
            ));
        }
    }
}
