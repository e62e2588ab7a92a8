//! How to get in at Redis: files with passwords and certificates, sentinels with passwords of their own.

use std::collections::BTreeMap;

use unisono_redis::RedisConfig;

use super::error::ConfigError;
use super::names;
use super::parse::Reader;

impl Reader<'_> {
    /// The configuration with everything that is said beside the URL.
    pub(super) fn redis_access(&mut self, config: RedisConfig) -> RedisConfig {
        let config = config.client_name(&self.pod_name());
        let config = self.redis_password(config);
        let config = self.redis_sentinel(config);
        let config = self.redis_tls(config);
        if let Err(error) = config.check_files() {
            let reason = error.to_string();
            self.errors.push(ConfigError::Redis { reason });
        }
        config
    }

    pub(super) fn shown_access(&self) -> BTreeMap<&'static str, String> {
        let shown = |name: &'static str| match (self.text(name)?, name) {
            (_, names::REDIS_SENTINEL_PASSWORD) => Some((name, "(set)".to_owned())),
            (value, _) => Some((name, value)),
        };
        names::REDIS_ACCESS.into_iter().filter_map(shown).collect()
    }

    fn redis_password(&mut self, config: RedisConfig) -> RedisConfig {
        let Some(path) = self.text(names::REDIS_PASSWORD_FILE) else {
            return config;
        };
        if config.has_password() {
            self.errors.push(ConfigError::Twice {
                name: names::REDIS_PASSWORD_FILE,
                other: "the password in REDIS_URL",
            });
        }
        config.password_file(path)
    }

    fn redis_sentinel(&mut self, mut config: RedisConfig) -> RedisConfig {
        let user = self.text(names::REDIS_SENTINEL_USERNAME);
        let password = self.text(names::REDIS_SENTINEL_PASSWORD);
        let file = self.text(names::REDIS_SENTINEL_PASSWORD_FILE);
        if !config.is_sentinel() {
            let set = [user.is_some(), password.is_some(), file.is_some()];
            self.only_with(&names::REDIS_ACCESS[1..4], &set, "a redis+sentinel:// URL");
            return config;
        }
        if password.is_some() && file.is_some() {
            self.errors.push(ConfigError::Twice {
                name: names::REDIS_SENTINEL_PASSWORD_FILE,
                other: names::REDIS_SENTINEL_PASSWORD,
            });
        }
        if user.is_some() && password.is_none() && file.is_none() {
            self.errors.push(ConfigError::Needs {
                name: names::REDIS_SENTINEL_USERNAME,
                needs: names::REDIS_SENTINEL_PASSWORD,
            });
        }
        config = config.sentinel_user(user.as_deref());
        if let Some(password) = password {
            config = config.sentinel_password(&password);
        }
        match file {
            Some(path) => config.sentinel_password_file(path),
            None => config,
        }
    }

    fn redis_tls(&mut self, mut config: RedisConfig) -> RedisConfig {
        let roots = self.text(names::REDIS_TLS_CA_FILE);
        let certificate = self.text(names::REDIS_TLS_CERT_FILE);
        let key = self.text(names::REDIS_TLS_KEY_FILE);
        if !config.is_tls() {
            let set = [roots.is_some(), certificate.is_some(), key.is_some()];
            self.only_with(&names::REDIS_ACCESS[4..], &set, "a rediss:// URL");
            return config;
        }
        if let Some(roots) = roots {
            config = config.root_certificates_file(roots);
        }
        let (name, needs) = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                return config.client_certificate_files(certificate, key);
            }
            (None, None) => return config,
            (Some(_), None) => (names::REDIS_TLS_CERT_FILE, names::REDIS_TLS_KEY_FILE),
            (None, Some(_)) => (names::REDIS_TLS_KEY_FILE, names::REDIS_TLS_CERT_FILE),
        };
        self.errors.push(ConfigError::Needs { name, needs });
        config
    }

    fn only_with(&mut self, names: &[&'static str], set: &[bool], with: &'static str) {
        for (&name, _) in names.iter().zip(set).filter(|(_, set)| **set) {
            self.errors.push(ConfigError::OnlyWith { name, with });
        }
    }
}

/// Whether all that is stored and said under this prefix is apart from what any other such prefix has. `#` ends the prefix in the names of
/// channels, `-request` and `-response` follow it there, and `session` in the names of keys.
pub(super) fn is_apart(key: &str) -> bool {
    let reserved = |part: &str| ["session", "default-session"].contains(&part);
    !key.contains('#')
        && !key.ends_with("-request")
        && !key.ends_with("-response")
        && !key.split(':').any(reserved)
}
