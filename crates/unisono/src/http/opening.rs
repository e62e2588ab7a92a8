//! The open packet: what a session's client is told first.

use std::sync::Arc;

use unisono_proto::engine::{Open, Sid, Transport};

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

    /// The packet of one session.
    pub(super) fn packet(&self, transport: Transport, sid: Sid) -> Arc<Outgoing> {
        let rest = match transport {
            Transport::Polling => &self.polling,
            Transport::WebSocket => &self.websocket,
        };
        Outgoing::raw(&[BEGIN, sid.as_str(), rest].concat())
    }
}
