//! What must not be printed.

use std::fmt;

use redis::IntoConnectionInfo;

use super::address::split;

/// The URL with everything between its scheme and its last `@` replaced by `***`, and without what stands behind a `?`: whatever a
/// password contains, it does not show. In a list of URLs every one is treated so, and one that is not valid is not shown at all.
pub fn redact_url(url: &str) -> String {
    let urls = split(url);
    let alone = urls.len() == 1;
    let redacted: Vec<_> = urls.iter().map(|url| redact_one(url, alone)).collect();
    redacted.join(",")
}

fn redact_one(url: &str, alone: bool) -> String {
    let shown = match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}://***{}", &url[..scheme], &url[at..])
        }
        (None, Some(at)) => format!("***{}", &url[at..]),
        // Between two others it may be the beginning of a password with a comma and a URL in it.
        (Some(scheme), None) if !alone && url.into_connection_info().is_err() => {
            format!("{}://***", &url[..scheme])
        }
        _ => url.to_owned(),
    };
    match shown.split_once('?') {
        Some((before, _)) => format!("{before}?***"),
        None => shown,
    }
}

/// Holds what must not be printed.
#[derive(Clone, Default)]
pub(crate) struct Redacted<T>(pub(crate) T);

impl<T> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
