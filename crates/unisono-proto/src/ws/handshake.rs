//! The opening handshake (RFC 6455, section 4). A server needs [`accept_key`] only; HTTP is its shell's business.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::limits::{MAX_HANDSHAKE_HEAD, MAX_HANDSHAKE_HEADERS};

/// The `Sec-WebSocket-Accept` that proves to a client that its `Sec-WebSocket-Key` was read as a WebSocket's.
///
/// ```
/// assert_eq!(unisono_proto::ws::accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: &str) -> String {
    const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let hash = Sha1::new()
        .chain_update(key.trim())
        .chain_update(GUID)
        .finalize();
    STANDARD.encode(hash)
}

/// Why a connection could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The caller's host, path or a header holds a line break or another character that cannot stand there.
    #[error("host, path or a header holds a control character or a space where none may be")]
    Request,
    /// The answer is not HTTP/1.1.
    #[error("the answer is not HTTP/1.1")]
    Malformed,
    /// The answer's head exceeds [`MAX_HANDSHAKE_HEAD`] bytes or [`MAX_HANDSHAKE_HEADERS`] lines.
    #[error("the answer's head is too large")]
    TooLarge,
    /// The server refused to upgrade; its HTTP status.
    #[error("the server answered with HTTP status {0} instead of an upgrade")]
    Status(u16),
    /// `Upgrade`, `Connection` or `Sec-WebSocket-Accept` is missing or wrong, or an extension was chosen
    /// (none is ever offered).
    #[error("the server's `{0}` header is missing or wrong")]
    Header(&'static str),
}

/// The client's side of the handshake: the request to send, and the check of its answer.
#[derive(Clone, Debug)]
pub struct ClientHandshake {
    request: Vec<u8>,
    accept: String,
}

impl ClientHandshake {
    /// A request for `path` (with its query) on `host` (with its port unless that is the scheme's own). `random`
    /// must be fresh for each connection. `headers` are sent as they are.
    ///
    /// # Errors
    /// [`HandshakeError::Request`].
    pub fn new(
        host: &str,
        path: &str,
        random: [u8; 16],
        headers: &[(&str, &str)],
    ) -> Result<ClientHandshake, HandshakeError> {
        let word =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let line = |text: &str| !text.bytes().any(|byte| byte.is_ascii_control());
        let name = |text: &str| word(text) && !text.contains(':');
        if !word(host)
            || !word(path)
            || !headers.iter().all(|(key, value)| name(key) && line(value))
        {
            return Err(HandshakeError::Request);
        }
        let key = STANDARD.encode(random);
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        );
        for (name, value) in headers {
            request.extend([name, ": ", value, "\r\n"]);
        }
        request.push_str("\r\n");
        Ok(ClientHandshake {
            request: request.into_bytes(),
            accept: accept_key(&key),
        })
    }

    /// The bytes to send first.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Checks the answer. `received` is everything that has arrived so far; the result is how many of its bytes
    /// the head takes (frames may follow), or `None` if it is incomplete.
    ///
    /// # Errors
    /// Every variant of [`HandshakeError`] but `Request`.
    pub fn check_response(&self, received: &[u8]) -> Result<Option<usize>, HandshakeError> {
        let head = &received[..received.len().min(MAX_HANDSHAKE_HEAD)];
        let mut headers = [httparse::EMPTY_HEADER; MAX_HANDSHAKE_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let len = match response.parse(head) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if received.len() < MAX_HANDSHAKE_HEAD => {
                return Ok(None);
            }
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(HandshakeError::TooLarge);
            }
            Err(_) => return Err(HandshakeError::Malformed),
        };
        if response.version != Some(1) {
            return Err(HandshakeError::Malformed);
        }
        match response.code {
            Some(101) => {}
            Some(status) => return Err(HandshakeError::Status(status)),
            None => return Err(HandshakeError::Malformed),
        }
        self.check_headers(response.headers)?;
        Ok(Some(len))
    }

    fn check_headers(&self, headers: &[httparse::Header<'_>]) -> Result<(), HandshakeError> {
        let all = |name: &'static str| {
            headers
                .iter()
                .filter(move |header| header.name.eq_ignore_ascii_case(name))
                .map(|header| header.value)
        };
        let lists = |name, token: &[u8]| {
            all(name).any(|value| {
                value
                    .split(|byte| *byte == b',')
                    .any(|part| part.trim_ascii().eq_ignore_ascii_case(token))
            })
        };
        if !lists("upgrade", b"websocket") {
            return Err(HandshakeError::Header("Upgrade"));
        }
        if !lists("connection", b"upgrade") {
            return Err(HandshakeError::Header("Connection"));
        }
        let mut accepts = all("sec-websocket-accept");
        if accepts.next().map(<[u8]>::trim_ascii) != Some(self.accept.as_bytes())
            || accepts.next().is_some()
        {
            return Err(HandshakeError::Header("Sec-WebSocket-Accept"));
        }
        if all("sec-websocket-extensions").next().is_some() {
            return Err(HandshakeError::Header("Sec-WebSocket-Extensions"));
        }
        Ok(())
    }
}
