//! What each unisono peer sent last, to notice what never arrived.

use std::collections::HashMap;

use crate::limits::MAX_PEERS;

#[derive(Debug, Default)]
pub(super) struct Peers {
    by_uid: HashMap<String, Peer>,
    gaps: u64,
    out_of_order: u64,
}

#[derive(Debug)]
struct Peer {
    last_seq: u64,
    heard_ms: u64,
}

impl Peers {
    pub(super) fn len(&self) -> usize {
        self.by_uid.len()
    }

    pub(super) fn gaps(&self) -> u64 {
        self.gaps
    }

    pub(super) fn out_of_order(&self) -> u64 {
        self.out_of_order
    }

    /// The first message of a peer says only where it is; from then on every number is due once.
    pub(super) fn hear(&mut self, uid: &str, seq: u64, now_ms: u64) {
        let Some(peer) = self.by_uid.get_mut(uid) else {
            self.make_space();
            self.by_uid.insert(
                uid.to_owned(),
                Peer {
                    last_seq: seq,
                    heard_ms: now_ms,
                },
            );
            return;
        };
        peer.heard_ms = now_ms;
        if seq > peer.last_seq {
            self.gaps = self.gaps.saturating_add(seq - peer.last_seq - 1);
            peer.last_seq = seq;
        } else {
            self.out_of_order += 1;
        }
    }

    /// Forgets the peer that has been silent for longest when there is no space for another.
    fn make_space(&mut self) {
        if self.by_uid.len() < MAX_PEERS {
            return;
        }
        let quietest = self
            .by_uid
            .iter()
            .min_by_key(|(_, peer)| peer.heard_ms)
            .map(|(uid, _)| uid.clone());
        if let Some(uid) = quietest {
            self.by_uid.remove(&uid);
        }
    }
}
