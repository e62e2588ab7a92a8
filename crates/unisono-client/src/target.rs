//! A URL, taken apart.

use crate::error::UrlError;

/// Where to connect to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Name or address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What the `Host` header says: the port only where it is not 80.
    pub(crate) authority: String,
    /// Further query parameters, without `?`.
    pub(crate) query: Option<String>,
}

impl Target {
    /// Takes `http://host[:port][/][?query]`, or the same with `ws`.
    pub(crate) fn parse(url: &str) -> Result<Target, UrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => {}
            "https" | "wss" => return Err(UrlError::Tls),
            _ => return Err(UrlError::Scheme),
        }
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (rest, query) = rest
            .split_once('?')
            .map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !path.is_empty() {
            return Err(UrlError::Path);
        }
        if authority.contains('@') {
            return Err(UrlError::Credentials);
        }
        let (host, port) = split_port(authority).ok_or(UrlError::Authority)?;
        Ok(Target {
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: port.unwrap_or(80),
            authority: port
                .filter(|port| *port != 80)
                .map_or(host.to_owned(), |port| format!("{host}:{port}")),
            query: query.filter(|query| !query.is_empty()).map(str::to_owned),
        })
    }
}

/// Host, brackets of an IPv6 address kept, and port.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.rsplit_once(':') {
        // The colon belongs to an IPv6 address without port.
        Some((_, after)) if after.ends_with(']') => (authority, None),
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let is_bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    if host.is_empty() || (host.contains(':') && !is_bracketed) {
        return None;
    }
    match port {
        None => Some((host, None)),
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .map(|port| (host, Some(port))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Host, port, authority and query.
    type Parts<'u> = (&'u str, u16, &'u str, Option<&'u str>);

    fn check(url: &str, (host, port, authority, query): Parts<'_>) {
        let expected = Target {
            host: host.to_owned(),
            port,
            authority: authority.to_owned(),
            query: query.map(str::to_owned),
        };
        assert_eq!(Target::parse(url), Ok(expected), "{url}");
    }

    fn check_refusal(url: &str, expected: &UrlError) {
        assert_eq!(Target::parse(url).as_ref(), Err(expected), "{url}");
    }

    #[test]
    fn takes_urls_apart() {
        check(
            "http://localhost:5000",
            ("localhost", 5000, "localhost:5000", None),
        );
        check("WS://a.b/", ("a.b", 80, "a.b", None));
        check("http://a:80?x=1&y#z", ("a", 80, "a", Some("x=1&y")));
        check("http://[::1]:5000/?", ("::1", 5000, "[::1]:5000", None));
        check("http://[::1]", ("::1", 80, "[::1]", None));
    }

    #[test]
    fn refuses_what_it_cannot_use() {
        check_refusal("https://a", &UrlError::Tls);
        check_refusal("wss://a", &UrlError::Tls);
        check_refusal("ftp://a", &UrlError::Scheme);
        check_refusal("localhost:5000", &UrlError::Scheme);
        check_refusal("http://", &UrlError::Authority);
        check_refusal("http://:80", &UrlError::Authority);
        check_refusal("http://a:b", &UrlError::Authority);
        check_refusal("http://a:0", &UrlError::Authority);
        check_refusal("http://a:70000", &UrlError::Authority);
        check_refusal("http://::1:80", &UrlError::Authority);
        check_refusal("http://user:secret@a", &UrlError::Credentials);
        check_refusal("http://a/chat", &UrlError::Path);
    }
}
