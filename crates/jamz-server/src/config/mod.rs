//! Configuration: environment text in, a checked [`Config`] out.
//!
//! All checks happen in [`Config::read`], and all errors are reported together.
//! An empty variable counts as unset, as the migration from Node.js expects of `REDIS_URL`.

pub mod names;

mod adapter;
mod error;
mod limits;
mod parse;
mod redis;
mod source;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

pub use error::{ConfigError, ConfigErrors};
pub use limits::{Limits, Rate};
pub use source::{ProcessEnvironment, Source};
use unisono_redis::{RedisConfig, redact_url};

/// Largest payload limit that may be configured: the bus refuses messages above 16 MiB,
/// and a payload grows when it is wrapped for the bus.
pub const MAX_PAYLOAD_CEILING_BYTES: usize = 15 * 1024 * 1024;
/// Smallest payload limit that may be configured: below it, ordinary handshakes stop working.
pub const MAX_PAYLOAD_FLOOR_BYTES: usize = 1024;
/// Longest drain that may be configured. Beyond an hour the orchestrator has long killed the pod.
pub const DRAIN_CEILING: Duration = Duration::from_secs(3600);

/// The checked configuration of one pod.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address both listeners bind to.
    pub host: IpAddr,
    /// Port for clients; 0 takes a free one.
    pub port: u16,
    /// Port for probes and metrics; 0 takes a free one.
    pub admin_port: u16,
    /// Nobody asked for that port: if it is taken, as by another pod on the same machine, any other does.
    pub any_admin_port: bool,
    /// Redis, or `None` for single-instance mode.
    pub redis: Option<RedisSettings>,
    /// Origins that browsers may come from, without trailing slash.
    pub origins: Vec<String>,
    /// What happens to the token of a handshake.
    pub auth: Auth,
    /// Name of this pod.
    pub pod_name: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Filter of the log, in the syntax of `tracing-subscriber`.
    pub log_filter: String,
    /// How long a drain may take.
    pub drain: Duration,
    /// Status of `/readyz` while draining: 200, 404 or 503.
    pub readyz_drain_status: u16,
    /// Largest message of a client in bytes.
    pub max_payload_bytes: usize,
    /// What clients may ask of the pod.
    pub limits: Limits,
}

/// How to reach Redis and under which prefix.
#[derive(Clone)]
pub struct RedisSettings {
    /// The address as it was given; carries the password, so it is never printed.
    pub url: String,
    /// The parsed address.
    pub config: RedisConfig,
    /// Channel prefix (`key` of the Node.js adapter).
    pub key: String,
    /// What was said beside the address about getting in, without secrets, by the name of its variable.
    pub access: BTreeMap<&'static str, String>,
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("url", &redact_url(&self.url))
            .field("key", &self.key)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

/// What happens to the token of a handshake.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Tokens are not looked at.
    Off,
    /// A valid token names the user; anything else is an anonymous socket. Without a
    /// secret nothing can be valid, so every socket is anonymous.
    Optional(Option<Secret>),
    /// A socket without a valid token is refused.
    Required(Secret),
}

/// A text that never appears in logs or debug output.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The bytes of the secret, for the one place that computes with them.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// All errors at once, in the order of [`names::ALL`], unknown variables last.
    pub fn read(source: &dyn Source) -> Result<Self, ConfigErrors> {
        parse::Reader::new(source).config()
    }

    /// The configuration as lines of `NAME=value`, with secrets and passwords left out.
    pub fn redacted(&self) -> Vec<String> {
        let redis = self.redis.as_ref();
        let (auth, secret) = match &self.auth {
            Auth::Off => ("off", false),
            Auth::Optional(secret) => ("optional", secret.is_some()),
            Auth::Required(_) => ("required", true),
        };
        let format = match self.log_format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        let limits = &self.limits;
        let proxies: Vec<_> = limits
            .trusted_proxies
            .iter()
            .map(ToString::to_string)
            .collect();
        let proxies = match proxies.join(",") {
            none if none.is_empty() => "(unset)".to_owned(),
            some => some,
        };
        let address_limit = limits::show(limits.connections_per_address.as_ref());
        let line = |name: &str, value: &dyn fmt::Display| format!("{name}={value}");
        let access = names::REDIS_ACCESS.map(|name| {
            let value = redis.and_then(|redis| redis.access.get(name));
            line(name, &value.map_or("(unset)", String::as_str))
        });
        let lines = vec![
            line(names::PORT, &self.port),
            line(names::HOST, &self.host),
            line(names::ADMIN_PORT, &self.admin_port),
            line(
                names::REDIS_URL,
                &redis.map_or_else(
                    || "(unset: single-instance mode)".to_owned(),
                    |r| redact_url(&r.url),
                ),
            ),
            line(
                names::REDIS_KEY,
                &redis.map_or(names::DEFAULT_REDIS_KEY, |r| r.key.as_str()),
            ),
            line(names::FRONTEND_URL, &self.origins.join(",")),
            line(names::SOCKET_AUTH, &auth),
            line(names::JWT_SECRET, &if secret { "(set)" } else { "(unset)" }),
            line(names::POD_NAME, &self.pod_name),
            line(names::LOG_FORMAT, &format),
            line(names::RUST_LOG, &self.log_filter),
            line(names::DRAIN_SECONDS, &self.drain.as_secs()),
            line(names::READYZ_DRAIN_STATUS, &self.readyz_drain_status),
            line(names::MAX_PAYLOAD_BYTES, &self.max_payload_bytes),
            line(
                names::HANDSHAKE_RATE,
                &limits::show(limits.handshakes.as_ref()),
            ),
            line(names::CONNECTIONS_PER_ADDRESS, &address_limit),
            line(names::TRUSTED_PROXIES, &proxies),
            line(names::EVENT_RATE, &limits::show(limits.events.as_ref())),
            line(names::BYTE_RATE, &limits::show(limits.bytes.as_ref())),
        ];
        let adapter = adapter::shown(redis);
        lines.into_iter().chain(adapter).chain(access).collect()
    }
}
