//! A client that sends more than it may is closed.
//!
//! Closed, not held back: a client that is held back keeps its place, its memory and the attention of whoever looks at it, and gets
//! everything through in the end. One that is closed has to shake hands again, which the handshake's own limits bound. The limits are
//! meant to be far above what an honest client sends, so whoever exceeds them is broken or hostile.

use super::Session;
use crate::limits::{Limits, Meter};
use crate::outgoing::Outgoing;
use crate::stats::Refusal;
use unisono_proto::connection::CloseReason;
use unisono_proto::ws::CloseCode;

impl Session {
    /// Counts a packet, before anything is done about it: a frame of the WebSocket, control frames too, or a record of a POST. `false` if
    /// it was one too many; the session has then ended.
    pub(super) fn admit_packet(&mut self) -> bool {
        self.server.config.limits.events.is_none() || self.admit(Meter::packet)
    }

    /// Counts bytes as they come from the network. `false` as with [`admit_packet`](Self::admit_packet).
    pub(super) fn admit_bytes(&mut self, count: usize) -> bool {
        self.server.config.limits.bytes.is_none()
            || self.admit(|meter, limits, now_ms| meter.bytes(count, limits, now_ms))
    }

    fn admit(
        &mut self,
        count: impl FnOnce(&mut Meter, &Limits, u64) -> Result<(), Refusal>,
    ) -> bool {
        let now_ms = self.server.now_ms();
        let meter = self.meter.get_or_insert_default();
        let Err(refusal) = count(meter, &self.server.config.limits, now_ms) else {
            return true;
        };
        self.server.counters.refuse(refusal);
        tracing::info!(sid = ?self.conn.sid, reason = refusal.as_str(), "closing a connection that sends too much");
        let last = Outgoing::close_frame(Some(CloseCode::POLICY));
        self.end_with(CloseReason::ForcedClose, Some(last));
        false
    }
}
