//! The handshake of a session.

use serde::{Deserialize, Serialize};

use super::query::Transport;

/// What the server tells a client first. Its JSON has the key order of Node's:
/// `{"sid":"…","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Open {
    /// The session id. A text, since other servers may make it otherwise than [`Sid`](super::Sid).
    pub sid: String,
    /// Transports that may take over: WebSocket on polling, none on WebSocket.
    #[serde(deserialize_with = "known_transports")]
    pub upgrades: Vec<Transport>,
    /// Milliseconds from a pong to the next ping.
    #[serde(rename = "pingInterval")]
    pub ping_interval_ms: u64,
    /// Milliseconds from a ping within which the pong must come.
    #[serde(rename = "pingTimeout")]
    pub ping_timeout_ms: u64,
    /// Largest message the server takes, in bytes.
    #[serde(default = "default_max_payload")]
    pub max_payload: u64,
}

/// Why a text is not an [`Open`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the open packet is not the JSON of a handshake")]
pub struct OpenError;

impl Open {
    /// The data of the open packet.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts, numbers and lists are JSON")
    }

    /// Reads the data of an open packet; transports that are not known here are left out.
    ///
    /// # Errors
    /// [`OpenError`] if a field but `maxPayload` is missing or of another type.
    pub fn from_json(text: &str) -> Result<Open, OpenError> {
        serde_json::from_str(text).map_err(|_| OpenError)
    }
}

/// Servers older than `maxPayload` had Node's default.
fn default_max_payload() -> u64 {
    crate::limits::MAX_PAYLOAD as u64
}

fn known_transports<'de, D: serde::Deserializer<'de>>(list: D) -> Result<Vec<Transport>, D::Error> {
    let names = Vec::<String>::deserialize(list)?;
    Ok(names
        .iter()
        .filter_map(|name| Transport::parse(name))
        .collect())
}
