//! Which web pages may connect: one list, enforced on long-polling and WebSocket alike.
//!
//! Browsers send `Origin` with every WebSocket handshake and every cross-origin request, and they do *not* stop a page from opening
//! a WebSocket to another site (CVE-2020-28481 and its kin). So a foreign origin is refused on both transports, not only left
//! without headers. Clients that are not browsers send no `Origin` and pass.

use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderValue};

use crate::guard::guarded;
use crate::stats::Counters;

/// Seconds that a browser may remember a preflight answer: Chromium keeps none longer.
const PREFLIGHT_MAX_AGE_S: &str = "7200";

/// The origins that may connect. The default is the server's own origin only.
#[derive(Clone, Default)]
pub struct Cors {
    any: bool,
    origins: Vec<String>,
    allow: Option<Predicate>,
    credentials: bool,
}

impl std::fmt::Debug for Cors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cors")
            .field("any", &self.any)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}

type Predicate = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What an `Origin` header means for a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// No origin, or the server's own: no headers needed.
    Plain,
    /// An allowed foreign origin, to be named in the answer.
    Allowed(HeaderValue),
    /// Not allowed.
    Foreign,
    /// Not text, so no browser's.
    Malformed,
}

impl Cors {
    /// Allows the given origins, such as `https://jamz.example`: scheme, host and port exactly as a browser sends them.
    pub fn new(origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let origins = origins
            .into_iter()
            .map(|o| o.into().trim_end_matches('/').to_owned())
            .collect();
        Self {
            origins,
            ..Self::default()
        }
    }

    /// Allows every origin. Not to be combined with cookies that mean something.
    pub fn any() -> Self {
        Self {
            any: true,
            ..Self::default()
        }
    }

    /// Allows origins beyond the list. One about which the predicate panics (counted as `panic`) is not allowed.
    #[must_use]
    pub fn allow(mut self, predicate: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.allow = Some(Arc::new(predicate));
        self
    }

    /// Lets browsers send cookies and other credentials.
    #[must_use]
    pub fn credentials(mut self, credentials: bool) -> Self {
        self.credentials = credentials;
        self
    }

    pub(crate) fn check(&self, headers: &HeaderMap, counters: &Counters) -> Verdict {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = origins.next() else {
            return Verdict::Plain;
        };
        let Ok(text) = origin.to_str() else {
            return Verdict::Malformed;
        };
        // Two come from no browser either.
        if origins.next().is_some() {
            return Verdict::Foreign;
        }
        let listed = self.any || self.origins.iter().any(|o| o == text);
        let allows =
            |allow: &Predicate| guarded(counters, "the predicate of origins", || allow(text));
        if listed || self.allow.as_ref().and_then(allows) == Some(true) {
            // A copy, since a clone would share, and so keep, the connection's read buffer for as long as the request waits.
            return HeaderValue::from_str(text).map_or(Verdict::Foreign, Verdict::Allowed);
        }
        let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
        match (text.split_once("://"), host) {
            (Some((_, authority)), Some(host)) if authority.eq_ignore_ascii_case(host) => {
                Verdict::Plain
            }
            _ => Verdict::Foreign,
        }
    }

    /// Adds the answer's headers for an allowed origin.
    pub(crate) fn decorate(&self, verdict: &Verdict, headers: &mut HeaderMap) {
        if let Verdict::Allowed(origin) = verdict {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::VARY, HeaderValue::from_static("Origin"));
            if self.credentials {
                headers.insert(
                    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
                    HeaderValue::from_static("true"),
                );
            }
        }
    }

    /// Adds what a preflight asks for.
    pub(crate) fn decorate_preflight(&self, request: &HeaderMap, headers: &mut HeaderMap) {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET,POST,OPTIONS"),
        );
        let asked = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        let allowed = asked
            .cloned()
            .unwrap_or_else(|| HeaderValue::from_static("Content-Type,Authorization"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        headers.insert(
            header::ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static(PREFLIGHT_MAX_AGE_S),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(cors: &Cors, origin: Option<&str>) -> &'static str {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("api.example:5000"));
        if let Some(origin) = origin {
            headers.insert(
                header::ORIGIN,
                HeaderValue::from_bytes(origin.as_bytes()).unwrap(),
            );
        }
        match cors.check(&headers, &Counters::default()) {
            Verdict::Plain => "plain",
            Verdict::Allowed(_) => "allowed",
            Verdict::Foreign => "foreign",
            Verdict::Malformed => "malformed",
        }
    }

    #[test]
    fn an_origin_passes_only_whole() {
        let cors = Cors::new(["https://jamz.example/"]);
        for (origin, expected) in [
            (None, "plain"),
            (Some("https://jamz.example"), "allowed"),
            (Some("https://api.example:5000"), "plain"),
            (Some("https://api.example"), "foreign"),
            (Some("http://jamz.example"), "foreign"),
            (Some("https://jamz.example.evil"), "foreign"),
            (Some("https://evil.jamz.example"), "foreign"),
            (Some("https://jamz.example:444"), "foreign"),
            (Some("null"), "foreign"),
            (Some(""), "foreign"),
            (Some("https://jamz.example`$"), "foreign"),
            (Some("\u{e9}"), "malformed"),
        ] {
            assert_eq!(verdict(&cors, origin), expected, "{origin:?}");
        }
    }

    #[test]
    fn two_origins_are_refused() {
        let mut headers = HeaderMap::new();
        headers.append(header::ORIGIN, HeaderValue::from_static("https://a"));
        headers.append(header::ORIGIN, HeaderValue::from_static("https://a"));
        let verdict = Cors::new(["https://a"]).check(&headers, &Counters::default());
        assert_eq!(verdict, Verdict::Foreign);
    }
}
