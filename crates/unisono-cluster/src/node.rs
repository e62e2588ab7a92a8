//! The conversation of one namespace on one node with its peers.
//!
//! A [`Node`] decides what each message from the bus is to this node, numbers what it sends, remembers which ordered messages must come
//! back, and counts what peers sent that never arrived. It does no IO and has no clock: the caller publishes, delivers, and passes the time
//! in milliseconds of any monotonic clock.
//!
//! ```
//! use unisono_cluster::{Awaited, Broadcast, Extension, Node, Received};
//! use unisono_proto::Value;
//!
//! let mut node = Node::new("k3b9x0", "socket.io", "/");
//! let mut broadcast = Broadcast { args: vec![Value::Str("hello".into())], ..Broadcast::default() };
//! let seq = node.next_seq();
//! broadcast.extension = Some(Extension { seq, ordered: true, ..Extension::default() });
//! let (channel, payload) = node.encode(&broadcast)?;
//! node.expect_echo(seq, Awaited::Broadcast(broadcast.clone()), 0)?;
//! // publish it; when it comes back:
//! assert_eq!(node.handle_message(&channel, &payload, &|_| true, 1), Received::Echo(broadcast));
//! assert_eq!(node.handle_message(&channel, &payload, &|_| true, 2), Received::Own);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod echoes;
mod format;
mod joined;
mod ledger;
mod peers;
mod pending;
mod questions;
mod requests;
mod roll;

use bytes::Bytes;

use crate::adapter::Adapter;
use crate::broadcast::{Broadcast, COMMIT_SEQ_BASE};
use crate::classic::{self, DecodeError, EncodeError, Request, RequestError, Target};
use crate::sharded::Tail;

use echoes::Echoes;
pub use echoes::{Awaited, Expired, TooManyEchoes};
pub use format::subscriptions;
use joined::Joined;
pub use ledger::Ledger;
use peers::Peers;
pub use peers::{Gap, PeerStats};
use questions::Questions;
pub use questions::{Answered, AskError};
pub use roll::{Listener, Roll};

/// One namespace of one node. See the [module documentation](self).
#[derive(Debug)]
pub struct Node {
    uid: String,
    prefix: String,
    nsp: String,
    adapter: Adapter,
    /// How its own messages end, where they are known by that.
    tail: Tail,
    /// The name under which it asks.
    asks_as: String,
    last_seq: u64,
    last_commit_seq: u64,
    echoes: Echoes,
    peers: Peers,
    questions: Questions,
    joined: Joined,
    stats: NodeStats,
}

/// What a message from the bus is to this node.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// Deliver it to the local members it reaches: a peer's message.
    Deliver(Broadcast),
    /// Deliver it too: an ordered message of ours has come back.
    Echo(Broadcast),
    /// Ours, delivered already (or given up as [`Expired`]).
    Own,
    /// For one room that has nobody here; not decoded.
    NotHere,
    /// What another node asks: carry it out, and answer as [`Node::answering`] says where it has an id.
    Request(Box<Request>),
    /// The last answer to a request of ours.
    Answered(Box<Answered>),
    /// An answer that is noted, or not for us, or ignored.
    Answer,
    /// Of another namespace, or on a channel that is not ours.
    Foreign,
    /// Bytes that are no broadcast, and why. Data of somebody else, not an error of ours.
    Undecodable(DecodeError),
    /// Bytes that are no request or answer, or none that is known, and why.
    Refused(RequestError),
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStats {
    /// Messages of peers to deliver.
    pub delivered: u64,
    /// Ordered messages of ours that came back in time.
    pub echoes: u64,
    /// Ordered messages of ours that did not.
    pub echoes_expired: u64,
    /// Messages of ours that needed no delivery.
    pub own: u64,
    /// Messages for a room that has nobody here.
    pub not_here: u64,
    /// Messages of other namespaces.
    pub foreign: u64,
    /// Messages that were no broadcast, and no request or answer where those belong.
    pub undecodable: u64,
    /// Requests of other nodes to be carried out.
    pub requests: u64,
    /// Requests of a type that is not known, ignored.
    pub requests_unknown: u64,
    /// Answers to requests of this node.
    pub answers: u64,
    /// Answers that came too late, or to a request that this node never made in spite of their id.
    pub answers_late: u64,
    /// Answers that were ignored: not what was asked for, a second time the same, or more than is kept.
    pub answers_refused: u64,
    /// Requests of this node that ended before everybody had answered.
    pub requests_expired: u64,
    /// Messages that unisono peers sent and this node never received.
    pub gaps: u64,
    /// Messages of peers that came after a later one, or twice.
    pub out_of_order: u64,
    /// Unisono peers heard of and remembered now.
    pub peers: u64,
}

