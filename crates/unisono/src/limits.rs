//! What one client may ask of a node: how many handshakes, how many sessions, how many packets and bytes.

use ipnet::IpNet;

use crate::bucket::{Bucket, Rate};
use crate::stats::Refusal;

/// The limits of a server. What is absent is not limited.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    /// Handshakes of all clients together.
    pub(crate) handshakes: Option<Rate>,
    /// Sessions of one address.
    pub(crate) connections_per_address: Option<u32>,
    /// Whose `X-Forwarded-For` is believed.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Packets of one client.
    pub(crate) events: Option<Rate>,
    /// Bytes of one client.
    pub(crate) bytes: Option<Rate>,
}

impl Limits {
    /// A message of the largest size must pass, even right behind another one: less room would refuse what `max_payload` allows.
    pub(crate) fn make_room_for(&mut self, max_payload: usize) {
        let room = u32::try_from(max_payload.saturating_mul(2)).unwrap_or(u32::MAX);
        self.bytes = self.bytes.map(|rate| rate.with_burst_of_at_least(room));
    }
}

/// What one client has sent, as far as it counts.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    packets: Bucket,
    bytes: Bucket,
}

impl Meter {
    /// Counts one packet.
    ///
    /// # Errors
    /// The client sends more of them than it may.
    pub(crate) fn packet(&mut self, limits: &Limits, now_ms: u64) -> Result<(), Refusal> {
        match limits.events {
            Some(rate) if !self.packets.take(rate, 1, now_ms) => Err(Refusal::EventRate),
            _ => Ok(()),
        }
    }

    /// Counts bytes.
    ///
    /// # Errors
    /// The client sends more of them than it may.
    pub(crate) fn bytes(
        &mut self,
        count: usize,
        limits: &Limits,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        match limits.bytes {
            Some(rate) if !self.bytes.take(rate, count, now_ms) => Err(Refusal::ByteRate),
            _ => Ok(()),
        }
    }
}
