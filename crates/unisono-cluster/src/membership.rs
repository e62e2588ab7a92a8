//! The servers that share a bus, as each of them sees the others.
//!
//! Every server of unisono, one per process whatever its namespaces, tells the others once a second that it lives: a [`Beat`] on a
//! channel of their own ([`members_channel`](crate::classic::members_channel)). Whoever has not been heard for [`SILENT_AFTER_MS`] is
//! silent and no longer waited for; whoever says goodbye is gone at once. A server that is started again has another id, so it is never
//! taken for what it was before. Node.js pods and emitters neither send nor hear any of this.
//!
//! A [`Membership`] does no IO and has no clock: the caller publishes, hands messages in, and passes the time in milliseconds of any
//! monotonic clock.
//!
//! ```
//! use unisono_cluster::{Identity, Membership};
//! use unisono_cluster::limits::SILENT_AFTER_MS;
//!
//! let identity = |id: &str| Identity { id: id.into(), name: format!("pod-{id}"), started_ms: 0 };
//! let (mut a, mut b) = (Membership::new(identity("a")), Membership::new(identity("b")));
//! b.set_link(true, 0);
//! let hello = b.beat(Vec::new(), 0).expect("the link has just come up");
//! a.set_link(true, 0);
//! a.handle_message(&hello, 5)?;
//! assert_eq!(a.iter().map(|member| member.name.to_string()).collect::<Vec<_>>(), ["pod-b (b)"]);
//! let silent: Vec<_> = (0..40).flat_map(|tick| a.handle_timeout(tick * 100)).collect();
//! assert_eq!(silent.len(), 1);
//! assert!(a.iter().all(|member| member.is_silent && member.heard_ms + SILENT_AFTER_MS < 4_000));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::classic::{
    Beat, EncodeError, Identity, Published, RequestError, decode_beat, encode_beat,
};
use crate::limits::{
    BEAT_INTERVAL_MS, BEAT_SPACING_MS, ECHO_DEADLINE_MS, FORGET_SILENT_MS, MAX_BEAT_SPACES,
    MAX_BEATS_OUT, MAX_PEERS, SILENT_AFTER_MS,
};

/// What a server is called. Shown as `name (id)`, or as the id alone if nobody gave it a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName {
    /// What people call it; several may be called the same.
    pub name: Arc<str>,
    /// Made anew at each start.
    pub id: Arc<str>,
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name == self.id {
            return f.write_str(&self.id);
        }
        write!(f, "{} ({})", self.name, self.id)
    }
}

impl From<&Identity> for NodeName {
    fn from(identity: &Identity) -> Self {
        Self {
            name: identity.name.as_str().into(),
            id: identity.id.as_str().into(),
        }
    }
}

/// Another server, as it is seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it is called.
    pub name: NodeName,
    /// When it started, in milliseconds since the Unix epoch by its own clock.
    pub started_ms: u64,
    /// When it was first heard, by the clock of [`Membership`].
    pub since_ms: u64,
    /// When it was last heard, by the same clock.
    pub heard_ms: u64,
    /// How long its messages take to come back to itself, in milliseconds, as it says.
    pub lag_ms: Option<u64>,
    /// Nothing was heard of it for [`SILENT_AFTER_MS`]: it hangs, was killed, or is cut off.
    pub is_silent: bool,
}

/// All other servers that are known. See the [module documentation](self).
#[derive(Debug)]
pub struct Membership {
    me: Identity,
    /// By id.
    peers: HashMap<Arc<str>, Member>,
    link_is_up: bool,
    /// When silence began to count: before, this server could not hear.
    grace_ms: u64,
    /// When [`Membership::handle_timeout`] was last called.
    looked_ms: u64,
    number: u64,
    sent_ms: Option<u64>,
    /// The numbers of those that have not come back, and when each was sent; [`MAX_BEATS_OUT`] at most.
    out: VecDeque<(u64, u64)>,
    due_ms: u64,
    lag_ms: Option<u64>,
    has_left: bool,
    /// Which namespaces are told of next, where there are too many for one message.
    turn: usize,
}

