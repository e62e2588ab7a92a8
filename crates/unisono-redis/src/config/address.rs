//! Redis URLs: where the servers are, and how they stand to each other.

use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use super::{ConfigError, redact_url};

/// Addresses that one setting may list. Nobody runs more sentinels, and a cluster tells its other nodes itself.
pub(super) const MAX_ADDRESSES: usize = 64;

/// The customary port of sentinels.
const SENTINEL_PORT: u16 = 26379;

/// Where one server is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// How the servers behind the addresses stand to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    /// There is one, or something that looks like one.
    Single,
    /// The addresses are those of sentinels; they know where the master of this name is.
    Sentinel {
        /// The name that the sentinels know the master by.
        master: String,
    },
    /// The addresses are those of some nodes of a Redis Cluster; these know the others.
    Cluster,
}

/// What a URL says.
pub(super) struct Parsed {
    pub(super) topology: Topology,
    pub(super) addresses: Vec<Address>,
    pub(super) tls: bool,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: i64,
}

pub(super) fn parse(url: &str) -> Result<Parsed, ConfigError> {
    let sentinel = |scheme: &str| url.strip_prefix(scheme);
    if let Some(rest) = sentinel("redis+sentinel://") {
        return sentinels("redis", rest, url);
    }
    if let Some(rest) = sentinel("rediss+sentinel://") {
        return sentinels("rediss", rest, url);
    }
    let urls = split(url);
    if urls.iter().any(|url| !is_plain(url)) {
        return Err(ConfigError::Scheme);
    }
    if urls.len() > MAX_ADDRESSES {
        return Err(ConfigError::TooMany);
    }
    let mut servers = Vec::with_capacity(urls.len());
    for part in urls {
        servers.push(server(part).ok_or_else(|| invalid(url))?);
    }
    of_servers(servers)
}

/// One server, or the nodes of a cluster, which all take the same login.
fn of_servers(servers: Vec<Parsed>) -> Result<Parsed, ConfigError> {
    let is_cluster = servers.len() > 1;
    let mut servers = servers.into_iter();
    let mut all = servers.next().ok_or(ConfigError::Scheme)?;
    for server in servers {
        let login = (&server.user, &server.password, server.tls);
        if login != (&all.user, &all.password, all.tls) {
            return Err(ConfigError::MixedCluster);
        }
        all.database = all.database.max(server.database);
        all.addresses.extend(server.addresses);
    }
    if is_cluster {
        if all.database != 0 {
            return Err(ConfigError::ClusterDatabase);
        }
        all.topology = Topology::Cluster;
    }
    Ok(all)
}

/// `[user:password@]host[:port],host[:port]/master-name[/database]`
fn sentinels(scheme: &str, rest: &str, url: &str) -> Result<Parsed, ConfigError> {
    let invalid = || ConfigError::InvalidSentinel {
        redacted_url: redact_url(url),
    };
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (format!("{login}@"), rest),
        None => (String::new(), rest),
    };
    let mut path = rest.splitn(3, '/');
    let hosts = path.next().unwrap_or_default();
    let master = path.next().unwrap_or_default();
    let database = path.next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_graphic() && !"?#%".contains(c);
    if master.is_empty() || !master.chars().all(plain) {
        return Err(invalid());
    }
    let hosts: Vec<&str> = hosts.split(',').map(str::trim).collect();
    if hosts.len() > MAX_ADDRESSES {
        return Err(ConfigError::TooMany);
    }
    let mut all: Option<Parsed> = None;
    for host in hosts {
        let parsed = server(&format!("{scheme}://{login}{host}/{database}"));
        let mut parsed = parsed.ok_or_else(invalid)?;
        if !host.rsplit(']').next().unwrap_or_default().contains(':') {
            parsed
                .addresses
                .iter_mut()
                .for_each(|a| a.port = SENTINEL_PORT);
        }
        match &mut all {
            Some(all) => all.addresses.append(&mut parsed.addresses),
            None => all = Some(parsed),
        }
    }
    let all = all.ok_or_else(invalid)?;
    let master = master.to_owned();
    Ok(Parsed {
        topology: Topology::Sentinel { master },
        ..all
    })
}

/// What one URL of one server says.
fn server(url: &str) -> Option<Parsed> {
    let info: ConnectionInfo = url.into_connection_info().ok()?;
    let (host, port, tls) = match info.addr() {
        ConnectionAddr::Tcp(host, port) => (host.clone(), *port, false),
        // Without a check of the certificate there is no point in TLS.
        ConnectionAddr::TcpTls { insecure: true, .. } => return None,
        ConnectionAddr::TcpTls { host, port, .. } => (host.clone(), *port, true),
        _ => return None,
    };
    let settings = info.redis_settings();
    Some(Parsed {
        topology: Topology::Single,
        addresses: vec![Address { host, port }],
        tls,
        user: settings.username().map(str::to_owned),
        password: settings.password().map(str::to_owned),
        database: settings.db(),
    })
}

fn invalid(url: &str) -> ConfigError {
    ConfigError::Invalid {
        redacted_url: redact_url(url),
    }
}

fn is_plain(url: &str) -> bool {
    url.starts_with("redis://") || url.starts_with("rediss://")
}

/// The URLs of a list. A comma ends one only where another begins: passwords may have commas.
pub(super) fn split(list: &str) -> Vec<&str> {
    let mut urls = Vec::new();
    let mut rest = list;
    loop {
        let end = rest
            .match_indices(',')
            .map(|(at, _)| at)
            .find(|at| begins_url(rest[at + 1..].trim_start()));
        let Some(end) = end else {
            urls.push(rest.trim());
            return urls;
        };
        urls.push(rest[..end].trim());
        rest = &rest[end + 1..];
    }
}

/// Whether a scheme stands at the beginning.
fn begins_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}
