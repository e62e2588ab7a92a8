//! The query string of an Engine.IO request.

use std::borrow::Cow;

use serde::Serialize;

use super::Revision;

/// How a session's packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// WebSocket.
    WebSocket,
}

impl Transport {
    /// The transport of this exact name.
    pub fn parse(name: &str) -> Option<Transport> {
        match name {
            "polling" => Some(Transport::Polling),
            "websocket" => Some(Transport::WebSocket),
            _ => None,
        }
    }

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Polling => "polling",
            Transport::WebSocket => "websocket",
        }
    }
}

/// The parameters that Engine.IO reads. Of a repeated key the last one counts, as for Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// `EIO`, the protocol revision; see [`Query::revision`].
    pub eio: Option<Cow<'a, str>>,
    /// `transport`, as given; see [`Transport::parse`].
    pub transport: Option<Cow<'a, str>>,
    /// `sid`, as given, unless empty; absent in a handshake.
    pub sid: Option<Cow<'a, str>>,
    /// Whether `b64` is given and not empty: binary data must be sent as base64 text.
    pub b64: bool,
    /// `j`, the index of a callback; see [`jsonp`](super::jsonp).
    pub j: Option<Cow<'a, str>>,
}

impl Query<'_> {
    /// The revision that the client speaks: 3 unless it says 4, as for Node.
    pub fn revision(&self) -> Revision {
        match self.eio.as_deref() {
            Some("4") => Revision::V4,
            _ => Revision::V3,
        }
    }
}

/// Reads the part of a request target behind its `?`.
///
/// ```
/// use unisono_proto::engine::parse_query;
/// let query = parse_query("EIO=4&transport=web%73ocket&EIO=3");
/// assert_eq!(query.transport.as_deref(), Some("websocket"));
/// assert_eq!(query.eio.as_deref(), Some("3"));
/// ```
pub fn parse_query(query: &str) -> Query<'_> {
    let mut out = Query::default();
    for (key, value) in pairs(query) {
        match &*key {
            "EIO" => out.eio = Some(value),
            "transport" => out.transport = Some(value),
            "sid" => out.sid = Some(value).filter(|sid| !sid.is_empty()),
            "b64" => out.b64 = !value.is_empty(),
            "j" => out.j = Some(value),
            _ => {}
        }
    }
    out
}

/// Every `key=value` of a query string, decoded like the web's `URLSearchParams`: `+` is a space, a `%` that begins
/// no escape stands for itself, and bytes that are not UTF-8 become U+FFFD.
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(key), percent_decode(value))
        })
}

fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let digit = |at: usize| {
            behind
                .get(at)
                .and_then(|byte| char::from(*byte).to_digit(16))
        };
        out.push(match (byte, digit(0), digit(1)) {
            (b'+', ..) => b' ',
            (b'%', Some(high), Some(low)) => {
                rest = &behind[2..];
                (high << 4 | low) as u8
            }
            _ => byte,
        });
    }
    match String::from_utf8_lossy(&out) {
        Cow::Borrowed(text) => Cow::Owned(text.to_owned()),
        Cow::Owned(text) => Cow::Owned(text),
    }
}
