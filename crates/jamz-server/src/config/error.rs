//! What can be wrong with a configuration, each with the way to put it right.

use std::fmt;

use thiserror::Error;

use super::names;

/// One thing wrong with the configuration.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The value is not what the variable takes.
    #[error("{name} is {value:?}, but must be {expected}")]
    Malformed {
        /// The variable.
        name: &'static str,
        /// What it was set to. Never used for a secret.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
    /// The Redis address cannot be used; the reason never shows a password.
    #[error("{} cannot be used: {reason}", names::REDIS_URL)]
    RedisUrl {
        /// Why, and what to do.
        reason: String,
    },
    /// A file that leads into Redis cannot be used.
    #[error("{reason}; correct the REDIS_…_FILE that names it")]
    Redis {
        /// Which, and why.
        reason: String,
    },
    /// The same thing is said in two places.
    #[error("{name} and {other} say the same thing; leave one of them out")]
    Twice {
        /// The variable.
        name: &'static str,
        /// The other place.
        other: &'static str,
    },
    /// A variable that means something with another kind of Redis.
    #[error(
        "{name} only has a meaning with {with}; change {} or remove {name}",
        names::REDIS_URL
    )]
    OnlyWith {
        /// The variable.
        name: &'static str,
        /// What it goes with.
        with: &'static str,
    },
    /// A value that is known, but that this version does not do.
    #[error("{name}={value} is not supported by this version; use {instead}")]
    Unsupported {
        /// The variable.
        name: &'static str,
        /// What it was set to.
        value: String,
        /// What works.
        instead: &'static str,
    },
    /// A `REDIS_…` variable nobody reads: most likely a typing error or another server's setting.
    #[error("{name} is not a setting of this server; {advice}")]
    Unknown {
        /// The variable as it was set.
        name: String,
        /// What to do.
        advice: &'static str,
    },
    /// A variable that has no effect without another one.
    #[error("{name} is set, but {needs} is not; set {needs} or remove {name}")]
    Needs {
        /// The variable that is set.
        name: &'static str,
        /// The variable it depends on.
        needs: &'static str,
    },
    /// Sockets must show a token, but there is nothing to check it with.
    #[error(
        "{}=required needs {}: set the secret the tokens are signed with",
        names::SOCKET_AUTH,
        names::JWT_SECRET
    )]
    MissingSecret,
    /// Both listeners would bind to the same port.
    #[error(
        "{} and {} are both {port}; give each its own port",
        names::PORT,
        names::ADMIN_PORT
    )]
    SamePort {
        /// The port both ask for.
        port: u16,
    },
}

/// Everything wrong with the configuration, so that one start shows all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} error(s):", self.0.len())?;
        for error in &self.0 {
            write!(f, "\n  - {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
