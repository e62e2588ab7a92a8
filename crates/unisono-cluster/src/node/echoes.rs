//! Ordered messages that were published and must come back.

use std::collections::{BTreeMap, BTreeSet};

use super::format::decode_own;
use crate::adapter::Adapter;
use crate::broadcast::Broadcast;
use crate::classic::Template;
use crate::limits::{ECHO_DEADLINE_MS, MAX_PENDING_ECHOES};

/// What is awaited, kept for delivery without the echo.
#[derive(Clone, Debug, PartialEq)]
pub enum Awaited {
    /// An ordered emit: known in full.
    Broadcast(Broadcast),
    /// A commit: known in full once its revision is.
    Template(Template),
}

/// An echo that did not come in time.
#[derive(Clone, Debug, PartialEq)]
pub struct Expired {
    /// The sequence number of the message.
    pub seq: u64,
    /// What to deliver; `None` for a commit whose outcome was never heard of: read the state again instead.
    pub broadcast: Option<Broadcast>,
}

/// Too many ordered messages await their echo ([`MAX_PENDING_ECHOES`]); this one was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{MAX_PENDING_ECHOES} ordered messages already await their echo: the link to other nodes is slow or away"
)]
pub struct TooManyEchoes;

#[derive(Debug, Default)]
pub(super) struct Echoes {
    pending: BTreeMap<u64, Pending>,
    /// Deadline and sequence number of everything pending, earliest first.
    deadlines: BTreeSet<(u64, u64)>,
}

#[derive(Debug)]
struct Pending {
    awaited: Awaited,
    revision: Option<u32>,
    deadline_ms: u64,
}

impl Echoes {
    pub(super) fn expect(
        &mut self,
        seq: u64,
        awaited: Awaited,
        now_ms: u64,
    ) -> Result<(), TooManyEchoes> {
        if self.pending.len() >= MAX_PENDING_ECHOES {
            return Err(TooManyEchoes);
        }
        let deadline_ms = now_ms.saturating_add(ECHO_DEADLINE_MS);
        if let Some(previous) = self.pending.insert(
            seq,
            Pending {
                awaited,
                revision: None,
                deadline_ms,
            },
        ) {
            self.deadlines.remove(&(previous.deadline_ms, seq));
        }
        self.deadlines.insert((deadline_ms, seq));
        Ok(())
    }

    pub(super) fn set_revision(&mut self, seq: u64, revision: u32) {
        if let Some(pending) = self.pending.get_mut(&seq) {
            pending.revision = Some(revision);
        }
    }

    pub(super) fn get(&self, seq: u64) -> Option<&Awaited> {
        self.pending.get(&seq).map(|pending| &pending.awaited)
    }

    pub(super) fn take(&mut self, seq: u64) -> Option<Awaited> {
        let pending = self.pending.remove(&seq)?;
        self.deadlines.remove(&(pending.deadline_ms, seq));
        Some(pending.awaited)
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|&(deadline_ms, _)| deadline_ms)
    }

    pub(super) fn expire(&mut self, now_ms: u64, adapter: Adapter) -> Vec<Expired> {
        let mut expired = Vec::new();
        while let Some(&(deadline_ms, seq)) = self.deadlines.first() {
            if deadline_ms > now_ms {
                break;
            }
            self.deadlines.pop_first();
            if let Some(pending) = self.pending.remove(&seq) {
                expired.push(Expired {
                    seq,
                    broadcast: pending.into_broadcast(adapter),
                });
            }
        }
        expired
    }
}

impl Pending {
    fn into_broadcast(self, adapter: Adapter) -> Option<Broadcast> {
        match self.awaited {
            Awaited::Broadcast(broadcast) => Some(broadcast),
            Awaited::Template(template) => decode_own(adapter, &template.fill(self.revision?)),
        }
    }
}
