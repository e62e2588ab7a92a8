//! What each unisono peer sent last, to notice what never arrived.

use std::collections::HashMap;

use crate::limits::{MAX_PEERS, MAX_SEQ_LEAP, SILENT_AFTER_MS};

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

/// What each peer says of itself is what counts: numbers that anybody on the bus writes in its name are put right by what its server tells
/// a second or two later.
#[derive(Debug, Default)]
pub(super) struct Peers {
    by_uid: HashMap<String, Peer>,
    gaps: u64,
    out_of_order: u64,
    /// Found since it was last asked, by uid. As many as peers at most.
    found: HashMap<String, u64>,
}

#[derive(Debug, Default)]
struct Peer {
    stats: PeerStats,
    /// When its server last told of it.
    told_ms: Option<u64>,
    /// The last number when its server told of a lower one. In a Redis Cluster messages may overtake what is told of them, but not by the
    /// time it is told of the next.
    ahead: Option<u64>,
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
        self.by_uid.values().map(|peer| peer.stats.clone())
    }

    /// When a server was last heard, or said something of the nodes here.
    pub(super) fn last_heard(&self, server: &str) -> Option<u64> {
        let all = self.by_uid.values().map(|peer| &peer.stats);
        let nodes = all.filter(|stats| stats.server == server);
        nodes.map(|stats| stats.heard_ms).max()
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
        peer.map_or_else(String::new, |peer| peer.stats.server.clone())
    }

    /// A message. The first of a peer of which nothing else is known says only where it is; from then on every number is due once.
    pub(super) fn hear(&mut self, uid: &str, seq: u64, now_ms: u64) {
        let Some(Peer { stats, .. }) = self.peer(uid, seq - 1, now_ms) else {
            return;
        };
        let next = stats.last_seq + 1;
        if (next..next + MAX_SEQ_LEAP).contains(&seq) {
            stats.last_seq = seq;
            stats.received += 1;
            self.lose(uid, seq - next);
        } else {
            stats.out_of_order += 1;
            self.out_of_order += 1;
        }
    }

    /// A peer's last number, of which every message would have come before. Where nothing else is known, it counts from here on.
    pub(super) fn hear_of(&mut self, uid: &str, seq: u64, server: &str, now_ms: u64) {
        let Some(peer) = self.peer(uid, seq, now_ms) else {
            return;
        };
        if peer.stats.server != server {
            let is_told_of = |told_ms| now_ms.saturating_sub(told_ms) < SILENT_AFTER_MS;
            if peer.told_ms.is_some_and(is_told_of) {
                // Another server's, which lives.
                return;
            }
            server.clone_into(&mut peer.stats.server);
        }
        peer.told_ms = Some(now_ms);
        let last_seq = &mut peer.stats.last_seq;
        if peer.ahead.is_some_and(|ahead| seq < ahead) {
            *last_seq = seq;
        }
        peer.ahead = Some(*last_seq).filter(|last_seq| seq < *last_seq);
        let lost = seq.saturating_sub(*last_seq);
        *last_seq += lost;
        self.lose(uid, lost.min(MAX_SEQ_LEAP));
    }

    fn lose(&mut self, uid: &str, lost: u64) {
        if lost == 0 {
            return;
        }
        self.gaps = self.gaps.saturating_add(lost);
        if let Some(Peer { stats, .. }) = self.by_uid.get_mut(uid) {
            stats.gaps = stats.gaps.saturating_add(lost);
        }
        let found = self.found.entry(uid.to_owned()).or_default();
        *found = found.saturating_add(lost);
    }

    /// The peer, which was at that number if it is new. `None` if there is no space for somebody new.
    fn peer(&mut self, uid: &str, last_seq: u64, now_ms: u64) -> Option<&mut Peer> {
        // Looked up twice, since every message comes here and the name of one that is known need not be copied.
        if !self.by_uid.contains_key(uid) {
            self.make_space(now_ms)?;
            let stats = PeerStats {
                uid: uid.to_owned(),
                last_seq,
                ..PeerStats::default()
            };
            let peer = Peer {
                stats,
                ..Peer::default()
            };
            self.by_uid.insert(uid.to_owned(), peer);
        }
        let peer = self.by_uid.get_mut(uid)?;
        peer.stats.heard_ms = now_ms;
        Some(peer)
    }

    /// When there is no space for another, forgets the peer that has been silent for longest. `None` if all of them live: anybody on the bus
    /// can make up peers.
    fn make_space(&mut self, now_ms: u64) -> Option<()> {
        if self.by_uid.len() < MAX_PEERS {
            return Some(());
        }
        let all = self.by_uid.values().map(|peer| &peer.stats);
        let is_silent = |heard_ms: u64| now_ms.saturating_sub(heard_ms) >= SILENT_AFTER_MS;
        let quietest = all.min_by_key(|stats| stats.heard_ms);
        let quietest = quietest.filter(|stats| is_silent(stats.heard_ms))?;
        let uid = quietest.uid.clone();
        self.by_uid.remove(&uid);
        self.found.remove(&uid);
        Some(())
    }
}
