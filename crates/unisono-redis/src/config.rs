//! Where Redis is, checked before anything is started.

mod address;
mod material;
mod redact;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use address::{Address, Topology};
pub(crate) use material::{Login, Material, Tls};
pub(crate) use redact::Redacted;
pub use redact::redact_url;

use unisono_cluster::Adapter;

use crate::limits::{PUBLISH_BUFFER_BYTES, PUBLISH_BUFFER_MESSAGES, PUBLISH_MAX_AGE};

/// Where Redis is and how this process appears there.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    pub(crate) topology: Topology,
    /// Of the server, the sentinels, or some nodes of the cluster; never empty.
    pub(crate) addresses: Vec<Address>,
    pub(crate) login: Login,
    pub(crate) sentinel_login: Login,
    pub(crate) database: i64,
    /// `None` without TLS.
    pub(crate) tls: Option<Tls>,
    pub(crate) redacted_url: String,
    pub(crate) adapter: Adapter,
    pub(crate) client_name: String,
    pub(crate) buffer_bytes: usize,
    pub(crate) buffer_messages: usize,
    pub(crate) buffer_max_age: Duration,
}

/// Why Redis cannot be reached as it was said. A password is never part of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// None of the schemes.
    #[error(
        "the Redis URL must start with redis:// or rediss:// (TLS), or with redis+sentinel:// or rediss+sentinel://"
    )]
    Scheme,
    /// Not a valid URL.
    #[error(
        "the Redis URL {redacted_url} is not valid: expected redis://[user:password@]host[:port][/database], or several of them with commas between for a Redis Cluster"
    )]
    Invalid {
        /// The URL without user and password.
        redacted_url: String,
    },
    /// Not a valid URL of sentinels.
    #[error(
        "the Redis URL {redacted_url} is not valid: expected redis+sentinel://[user:password@]host[:port],host[:port]/master-name[/database]"
    )]
    InvalidSentinel {
        /// The URL without user and password.
        redacted_url: String,
    },
    /// The URLs of a cluster differ where they must not.
    #[error("the URLs of a Redis Cluster must all have the same scheme, user and password")]
    MixedCluster,
    /// A database number for a cluster.
    #[error("a Redis Cluster has no databases: leave the number out of the URLs")]
    ClusterDatabase,
    /// More addresses than anybody has.
    #[error(
        "the Redis URL names more than {} servers: some of them are enough",
        address::MAX_ADDRESSES
    )]
    TooMany,
    /// A file with a password or a certificate cannot be used.
    #[error("the file {} cannot be used: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl RedisConfig {
    /// Reads where Redis is:
    ///
    /// ```text
    /// redis://[user:password@]host[:port][/database]                         one server
    /// redis+sentinel://[user:password@]host[:port],…/master-name[/database]  the master that sentinels name
    /// redis://[user:password@]host[:port],redis://…                          a Redis Cluster; some nodes are enough
    /// ```
    ///
    /// `rediss` in place of `redis` speaks TLS, with public certificates unless told otherwise. User and password are those of the
    /// servers; for sentinels there is [`RedisConfig::sentinel_user`]. A cluster behind one name is written twice.
    ///
    /// # Errors
    /// See [`ConfigError`]. Whether Redis is there is not looked at.
    pub fn parse(url: &str) -> Result<Self, ConfigError> {
        let url = url.trim();
        let parsed = address::parse(url)?;
        Ok(Self {
            topology: parsed.topology,
            addresses: parsed.addresses,
            login: Login {
                user: parsed.user,
                password: parsed.password.map(|text| Material::given(text.as_bytes())),
            },
            sentinel_login: Login::default(),
            database: parsed.database,
            tls: parsed.tls.then(Tls::default),
            redacted_url: redact_url(url),
            adapter: Adapter::Classic,
            client_name: "unisono".to_owned(),
            buffer_bytes: PUBLISH_BUFFER_BYTES,
            buffer_messages: PUBLISH_BUFFER_MESSAGES,
            buffer_max_age: PUBLISH_MAX_AGE,
        })
    }

    /// Which adapter of Node.js the cluster speaks: classic by default. All nodes on this Redis and channel prefix need the same. The sharded
    /// one needs Redis 7: an older one does not know its commands, and the link stays down.
    #[must_use]
    pub fn speaking(mut self, adapter: Adapter) -> Self {
        self.adapter = adapter;
        self
    }

    /// The adapter that is spoken.
    pub fn adapter(&self) -> Adapter {
        self.adapter
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

    /// The password is in this file (a line break at its end does not count) and not in the URL. It is read for every connection, so a
    /// password that changes needs no restart: change the file, then what Redis takes, then cut the old connections.
    #[must_use]
    pub fn password_file(mut self, path: impl AsRef<Path>) -> Self {
        self.login.password = Some(Material::File(path.as_ref().to_owned()));
        self
    }

    /// The user to be at the sentinels, which have users of their own; `None` is their default user. Without this and the methods of the
    /// password nothing is said to them.
    #[must_use]
    pub fn sentinel_user(mut self, user: Option<&str>) -> Self {
        self.sentinel_login.user = user.map(str::to_owned);
        self
    }

    /// The password for the sentinels.
    #[must_use]
    pub fn sentinel_password(mut self, password: &str) -> Self {
        self.sentinel_login.password = Some(Material::given(password.as_bytes()));
        self
    }

    /// The password for the sentinels is in this file, as with [`RedisConfig::password_file`].
    #[must_use]
    pub fn sentinel_password_file(mut self, path: impl AsRef<Path>) -> Self {
        self.sentinel_login.password = Some(Material::File(path.as_ref().to_owned()));
        self
    }

    /// For `rediss` with a private authority: its certificates in PEM, trusted instead of the public ones. Unreadable ones show as
    /// failing attempts to connect. Without TLS this has no effect.
    #[must_use]
    pub fn root_certificates(self, pem: &[u8]) -> Self {
        self.with_tls(|tls| tls.roots = Some(Material::given(pem)))
    }

    /// The certificates of [`RedisConfig::root_certificates`] are in this file, read for every connection.
    #[must_use]
    pub fn root_certificates_file(self, path: impl AsRef<Path>) -> Self {
        self.with_tls(|tls| tls.roots = Some(Material::File(path.as_ref().to_owned())))
    }

    /// For `rediss` where Redis asks for certificates (`tls-auth-clients`): the files with certificate and key of this process, PEM,
    /// read for every connection. Without TLS this has no effect.
    #[must_use]
    pub fn client_certificate_files(
        self,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Self {
        let file = |path: &Path| Material::File(path.to_owned());
        self.with_tls(|tls| tls.client = Some((file(certificate.as_ref()), file(key.as_ref()))))
    }

    /// The limits of the publish buffer: bytes (default 8 MiB), messages (65,536), and how long a message may wait (5 s; not counted are
    /// the 1.2 s at most for which the others are awaited when the link is back).
    #[must_use]
    pub fn publish_buffer(mut self, bytes: usize, messages: usize, max_age: Duration) -> Self {
        (self.buffer_bytes, self.buffer_messages, self.buffer_max_age) = (bytes, messages, max_age);
        self
    }

    /// Reads the files that are named, to find out early what is wrong with them. Waits for the disk.
    ///
    /// # Errors
    /// [`ConfigError::File`]
    pub fn check_files(&self) -> Result<(), ConfigError> {
        self.login.read()?;
        self.sentinel_login.read()?;
        if let Some(tls) = &self.tls {
            tls.read()?;
        }
        Ok(())
    }

    /// Whether connections speak TLS.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// To be called before connecting.
    pub(crate) fn choose_tls_provider(&self) {
        if self.is_tls() {
            // Fails when the process has chosen a provider already, which serves as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
    }

    /// Whether sentinels name the master.
    pub fn is_sentinel(&self) -> bool {
        matches!(self.topology, Topology::Sentinel { .. })
    }

    /// Whether it is a Redis Cluster.
    pub fn is_cluster(&self) -> bool {
        self.topology == Topology::Cluster
    }

    /// Whether a password was given, or a file with one.
    pub fn has_password(&self) -> bool {
        self.login.password.is_some()
    }

    /// The user that Redis knows this process by.
    pub fn user(&self) -> &str {
        self.login.user.as_deref().unwrap_or("default")
    }

    /// The URL without user and password, for logs.
    pub fn redacted_url(&self) -> &str {
        &self.redacted_url
    }

    fn with_tls(mut self, change: impl FnOnce(&mut Tls)) -> Self {
        if let Some(tls) = &mut self.tls {
            change(tls);
        }
        self
    }
}
