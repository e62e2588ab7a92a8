//! Scripts and commands, each with a deadline.

use std::sync::Arc;

use redis::{Cmd, RedisError, Script, Value};
use tokio::time::timeout;
use unisono_cluster::LinkState;

use crate::limits::REPLY_DEADLINE;
use crate::link::{Connections, Link};

/// Runs scripts and commands on a connection of its own. Clones are cheap and share it.
#[derive(Clone)]
pub struct Commander {
    link: Arc<Link>,
}

/// What went wrong, by what the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandErrorKind {
    /// There is no connection; nothing was sent. Try again when there is.
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
        let mut connections = self.connections()?;
        let mut invocation = script.prepare_invoke();
        for key in keys {
            invocation.key(*key);
        }
        for arg in args {
            invocation.arg(*arg);
        }
        let generation = connections.generation;
        let reply = timeout(
            REPLY_DEADLINE,
            invocation.invoke_async(&mut connections.commander),
        )
        .await;
        self.outcome(reply.ok(), generation)
    }

    /// Runs a command.
    ///
    /// # Errors
    /// See [`CommandErrorKind`]. Fails at once when the link is not up.
    pub async fn query(&self, command: &Cmd) -> Result<Value, CommandError> {
        let mut connections = self.connections()?;
        let generation = connections.generation;
        let reply = timeout(
            REPLY_DEADLINE,
            command.query_async(&mut connections.commander),
        )
        .await;
        self.outcome(reply.ok(), generation)
    }

    /// True when commands can be sent now.
    pub fn is_available(&self) -> bool {
        *self.link.state.borrow() == LinkState::Subscribed
    }

    fn connections(&self) -> Result<Connections, CommandError> {
        let current = self.link.connections.borrow().clone();
        current.filter(|_| self.is_available()).ok_or(CommandError {
            kind: CommandErrorKind::Unavailable,
            source: None,
        })
    }

    /// `None` is a reply that did not come in time.
    fn outcome(
        &self,
        reply: Option<Result<Value, RedisError>>,
        generation: u64,
    ) -> Result<Value, CommandError> {
        let error = match reply {
            Some(Ok(value)) => return Ok(value),
            Some(Err(error)) => error,
            None => {
                // A connection of its own, with nothing to probe it: its silence is all there is to notice.
                self.link.lost(generation, None);
                return Err(CommandError {
                    kind: CommandErrorKind::Timeout,
                    source: None,
                });
            }
        };
        let kind = if error.is_timeout() {
            self.link.lost(generation, Some(&error));
            CommandErrorKind::Timeout
        } else if error.is_unrecoverable_error() {
            self.link.lost(generation, Some(&error));
            CommandErrorKind::Disconnected
        } else {
            CommandErrorKind::Refused
        };
        Err(CommandError {
            kind,
            source: Some(error),
        })
    }
}
