//! The cookie of a polling handshake, for proxies that keep a client on its node by it.

use std::time::Duration;

use http::HeaderValue;
use unisono_proto::engine::Sid;

/// A cookie that carries the session id, set with the answer to a long-polling handshake (Node's option `cookie`). The server itself
/// never reads it; a proxy may, to send all requests of a session to the same node.
///
/// The default is Node's `cookie: true`: `io=<sid>; Path=/; HttpOnly; SameSite=Lax`.
///
/// ```
/// use unisono::{Cookie, Io, SameSite};
/// # fn main() -> Result<(), unisono::CookieError> {
/// let cookie = Cookie::new("sticky")?.path("/socket.io/")?.same_site(SameSite::None);
/// let io = Io::builder().cookie(cookie);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Cookie {
    name: String,
    path: String,
    max_age: Option<Duration>,
    http_only: bool,
    secure: bool,
    partitioned: bool,
    same_site: SameSite,
}

/// With which requests of other sites' pages a browser sends a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// With none.
    Strict,
    /// With navigation only. Requests of a page on another site to this server come without it.
    Lax,
    /// With all. Browsers want such a cookie to be `Secure`, so it is.
    None,
}

/// A cookie that would not be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CookieError {
    /// The name is empty or has a character other than letters, digits and ``!#$%&'*+-.^_`|~`` (RFC 6265, section 4.1.1).
    #[error("a cookie's name consists of letters, digits and !#$%&'*+-.^_`|~")]
    Name,
    /// The path does not begin with a slash, or has a semicolon or a character that is not visible ASCII.
    #[error("a cookie's path begins with a slash and has neither semicolons nor blanks")]
    Path,
}

impl Default for Cookie {
    fn default() -> Self {
        Self {
            name: "io".to_owned(),
            path: "/".to_owned(),
            max_age: None,
            http_only: true,
            secure: false,
            partitioned: false,
            same_site: SameSite::Lax,
        }
    }
}

impl Cookie {
    /// The default with another name.
    ///
    /// # Errors
    /// [`CookieError::Name`].
    pub fn new(name: &str) -> Result<Self, CookieError> {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_token) {
            return Err(CookieError::Name);
        }
        Ok(Self {
            name: name.to_owned(),
            ..Self::default()
        })
    }

    /// The path that it is sent under. Default `/`.
    ///
    /// # Errors
    /// [`CookieError::Path`].
    pub fn path(self, path: &str) -> Result<Self, CookieError> {
        let is_plain = |c: char| c.is_ascii_graphic() && c != ';';
        if !path.starts_with('/') || !path.chars().all(is_plain) {
            return Err(CookieError::Path);
        }
        Ok(Self {
            path: path.to_owned(),
            ..self
        })
    }

    /// How long a browser keeps it, in whole seconds. By default until the browser is closed.
    pub fn max_age(self, max_age: Duration) -> Self {
        Self {
            max_age: Some(max_age),
            ..self
        }
    }

    /// Whether it is kept from scripts. Default yes: it holds the session's secret.
    pub fn http_only(self, http_only: bool) -> Self {
        Self { http_only, ..self }
    }

    /// Whether it is sent over TLS only. Default no.
    pub fn secure(self, secure: bool) -> Self {
        Self { secure, ..self }
    }

    /// Whether browsers keep one for each site that embeds the client (CHIPS), which lets it through where third-party cookies are blocked.
    /// Browsers want such a cookie to be `Secure`, so it is. Default no.
    pub fn partitioned(self, partitioned: bool) -> Self {
        Self {
            partitioned,
            ..self
        }
    }

    /// With which requests it is sent. Default [`SameSite::Lax`].
    pub fn same_site(self, same_site: SameSite) -> Self {
        Self { same_site, ..self }
    }

    /// The header's value, with the attributes in Node's order.
    pub(super) fn header(&self, sid: Sid) -> Option<HeaderValue> {
        let mut text = format!("{}={sid}", self.name);
        if let Some(max_age) = self.max_age {
            text.push_str(&format!("; Max-Age={}", max_age.as_secs()));
        }
        text.push_str("; Path=");
        text.push_str(&self.path);
        let secure = self.secure || self.partitioned || self.same_site == SameSite::None;
        for (is_set, attribute) in [
            (self.http_only, "; HttpOnly"),
            (secure, "; Secure"),
            (self.partitioned, "; Partitioned"),
        ] {
            if is_set {
                text.push_str(attribute);
            }
        }
        text.push_str(match self.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        });
        HeaderValue::try_from(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cookie: &Cookie, expected: &str) {
        let sid = Sid::parse("AAAAAAAAAAAAAAAAAAAA").unwrap();
        let expected = expected.replace("SID", sid.as_str());
        assert_eq!(cookie.header(sid).unwrap(), expected, "{cookie:?}");
    }

    #[test]
    fn attributes_stand_in_nodes_order() {
        let cookie = Cookie::default();
        check(&cookie, "io=SID; Path=/; HttpOnly; SameSite=Lax");
        let all = Cookie::new("a-b").unwrap().path("/x/").unwrap();
        let all = all
            .max_age(Duration::from_millis(86_400_999))
            .partitioned(true);
        check(
            &all.same_site(SameSite::Strict),
            "a-b=SID; Max-Age=86400; Path=/x/; HttpOnly; Secure; Partitioned; SameSite=Strict",
        );
        let open = cookie.http_only(false).same_site(SameSite::None);
        check(&open, "io=SID; Path=/; Secure; SameSite=None");
    }

    #[test]
    fn what_would_break_the_header_is_refused() {
        for name in ["", "a b", "a=b", "a;b", "a\r\nb", "\u{e9}"] {
            assert_eq!(Cookie::new(name), Err(CookieError::Name), "{name:?}");
        }
        for path in ["", "x", "/;", "/a b", "/\r\n", "/\u{e9}"] {
            let path_error = Cookie::default().path(path);
            assert_eq!(path_error, Err(CookieError::Path), "{path:?}");
        }
    }
}
