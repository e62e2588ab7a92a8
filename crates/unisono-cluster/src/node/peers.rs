//! What each unisono peer sent last, to notice what never arrived.

use std::collections::HashMap;

use crate::limits::MAX_PEERS;

/// Messages of a peer that this node has never received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The name of the peer's messages.
    pub uid: String,
    /// The id of its server; empty as long as that has not said so.
    pub server: String,
    /// How many.
    pub lost: u64,
}

/// What a peer has sent, as far as this node knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerStats {
    /// The name of its messages: another for each namespace and start of a server.
    pub uid: String,
    /// The id of its server; empty as long as that has not said so.
    pub server: String,
    /// The number of its last message.
    pub last_seq: u64,
    /// Messages that it sent and this node never received.
    pub gaps: u64,
    /// Messages that came after a later one, or twice.
    pub out_of_order: u64,
    /// Messages that came. Since the peer is known, this and `gaps` are all that it has sent.
    pub received: u64,
    /// When it was last heard.
    pub heard_ms: u64,
}

#[derive(Debug, Default)]
pub(super) struct Peers {
    by_uid: HashMap<String, PeerStats>,
    gaps: u64,
    out_of_order: u64,
    /// Found since it was last asked, by uid. As many as peers at most.
    found: HashMap<String, u64>,
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

    pub(super) fn stats(&self) -> impl Iterator<Item = PeerStats> {
        self.by_uid.values().cloned()
    }

    /// When a server was last heard, or said something of the nodes here.
    pub(super) fn last_heard(&self, server: &str) -> Option<u64> {
        let nodes = self.by_uid.values().filter(|peer| peer.server == server);
        nodes.map(|peer| peer.heard_ms).max()
    }

    pub(super) fn take_gaps(&mut self) -> Vec<Gap> {
        let found = std::mem::take(&mut self.found).into_iter();
        let gap = |(uid, lost): (String, u64)| Gap {
            server: self.server_of(&uid),
            uid,
            lost,
        };
        found.map(gap).collect()
    }

    fn server_of(&self, uid: &str) -> String {
        let peer = self.by_uid.get(uid);
        peer.map_or_else(String::new, |peer| peer.server.clone())
    }

    /// A message. The first of a peer of which nothing else is known says only where it is; from then on every number is due once.
    pub(super) fn hear(&mut self, uid: &str, seq: u64, now_ms: u64) {
        let peer = self.peer(uid, seq - 1, now_ms);
        if seq > peer.last_seq {
            let lost = seq - peer.last_seq - 1;
            peer.last_seq = seq;
            peer.received += 1;
            self.lose(uid, lost);
        } else {
            peer.out_of_order += 1;
            self.out_of_order += 1;
        }
    }

    /// A peer's last number, of which every message would have come before. Where nothing else is known, it counts from here on.
    pub(super) fn hear_of(&mut self, uid: &str, seq: u64, server: &str, now_ms: u64) {
        let peer = self.peer(uid, seq, now_ms);
        if peer.server != server {
            server.clone_into(&mut peer.server);
        }
        let lost = seq.saturating_sub(peer.last_seq);
        peer.last_seq += lost;
        self.lose(uid, lost);
    }

    fn lose(&mut self, uid: &str, lost: u64) {
        if lost == 0 {
            return;
        }
        self.gaps = self.gaps.saturating_add(lost);
        if let Some(peer) = self.by_uid.get_mut(uid) {
            peer.gaps = peer.gaps.saturating_add(lost);
        }
        let found = self.found.entry(uid.to_owned()).or_default();
        *found = found.saturating_add(lost);
    }

    /// The peer, which was at that number if it is new.
    fn peer(&mut self, uid: &str, last_seq: u64, now_ms: u64) -> &mut PeerStats {
        if !self.by_uid.contains_key(uid) {
            self.make_space();
        }
        let peer = self.by_uid.entry(uid.to_owned());
        let peer = peer.or_insert_with(|| PeerStats {
            uid: uid.to_owned(),
            last_seq,
            ..PeerStats::default()
        });
        peer.heard_ms = now_ms;
        peer
    }

    /// Forgets the peer that has been silent for longest when there is no space for another.
    fn make_space(&mut self) {
        if self.by_uid.len() < MAX_PEERS {
            return;
        }
        let quietest = self.by_uid.values().min_by_key(|peer| peer.heard_ms);
        if let Some(uid) = quietest.map(|peer| peer.uid.clone()) {
            self.by_uid.remove(&uid);
            self.found.remove(&uid);
        }
    }
}