impl Membership {
    /// Those that `me` hears of: nobody yet. The link is taken to be away, see [`Membership::set_link`].
    pub fn new(me: Identity) -> Self {
        Self {
            me,
            peers: HashMap::new(),
            link_is_up: false,
            grace_ms: 0,
            looked_ms: 0,
            number: 0,
            sent_ms: None,
            out: VecDeque::new(),
            due_ms: 0,
            lag_ms: None,
            has_left: false,
            turn: 0,
        }
    }

    /// This server.
    pub fn me(&self) -> &Identity {
        &self.me
    }

    /// How long this server's messages take to come back, in milliseconds: the last that has, or that has not for longer. `None` before the
    /// first has.
    pub fn lag_ms(&self) -> Option<u64> {
        self.lag_ms
    }

    /// The other servers, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.peers.values()
    }

    /// What a server of this id is called, if it is known.
    pub fn name_of(&self, id: &str) -> Option<&NodeName> {
        self.peers.get(id).map(|member| &member.name)
    }

    /// The link changed. While it is away nobody falls silent, for nobody could be heard; when it is back all have their time again, and
    /// this server announces itself at once.
    pub fn set_link(&mut self, is_up: bool, now_ms: u64) {
        if is_up && !self.link_is_up {
            self.grace_ms = now_ms;
            self.due_ms = now_ms;
            self.out.clear();
        }
        self.link_is_up = is_up;
    }

    /// A message on the members' channel: what another server tells, or `None` if it is this one's own, or the goodbye of one that is not
    /// known.
    ///
    /// # Errors
    /// See [`RequestError`]. It is ignored then. [`RequestError::TooManyServers`] if there is no space for somebody new: nobody who lives is
    /// forgotten for that.
    pub fn handle_message(
        &mut self,
        payload: &[u8],
        now_ms: u64,
    ) -> Result<Option<Beat>, RequestError> {
        let beat = decode_beat(payload)?;
        if beat.from.id == self.me.id {
            self.hear_own(&beat, now_ms);
            return Ok(None);
        }
        if beat.leaving {
            let known = self.peers.remove(beat.from.id.as_str());
            return Ok(known.map(|_| beat));
        }
        match self.peers.get_mut(beat.from.id.as_str()) {
            Some(member) => {
                member.heard_ms = now_ms;
                member.lag_ms = beat.lag_ms;
                member.is_silent = false;
            }
            None => self.meet(&beat, now_ms)?,
        }
        Ok(Some(beat))
    }

    fn hear_own(&mut self, beat: &Beat, now_ms: u64) {
        if let Some(at) = self
            .out
            .iter()
            .position(|(number, _)| *number == beat.number)
        {
            // Messages come in the order they were sent: what was sent before will not come any more.
            let back = self.out.drain(..=at).next_back();
            self.lag_ms = back.map(|(_, sent_ms)| now_ms.saturating_sub(sent_ms));
        }
        if beat.leaving && !self.has_left {
            // Somebody else said it, and the others have believed it.
            self.tell_soon(now_ms);
        }
    }

    /// Somebody new, who has not heard of this server either.
    fn meet(&mut self, beat: &Beat, now_ms: u64) -> Result<(), RequestError> {
        self.make_space()?;
        let name = NodeName::from(&beat.from);
        let member = Member {
            started_ms: beat.from.started_ms,
            since_ms: now_ms,
            heard_ms: now_ms,
            lag_ms: beat.lag_ms,
            is_silent: false,
            name: name.clone(),
        };
        self.peers.insert(name.id, member);
        self.tell_soon(now_ms);
        Ok(())
    }

    fn tell_soon(&mut self, now_ms: u64) {
        let soonest = self.sent_ms.map_or(0, |sent_ms| sent_ms + BEAT_SPACING_MS);
        self.due_ms = self.due_ms.min(now_ms.max(soonest));
    }

    /// When there is no space for another, forgets whoever has been silent for longest. Whoever lives stays: anybody on the bus can make up
    /// servers.
    fn make_space(&mut self) -> Result<(), RequestError> {
        if self.peers.len() < MAX_PEERS {
            return Ok(());
        }
        let silent = self.peers.values().filter(|member| member.is_silent);
        let quietest = silent.min_by_key(|member| member.heard_ms);
        let id = quietest.map(|member| member.name.id.clone());
        self.peers.remove(&id.ok_or(RequestError::TooManyServers)?);
        Ok(())
    }

    /// To be called a few times a second: those that have just fallen silent.
    pub fn handle_timeout(&mut self, now_ms: u64) -> Vec<NodeName> {
        let held_up = now_ms.saturating_sub(self.looked_ms) > BEAT_INTERVAL_MS;
        self.looked_ms = now_ms;
        if held_up {
            // This process did not run: what others sent meanwhile has not been read yet.
            self.grace_ms = now_ms;
        }
        if !self.link_is_up {
            return Vec::new();
        }
        if let (Some(lag_ms), Some((_, sent_ms))) = (&mut self.lag_ms, self.out.front()) {
            *lag_ms = (*lag_ms).max(now_ms.saturating_sub(*sent_ms));
        }
        let grace_ms = self.grace_ms;
        let quiet_ms = |member: &Member| now_ms.saturating_sub(member.heard_ms.max(grace_ms));
        let is_silent = |member: &Member| quiet_ms(member) >= SILENT_AFTER_MS;
        self.peers
            .retain(|_, member| !member.is_silent || quiet_ms(member) < FORGET_SILENT_MS);
        let mut fallen = Vec::new();
        for member in self.peers.values_mut() {
            if !member.is_silent && is_silent(member) {
                member.is_silent = true;
                fallen.push(member.name.clone());
            }
        }
        fallen
    }

    /// Whether this server's own messages used to come back and no longer do: the link may be deaf. Said once of each that is missing for
    /// [`ECHO_DEADLINE_MS`] and of which none came back that was sent later.
    pub fn take_suspicion(&mut self, now_ms: u64) -> bool {
        let overdue =
            |(_, sent_ms): &(u64, u64)| now_ms.saturating_sub(*sent_ms) >= ECHO_DEADLINE_MS;
        let missing = self.out.iter().take_while(|sent| overdue(sent)).count();
        self.out.drain(..missing);
        missing > 0 && self.link_is_up && self.lag_ms.is_some()
    }

    /// The broker did not take the last message: nobody waits for it to come back.
    pub fn take_back(&mut self) {
        if self
            .out
            .back()
            .is_some_and(|(number, _)| *number == self.number)
        {
            self.out.pop_back();
        }
    }

    /// When the next message is due, while the link is up.
    pub fn next_beat_ms(&self) -> Option<u64> {
        (self.link_is_up && !self.has_left).then_some(self.due_ms)
    }

    /// What to publish on the members' channel, if it is due. `published` are the last numbers that were handed to the broker, all of
    /// them: it must be published behind those.
    pub fn beat(&mut self, published: Vec<Published>, now_ms: u64) -> Option<Bytes> {
        if self.next_beat_ms().is_none_or(|due_ms| now_ms < due_ms) {
            return None;
        }
        self.sent_ms = Some(now_ms);
        self.due_ms = now_ms + BEAT_INTERVAL_MS;
        let beat = self.write(published, false)?;
        if self.out.len() >= MAX_BEATS_OUT {
            self.out.pop_front();
        }
        self.out.push_back((self.number, now_ms));
        Some(beat)
    }

    /// What to publish when this server goes. `None` if it has: it tells nothing afterwards.
    pub fn goodbye(&mut self, published: Vec<Published>) -> Option<Bytes> {
        if std::mem::replace(&mut self.has_left, true) {
            return None;
        }
        self.write(published, true)
    }

    fn write(&mut self, mut published: Vec<Published>, leaving: bool) -> Option<Bytes> {
        self.number += 1;
        published.sort_unstable();
        let len = published.len();
        published.rotate_left(self.turn.checked_rem(len).unwrap_or(0));
        published.truncate(MAX_BEAT_SPACES);
        let mut beat = Beat {
            from: self.me.clone(),
            number: self.number,
            lag_ms: self.lag_ms,
            leaving,
            published,
        };
        loop {
            match encode_beat(&beat) {
                Ok(bytes) => {
                    self.turn = self.turn.wrapping_add(beat.published.len());
                    return Some(bytes);
                }
                // Long names: half of them fit, or a half of that.
                Err(EncodeError::TooLarge { .. }) if !beat.published.is_empty() => {
                    beat.published.truncate(beat.published.len() / 2);
                }
                Err(_) => return None,
            }
        }
    }
}
