//! Where Redis is, checked before anything is started.

use std::time::Duration;

use redis::IntoConnectionInfo;
use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionAddr, RedisResult, TlsCertificates};

use crate::limits::{PUBLISH_BUFFER_BYTES, PUBLISH_BUFFER_MESSAGES, PUBLISH_MAX_AGE};

/// Where Redis is and how this process appears there.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    pub(crate) connection: Redacted<redis::ConnectionInfo>,
    root_certificates: Option<Vec<u8>>,
    pub(crate) redacted_url: String,
    pub(crate) client_name: String,
    pub(crate) buffer_bytes: usize,
    pub(crate) buffer_messages: usize,
    pub(crate) buffer_max_age: Duration,
}

/// Why a Redis URL cannot be used. The password is never part of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Neither `redis://` nor `rediss://`.
    #[error("the Redis URL must start with redis:// or rediss:// (TLS)")]
    Scheme,
    /// A sentinel URL.
    #[error(
        "redis+sentinel:// is not supported by this version yet: give the redis:// URL of the master's service"
    )]
    Sentinel,
    /// Several URLs, as for a Redis Cluster.
    #[error(
        "several comma-separated Redis URLs (Redis Cluster) are not supported by this version yet: give one redis:// URL"
    )]
    Cluster,
    /// Not a valid URL.
    #[error(
        "the Redis URL {redacted_url} is not valid: expected redis://[user:password@]host[:port][/database]"
    )]
    Invalid {
        /// The URL without user and password.
        redacted_url: String,
    },
}

impl RedisConfig {
    /// Reads a URL of the form `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS with public certificates.
    ///
    /// # Errors
    /// See [`ConfigError`]. Whether Redis is there is not looked at.
    pub fn parse(url: &str) -> Result<Self, ConfigError> {
        let url = url.trim();
        if is_sentinel(url) {
            return Err(ConfigError::Sentinel);
        }
        if url.split(',').filter(|part| part.contains("://")).count() > 1 {
            return Err(ConfigError::Cluster);
        }
        if !url.starts_with("redis://") && !url.starts_with("rediss://") {
            return Err(ConfigError::Scheme);
        }
        let redacted_url = redact_url(url);
        let Ok(connection) = url.into_connection_info() else {
            return Err(ConfigError::Invalid { redacted_url });
        };
        let settings = connection
            .redis_settings()
            .clone()
            .set_protocol(redis::ProtocolVersion::RESP3);
        let tcp = TcpSettings::default().set_nodelay(true);
        Ok(Self {
            connection: Redacted(
                connection
                    .set_redis_settings(settings)
                    .set_tcp_settings(tcp),
            ),
            root_certificates: None,
            redacted_url,
            client_name: "unisono".to_owned(),
            buffer_bytes: PUBLISH_BUFFER_BYTES,
            buffer_messages: PUBLISH_BUFFER_MESSAGES,
            buffer_max_age: PUBLISH_MAX_AGE,
        })
    }

    /// How `CLIENT LIST` names this process; characters that Redis refuses are replaced by `-`. Default `unisono`.
    #[must_use]
    pub fn client_name(mut self, name: &str) -> Self {
        self.client_name = name
            .chars()
            .map(|c| if c.is_ascii_graphic() { c } else { '-' })
            .collect();
        self
    }

    /// For `rediss://` with a private authority: its certificates in PEM, trusted instead of the public ones. Unreadable ones show as
    /// failing attempts to connect.
    #[must_use]
    pub fn root_certificates(mut self, pem: &[u8]) -> Self {
        self.root_certificates = Some(pem.to_vec());
        self
    }

    /// The limits of the publish buffer: bytes (default 8 MiB), messages (65,536), and how long a message may wait (5 s).
    #[must_use]
    pub fn publish_buffer(mut self, bytes: usize, messages: usize, max_age: Duration) -> Self {
        (self.buffer_bytes, self.buffer_messages, self.buffer_max_age) = (bytes, messages, max_age);
        self
    }

    fn is_tls(&self) -> bool {
        matches!(self.connection.0.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// To be called before connecting.
    pub(crate) fn choose_tls_provider(&self) {
        if self.is_tls() {
            // Fails when the process has chosen a provider already, which serves as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
    }

    pub(crate) fn client(&self) -> RedisResult<Client> {
        let connection = self.connection.0.clone();
        match &self.root_certificates {
            Some(pem) if self.is_tls() => {
                let certificates = TlsCertificates {
                    client_tls: None,
                    root_cert: Some(pem.clone()),
                };
                Client::build_with_tls(connection, certificates)
            }
            _ => Client::open(connection),
        }
    }

    /// The URL without user and password, for logs.
    pub fn redacted_url(&self) -> &str {
        &self.redacted_url
    }
}

fn is_sentinel(url: &str) -> bool {
    url.starts_with("redis+sentinel://")
        || url.starts_with("rediss+sentinel://")
        || url.starts_with("redis-sentinel://")
}

/// The URL with everything between its scheme and its last `@` replaced by `***`: whatever a password contains, it does not show.
pub fn redact_url(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}://***{}", &url[..scheme], &url[at..])
        }
        (None, Some(at)) => format!("***{}", &url[at..]),
        _ => url.to_owned(),
    }
}

/// Holds what must not be printed.
#[derive(Clone)]
pub(crate) struct Redacted<T>(pub(crate) T);

impl<T> std::fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked_early() {
        let check = |url: &str, expected: Result<&str, ConfigError>| {
            let config = RedisConfig::parse(url);
            assert_eq!(
                config
                    .as_ref()
                    .map(RedisConfig::redacted_url)
                    .map_err(Clone::clone),
                expected,
                "{url}"
            );
        };
        check("redis://localhost:6379", Ok("redis://localhost:6379"));
        check(
            " redis://redis-service.default.svc.cluster.local:6379 ",
            Ok("redis://redis-service.default.svc.cluster.local:6379"),
        );
        check(
            "rediss://user:secret@host:6380/2",
            Ok("rediss://***@host:6380/2"),
        );
        check("redis://:se,cr,et@host", Ok("redis://***@host"));
        check("localhost:6379", Err(ConfigError::Scheme));
        check("http://localhost", Err(ConfigError::Scheme));
        check("", Err(ConfigError::Scheme));
        check(
            "redis+sentinel://a:26379,b:26379/mymaster",
            Err(ConfigError::Sentinel),
        );
        check("redis://a:6379,redis://b:6379", Err(ConfigError::Cluster));
        let invalid = |redacted: &str| ConfigError::Invalid {
            redacted_url: redacted.to_owned(),
        };
        check(
            "redis://user:secret@host:port",
            Err(invalid("redis://***@host:port")),
        );
        check(
            "redis://host/notanumber",
            Err(invalid("redis://host/notanumber")),
        );
    }

    #[test]
    fn passwords_never_show() {
        let check = |url: &str, expected: &str| assert_eq!(redact_url(url), expected, "{url}");
        check("redis://host", "redis://host");
        check("redis://secret@host", "redis://***@host");
        check("redis://:s/e@c#r?e:t@host/1", "redis://***@host/1");
        check(
            "redis://a:secret@one,redis://b:secret@two",
            "redis://***@two",
        );
        check("user:secret@host", "***@host");
        let config = RedisConfig::parse("redis://user:secret@host").expect("valid");
        assert!(!format!("{config:?}").contains("secret"));
    }
}