impl Node {
    /// A node named `uid` (unique per process and namespace, 31 bytes at most, never [`classic::EMITTER_UID`]) in the namespace `nsp`,
    /// speaking on channels that begin with `prefix`.
    pub fn new(uid: impl Into<String>, prefix: impl Into<String>, nsp: impl Into<String>) -> Self {
        let uid = uid.into();
        Self {
            asks_as: uid.clone(),
            questions: Questions::new(&uid),
            uid,
            prefix: prefix.into(),
            nsp: nsp.into(),
            adapter: Adapter::Classic,
            tail: Tail::default(),
            last_seq: 0,
            last_commit_seq: COMMIT_SEQ_BASE - 1,
            echoes: Echoes::default(),
            peers: Peers::default(),
            joined: Joined::default(),
            stats: NodeStats::default(),
        }
    }

    /// Speaks that adapter instead of the classic one. To be said before it asks anything. For the sharded one, uids have 16 hexadecimal
    /// digits.
    #[must_use]
    pub fn speaking(mut self, adapter: Adapter) -> Self {
        if let Adapter::Sharded(_) = adapter {
            self.tail = Tail::new(&self.uid, &self.nsp);
            self.questions.become_sharded(&self.uid);
        }
        self.adapter = adapter;
        self
    }

    /// Asks under another name than its uid: the channel of private answers is named after it. For a node that takes the place of
    /// another, so that the subscriptions stay. The two must not publish at the same time.
    #[must_use]
    pub fn asking_as(mut self, name: impl Into<String>) -> Self {
        self.asks_as = name.into();
        self
    }

    /// Counts what it keeps of answers together with the other namespaces of its server.
    #[must_use]
    pub fn keeping_in(mut self, ledger: Ledger) -> Self {
        self.questions.keep_in(ledger);
        self
    }

    /// The name of this node among its peers.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The namespace.
    pub fn nsp(&self) -> &str {
        &self.nsp
    }

    /// Counters since the start.
    pub fn stats(&self) -> NodeStats {
        NodeStats {
            gaps: self.peers.gaps(),
            out_of_order: self.peers.out_of_order(),
            peers: self.peers.len() as u64,
            ..self.stats
        }
    }

    /// What is known of each unisono peer, [`MAX_PEERS`](crate::limits::MAX_PEERS) at most, in no order.
    pub fn peer_stats(&self) -> impl Iterator<Item = PeerStats> {
        self.peers.stats()
    }

    /// A peer says that `seq` was the last number that it published before it said so. What it published and has not come by now never
    /// will. `server` is the id of its server.
    pub fn handle_published(&mut self, uid: &str, seq: u64, server: &str, now_ms: u64) {
        if uid != self.uid && seq < COMMIT_SEQ_BASE {
            self.peers.hear_of(uid, seq, server, now_ms);
        }
    }

    /// What was found lost since the last call, for each peer once. To be called after [`Node::handle_message`] and
    /// [`Node::handle_published`].
    pub fn take_gaps(&mut self) -> Vec<Gap> {
        self.peers.take_gaps()
    }

    /// The number for the next message of [`Broker::publish`](crate::Broker::publish). Take it only for a message that is then published,
    /// in the order of the numbers: peers count a missing number as a lost message.
    pub fn next_seq(&mut self) -> u64 {
        self.last_seq += 1;
        self.last_seq
    }

    /// The number for the next commit, whose publication is up to a script. Missing ones mean nothing to peers.
    pub fn next_commit_seq(&mut self) -> u64 {
        self.last_commit_seq += 1;
        self.last_commit_seq
    }

