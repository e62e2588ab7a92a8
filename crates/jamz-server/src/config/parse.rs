//! Text to [`Config`], collecting every error on the way.

use std::time::Duration;

use unisono_redis::RedisConfig;

use super::error::{ConfigError, ConfigErrors};
use super::redis::is_apart;
use super::{
    Auth, Config, DRAIN_CEILING, Limits, LogFormat, MAX_PAYLOAD_CEILING_BYTES,
    MAX_PAYLOAD_FLOOR_BYTES, Rate, RedisSettings, Secret, Source, limits, names,
};
use crate::store::fits;

/// Reads one variable after another and remembers what was wrong.
pub(super) struct Reader<'a> {
    source: &'a dyn Source,
    pub(super) errors: Vec<ConfigError>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a dyn Source) -> Self {
        Self {
            source,
            errors: Vec::new(),
        }
    }

    pub(super) fn config(mut self) -> Result<Config, ConfigErrors> {
        const PORT_RANGE: &str = "a port number from 0 to 65535";
        let port = self.number(names::PORT, names::DEFAULT_PORT, PORT_RANGE);
        let host = self.or(
            names::HOST,
            std::net::IpAddr::from([0, 0, 0, 0]),
            "an IP address such as 0.0.0.0 or ::",
            |text| text.parse().ok(),
        );
        let admin_port = self.number(names::ADMIN_PORT, names::DEFAULT_ADMIN_PORT, PORT_RANGE);
        if port == admin_port && port != 0 {
            self.errors.push(ConfigError::SamePort { port });
        }
        let redis = self.redis();
        let origins = self.origins();
        let auth = self.auth();
        let config = Config {
            host,
            port,
            admin_port,
            any_admin_port: self.text(names::ADMIN_PORT).is_none(),
            redis,
            origins,
            auth,
            pod_name: self.pod_name(),
            log_format: self.log_format(),
            log_filter: self.log_filter(),
            drain: self.drain(),
            readyz_drain_status: self.readyz_drain_status(),
            max_payload_bytes: self.max_payload_bytes(),
            limits: self.limits(),
        };
        self.unknown_names();
        if self.errors.is_empty() {
            Ok(config)
        } else {
            Err(ConfigErrors(self.errors))
        }
    }

    /// The trimmed text of a variable; empty counts as unset.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let text = self.source.text(name)?;
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    pub(super) fn pod_name(&self) -> String {
        self.text(names::POD_NAME).unwrap_or_else(host_name)
    }

    pub(super) fn or<T>(
        &mut self,
        name: &'static str,
        default: T,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        let Some(text) = self.text(name) else {
            return default;
        };
        parse(&text).unwrap_or_else(|| {
            self.errors.push(ConfigError::Malformed {
                name,
                value: text,
                expected,
            });
            default
        })
    }

    fn number<T: std::str::FromStr>(
        &mut self,
        name: &'static str,
        default: T,
        expected: &'static str,
    ) -> T {
        self.or(name, default, expected, |text| text.parse().ok())
    }

    fn redis(&mut self) -> Option<RedisSettings> {
        let url = self.text(names::REDIS_URL);
        if url.is_none() {
            let others = [
                names::REDIS_ADAPTER,
                names::REDIS_SUBSCRIPTION_MODE,
                names::REDIS_KEY,
            ];
            for name in names::REDIS_ACCESS.into_iter().chain(others) {
                if self.text(name).is_some() {
                    let needs = names::REDIS_URL;
                    self.errors.push(ConfigError::Needs { name, needs });
                }
            }
        }
        let adapter = self.adapter();
        let key = self.or(
            names::REDIS_KEY,
            names::DEFAULT_REDIS_KEY.to_owned(),
            "a prefix without blanks, without # and the pattern characters * ? [ ] \\, without `session` between its colons, and without -request or -response at its end",
            |text| {
                let plain = |c: char| !c.is_whitespace() && !r"*?[]\".contains(c);
                let good = text.chars().all(plain) && is_apart(text);
                good.then(|| text.to_owned())
            },
        );
        let url = url?;
        match RedisConfig::parse(&url) {
            Ok(config) => {
                let config = self.redis_access(config.speaking(adapter));
                if !fits(&config, &key) {
                    self.errors.push(ConfigError::Malformed {
                        name: names::REDIS_KEY,
                        value: key,
                        expected: "without { and }, or with a hash tag such as {jamz}, where the sharded adapter is on a Redis Cluster: the sessions must be where their channel is",
                    });
                    return None;
                }
                let access = self.shown_access();
                Some(RedisSettings {
                    url,
                    config,
                    key,
                    access,
                })
            }
            Err(error) => {
                let reason = error.to_string();
                self.errors.push(ConfigError::RedisUrl { reason });
                None
            }
        }
    }

    fn origins(&mut self) -> Vec<String> {
        let default = vec![names::DEFAULT_FRONTEND_URL.to_owned()];
        self.or(
            names::FRONTEND_URL,
            default,
            "origins such as https://jamz.v2u.us, comma-separated, without path or wildcard",
            |text| text.split(',').map(origin).collect(),
        )
    }

    fn auth(&mut self) -> Auth {
        let secret = self.text(names::JWT_SECRET).map(Secret::new);
        let mode = self.or(
            names::SOCKET_AUTH,
            "optional",
            "`off`, `optional` or `required`",
            |text| {
                ["off", "optional", "required"]
                    .into_iter()
                    .find(|mode| *mode == text)
            },
        );
        match (mode, secret) {
            ("off", _) => Auth::Off,
            ("required", Some(secret)) => Auth::Required(secret),
            ("required", None) => {
                self.errors.push(ConfigError::MissingSecret);
                Auth::Off
            }
            (_, secret) => Auth::Optional(secret),
        }
    }

    fn log_format(&mut self) -> LogFormat {
        self.or(
            names::LOG_FORMAT,
            LogFormat::Text,
            "`text` or `json`",
            |text| match text {
                "text" => Some(LogFormat::Text),
                "json" => Some(LogFormat::Json),
                _ => None,
            },
        )
    }

    fn log_filter(&mut self) -> String {
        self.or(
            names::RUST_LOG,
            names::DEFAULT_RUST_LOG.to_owned(),
            "a log filter such as `info` or `info,unisono=debug`",
            |text| {
                let parsed = tracing_subscriber::EnvFilter::try_new(text);
                parsed.is_ok().then(|| text.to_owned())
            },
        )
    }

    fn drain(&mut self) -> Duration {
        self.or(
            names::DRAIN_SECONDS,
            Duration::from_secs(names::DEFAULT_DRAIN_SECONDS),
            "a number of seconds from 0 to 3600",
            |text| {
                let drain = Duration::from_secs(text.parse().ok()?);
                (drain <= DRAIN_CEILING).then_some(drain)
            },
        )
    }

    fn readyz_drain_status(&mut self) -> u16 {
        self.or(
            names::READYZ_DRAIN_STATUS,
            200,
            "200, 404 or 503",
            |text| match text {
                "200" => Some(200),
                "404" => Some(404),
                "503" => Some(503),
                _ => None,
            },
        )
    }

    fn max_payload_bytes(&mut self) -> usize {
        self.or(
            names::MAX_PAYLOAD_BYTES,
            names::DEFAULT_MAX_PAYLOAD_BYTES,
            "a number of bytes from 1024 (1 KiB) to 15728640 (15 MiB)",
            |text| {
                let bytes = text.parse().ok()?;
                (MAX_PAYLOAD_FLOOR_BYTES..=MAX_PAYLOAD_CEILING_BYTES)
                    .contains(&bytes)
                    .then_some(bytes)
            },
        )
    }

    fn limits(&mut self) -> Limits {
        let handshakes = self.rate(names::HANDSHAKE_RATE, names::DEFAULT_HANDSHAKE_RATE);
        let trusted_proxies = self.or(
            names::TRUSTED_PROXIES,
            Vec::new(),
            "networks such as 10.42.0.0/16 or single addresses, comma-separated",
            |text| text.split(',').map(limits::network).collect(),
        );
        let behind_proxies = !trusted_proxies.is_empty();
        let connections_per_address = self.or(
            names::CONNECTIONS_PER_ADDRESS,
            behind_proxies.then_some(names::DEFAULT_CONNECTIONS_PER_ADDRESS),
            "a number of connections from 1, or `off`",
            |text| limits::or_off(text, |text| text.parse().ok().filter(|&n| n > 0)),
        );
        Limits {
            handshakes,
            events: self.rate(names::EVENT_RATE, names::DEFAULT_EVENT_RATE),
            bytes: self.rate(names::BYTE_RATE, names::DEFAULT_BYTE_RATE),
            connections_per_address,
            trusted_proxies,
        }
    }

    fn rate(&mut self, name: &'static str, default: Rate) -> Option<Rate> {
        self.or(
            name,
            Some(default),
            "so many a second and so many at once, such as 100:1000, both above zero, or `off`",
            |text| limits::or_off(text, Rate::parse),
        )
    }

    /// Refuses `REDIS_…` variables that nobody reads. Kubernetes injects variables with
    /// such names for every Service called `redis…` (`REDIS_SERVICE_HOST`,
    /// `REDIS_PORT=tcp://…`, `REDIS_PORT_6379_TCP_ADDR`); those are not settings.
    fn unknown_names(&mut self) {
        let mut names = self.source.names();
        names.sort();
        for name in names {
            if !name.starts_with("REDIS_") || names::ALL.contains(&name.as_str()) {
                continue;
            }
            let value = self.source.text(&name).unwrap_or_default();
            if value.trim().is_empty() || is_service_link(&name, &value) {
                continue;
            }
            let advice = match name.as_str() {
                "REDIS_HOST" | "REDIS_PORT" | "REDIS_PASSWORD" | "REDIS_USERNAME" | "REDIS_DB" => {
                    "put host, port, password and database into REDIS_URL: redis://[user:password@]host:port[/db], or the password into a file that REDIS_PASSWORD_FILE names"
                }
                _ => {
                    "remove it, or look up its name: `jamz-server check-config` shows those that are read"
                }
            };
            self.errors.push(ConfigError::Unknown { name, advice });
        }
    }
}

/// A variable that Kubernetes injects for a Service.
fn is_service_link(name: &str, value: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && value.contains("://"))
        || (name.contains("_PORT_") && (name.contains("_TCP") || name.contains("_UDP")))
}

/// `scheme://host[:port]`, as browsers send it; one trailing slash is forgiven.
fn origin(text: &str) -> Option<String> {
    let text = text.trim();
    let text = text.strip_suffix('/').unwrap_or(text);
    let (scheme, host) = text.split_once("://")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let good = !scheme.is_empty()
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && !host.is_empty()
        && host.chars().all(plain);
    good.then(|| text.to_ascii_lowercase())
}

/// The host name, which Kubernetes sets to the pod's name.
fn host_name() -> String {
    let read = |path| std::fs::read_to_string(path).ok();
    let name = std::env::var("HOSTNAME")
        .ok()
        .or_else(|| read("/proc/sys/kernel/hostname"))
        .or_else(|| read("/etc/hostname"))
        .unwrap_or_default();
    match name.trim() {
        "" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}
