//! What must not be printed.

use std::fmt;

use super::address::split;

/// The URL with everything between its scheme and its last `@` replaced by `***`, and without what stands behind a `?`: whatever a
/// password contains, it does not show. In a list of URLs every one is treated so, and one that is not valid is not shown at all.
pub fn redact_url(url: &str) -> String {
    let urls = split(url);
    let redacted: Vec<_> = urls.iter().map(|url| redact_one(url)).collect();
    redacted.join(",")
}

fn redact_one(url: &str) -> String {
    let shown = match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}://***{}", &url[..scheme], &url[at..])
        }
        (None, Some(at)) => format!("***{}", &url[at..]),
        // A password whose `@` is missing or has been escaped, or that goes on behind a comma.
        (Some(scheme), None) if !names_servers(&url[scheme + 3..]) => {
            format!("{}://***", &url[..scheme])
        }
        _ => url.to_owned(),
    };
    match shown.split_once('?') {
        Some((before, _)) => format!("{before}?***"),
        None => shown,
    }
}

/// Whether these are names of servers, with their ports at most, and a path behind them.
fn names_servers(rest: &str) -> bool {
    let servers = rest.split(['/', '?']).next().unwrap_or_default();
    servers.split(',').all(|server| {
        // An IPv6 address stands in brackets.
        let (host, port) = match server.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (server, ""),
        };
        let is_address = host.starts_with('[') && host.ends_with(']');
        let in_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_host = is_address || host.chars().all(in_host);
        // With a port alone it is `:password`.
        is_host && (!host.is_empty() || port.is_empty()) && port.chars().all(|c| c.is_ascii_digit())
    })
}

/// Holds what must not be printed.
#[derive(Clone, Default)]
pub(crate) struct Redacted<T>(pub(crate) T);

impl<T> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