    /// Gives a broadcast the next number and encodes it. One that cannot be encoded takes no number, so that peers miss none; one that is
    /// not for all nodes to hear has the number 0. To a room that others were told to join a moment ago it goes where all hear it: they do
    /// not listen to the room's own channel yet.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn number(
        &mut self,
        broadcast: &mut Broadcast,
        now_ms: u64,
    ) -> Result<(String, Bytes), EncodeError> {
        let apart = self.room_apart(broadcast);
        let apart = apart.filter(|room| !self.joined.holds(room, now_ms));
        let step = u64::from(apart.is_none());
        let channel = self.channel(broadcast, apart);
        let seq = (self.last_seq + 1) * step;
        broadcast.extension.get_or_insert_default().seq = seq;
        let payload = self.encode_payload(broadcast)?;
        self.last_seq += step;
        Ok((channel, payload))
    }

    /// A message arrived. `has_room` says whether a room concerns this node.
    pub fn handle_message(
        &mut self,
        channel: &str,
        payload: &[u8],
        has_room: &dyn Fn(&str) -> bool,
        now_ms: u64,
    ) -> Received {
        let received = self.classify(channel, payload, has_room, now_ms);
        match &received {
            Received::Deliver(_) | Received::Echo(_) | Received::Answer | Received::Answered(_) => {
            }
            Received::Request(_) => self.stats.requests += 1,
            Received::Refused(RequestError::Type) => self.stats.requests_unknown += 1,
            Received::Refused(_) => self.stats.undecodable += 1,
            Received::Own => self.stats.own += 1,
            Received::NotHere => self.stats.not_here += 1,
            Received::Foreign => self.stats.foreign += 1,
            Received::Undecodable(_) => self.stats.undecodable += 1,
        }
        received
    }

    /// An ordered message is about to be published, or a commit about to run: its echo is due within
    /// [`ECHO_DEADLINE_MS`](crate::limits::ECHO_DEADLINE_MS). Call this before publishing, the echo may be fast.
    ///
    /// # Errors
    /// [`TooManyEchoes`] when too many are pending: do not publish, tell the emitter.
    pub fn expect_echo(
        &mut self,
        seq: u64,
        awaited: Awaited,
        now_ms: u64,
    ) -> Result<(), TooManyEchoes> {
        self.echoes.expect(seq, awaited, now_ms)
    }

    /// A commit said which revision it made; needed to deliver it should the echo not come. Ignored after the echo.
    pub fn set_revision(&mut self, seq: u64, revision: u32) {
        self.echoes.set_revision(seq, revision);
    }

    /// Nothing was published after all. True when the echo was still awaited.
    pub fn cancel_echo(&mut self, seq: u64) -> bool {
        self.echoes.take(seq).is_some()
    }

    /// When to call [`Node::handle_timeout`] and [`Node::handle_request_timeout`] next.
    pub fn next_deadline(&self) -> Option<u64> {
        let deadlines = [self.echoes.next_deadline(), self.questions.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// Gives up the echoes that are due: the caller delivers each to its local members and calls [`Broker::suspect`](crate::Broker::suspect).
    /// Should one come later, it is dropped as [`Received::Own`].
    pub fn handle_timeout(&mut self, now_ms: u64) -> Vec<Expired> {
        let expired = self.echoes.expire(now_ms, self.adapter);
        self.stats.echoes_expired += expired.len() as u64;
        expired
    }

    fn classify(
        &mut self,
        channel: &str,
        payload: &[u8],
        has_room: &dyn Fn(&str) -> bool,
        now_ms: u64,
    ) -> Received {
        if let Adapter::Sharded(_) = self.adapter {
            return self.classify_sharded(channel, payload, has_room, now_ms);
        }
        let target = classic::target_of_channel(&self.prefix, &self.nsp, channel);
        if target == Target::Foreign {
            return self.classify_request(channel, payload);
        }
        let (uid, seq) = (classic::peek_uid(payload), classic::peek_seq(payload));
        if uid == Some(self.uid.as_str()) {
            return self.own(payload, seq);
        }
        if let Target::Room(room) = target
            && !has_room(room)
        {
            // Its place in the sequence still counts, or every room of others would look like a gap. That the namespace is ours
            // is taken from the channel here, not from the payload.
            self.hear(uid, seq, now_ms);
            return Received::NotHere;
        }
        let message = match classic::decode(payload) {
            Ok(message) => message,
            Err(error) => return Received::Undecodable(error),
        };
        if message.nsp != self.nsp {
            return Received::Foreign;
        }
        if message.uid == self.uid {
            return self.own(payload, seq);
        }
        self.hear(uid, seq, now_ms);
        self.stats.delivered += 1;
        Received::Deliver(message.broadcast)
    }

    /// Ours: delivered when it was published, unless it is an ordered one that is still awaited.
    fn own(&mut self, payload: &[u8], seq: Option<u64>) -> Received {
        let read = match seq.and_then(|seq| self.echoes.get(seq)) {
            None => return Received::Own,
            Some(Awaited::Broadcast(_)) => None,
            // Only what came back knows its revision.
            Some(Awaited::Template(_)) => match format::decode_own(self.adapter, payload) {
                // What we wrote can be read: somebody else's, with our name on it. Ours is still to come.
                None => return Received::Undecodable(DecodeError::Envelope),
                read => read,
            },
        };
        let broadcast = match seq.and_then(|seq| self.echoes.take(seq)) {
            Some(Awaited::Broadcast(broadcast)) => Some(broadcast),
            _ => read,
        };
        let Some(broadcast) = broadcast else {
            return Received::Own;
        };
        self.stats.echoes += 1;
        Received::Echo(broadcast)
    }

    fn hear(&mut self, uid: Option<&str>, seq: Option<u64>, now_ms: u64) {
        if let (Some(uid), Some(seq @ 1..COMMIT_SEQ_BASE)) = (uid, seq) {
            self.peers.hear(uid, seq, now_ms);
        }
    }
}
