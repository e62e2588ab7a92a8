//! The open packet: what a session's client is told first.

use std::sync::Arc;

use unisono_proto::engine::{Open, Sid, Transport};
use unisono_proto::ws;

use crate::outgoing::Outgoing;
use crate::server::Config;

/// The open packets of a server are all alike but for the session's id: what stands behind it.
pub(crate) struct Opening {
    polling: String,
    websocket: String,
}

/// What stands before the id.
const BEGIN: &str = "0{\"sid\":\"";

impl Opening {
    pub(crate) fn new(config: &Config) -> Self {
        let rest = |upgrades| {
            let open = Open {
                sid: String::new(),
                upgrades,
                ping_interval_ms: config.connection.ping_interval_ms,
                ping_timeout_ms: config.connection.ping_timeout_ms,
                max_payload: config.connection.max_payload as u64,
            };
            format!("0{}", open.to_json()).split_off(BEGIN.len())
        };
        let may_upgrade =
            config.allow_upgrades && config.transports.contains(&Transport::WebSocket);
        let upgrades = may_upgrade.then_some(Transport::WebSocket);
        Self {
            polling: rest(upgrades.into_iter().collect()),
            websocket: rest(Vec::new()),
        }
    }

    /// The packet of a session that begins on long-polling.
    pub(super) fn packet(&self, sid: Sid) -> Arc<Outgoing> {
        Outgoing::raw(&[BEGIN, sid.as_str(), &self.polling])
    }

    /// Appends the packet of a session that begins on a WebSocket, as its first frame.
    pub(super) fn push_frame(&self, sid: Sid, out: &mut Vec<u8>) {
        ws::encode_text(&[BEGIN, sid.as_str(), &self.websocket], out);
    }
}
