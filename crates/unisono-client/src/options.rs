//! How to connect.

use std::time::Duration;

use unisono_proto::Value;

/// Largest message taken from a server: what a server of this project sends at most (8 MiB), doubled, since base64 or escapes may swell it.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// How to connect; [`Options::default`] suits most. Built by its methods, each of which replaces one value.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) namespace: String,
    pub(crate) path: String,
    pub(crate) auth: Option<Value>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_message: usize,
}

impl Default for Options {
    /// Namespace `/`, path `/socket.io/`, no credentials, no further headers, 5 seconds, messages up to 16 MiB.
    fn default() -> Self {
        Self {
            namespace: "/".to_owned(),
            path: "/socket.io/".to_owned(),
            auth: None,
            headers: Vec::new(),
            connect_timeout: Duration::from_secs(5),
            max_message: MAX_MESSAGE,
        }
    }
}

impl Options {
    /// The namespace to join, with its leading slash.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Where the server mounts Socket.IO: a path with slashes at both ends.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// The credentials of the namespace: a map, such as `{"token": "…"}`.
    #[must_use]
    pub fn auth(mut self, auth: impl Into<Value>) -> Self {
        self.auth = Some(auth.into());
        self
    }

    /// Adds a header to the handshake, such as `Origin` or `Cookie`.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// How long everything up to the namespace's answer may take, 5 seconds by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Largest message taken from the server, in bytes; a larger one ends the session. 16 MiB by default.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }
}
