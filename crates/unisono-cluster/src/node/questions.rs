//! What this node has asked the others, and what they have answered so far.

use std::collections::{BTreeSet, HashMap, HashSet};

use unisono_proto::Value;

use super::ledger::Ledger;
use super::pending::{Kind, Pending};
use super::roll::{Attendance, Roll};
use crate::classic::{Answer, EncodeError, RequestBody};
use crate::limits::{MAX_PEERS, MAX_PENDING_REQUESTS};

/// Why nothing was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// [`MAX_PENDING_REQUESTS`] are pending.
    #[error(
        "{MAX_PENDING_REQUESTS} requests await their answers: wait for some before asking more"
    )]
    TooMany,
    /// Nobody answers it, or only one node: [`tell`](super::Node::tell) it.
    #[error("it is not for all nodes to answer")]
    NoQuestion,
}

/// What has come of a request: everything, or what there was at its end. By default nothing, of nobody knows how many.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answered {
    /// The id that [`Node::ask`](super::Node::ask) gave.
    pub id: String,
    /// Sockets, names of rooms, what handlers answered, or acknowledgements, of all nodes, in the order of arrival. Nothing at all is null.
    pub answers: Vec<Value>,
    /// How many nodes were to answer; `None` if that was never known.
    pub nodes_expected: Option<usize>,
    /// How many did. Acknowledgements may be missing all the same.
    pub nodes_answered: usize,
    /// The ids of the servers that were to answer and did not, in order.
    pub missing: Vec<String>,
    /// How many more did not, of which nobody knows who they are.
    pub missing_unknown: usize,
    /// Of a broadcast: how many clients of the nodes that have answered were asked.
    pub clients_asked: u64,
    /// How many of those have not answered. Where nodes gave their names, each is counted by itself.
    pub clients_missing: u64,
}

impl Answered {
    /// How many nodes that were to answer did not, as far as is known.
    pub fn nodes_missing(&self) -> usize {
        self.missing.len() + self.missing_unknown
    }
}

/// What can be made of an answer.
#[derive(Debug, PartialEq)]
pub(super) enum Taken {
    /// Noted.
    Noted,
    /// Noted, and it was the last.
    Last(Box<Answered>),
    /// Nobody awaits it.
    Late,
    /// Not what was asked for, the same again, or more than is kept.
    Refused,
}

#[derive(Debug)]
pub(super) struct Questions {
    /// What every id begins with: nobody else's do.
    prefix: String,
    last: u64,
    format: IdFormat,
    pending: HashMap<String, Pending>,
    /// Deadline and id of everything pending, earliest first.
    deadlines: BTreeSet<(u64, String)>,
    ledger: Ledger,
    wants_recount: bool,
}

/// How ids count, by the adapter.
#[derive(Clone, Copy, Debug)]
enum IdFormat {
    Decimal,
    Hexadecimal,
}

/// Digits of an id of the sharded adapter that its requests have in common.
const HALF_AN_ID: usize = 8;

impl Questions {
    pub(super) fn new(uid: &str) -> Self {
        Self {
            prefix: format!("{uid}-"),
            last: 0,
            format: IdFormat::Decimal,
            pending: HashMap::new(),
            deadlines: BTreeSet::new(),
            ledger: Ledger::default(),
            wants_recount: false,
        }
    }

    /// The same with ids of 16 hexadecimal digits: the first eight of the uid, and eight that count.
    pub(super) fn become_sharded(&mut self, uid: &str) {
        uid.get(..HALF_AN_ID)
            .unwrap_or(uid)
            .clone_into(&mut self.prefix);
        self.format = IdFormat::Hexadecimal;
    }

    /// What is kept counts there from now on.
    pub(super) fn keep_in(&mut self, ledger: Ledger) {
        self.ledger = ledger;
    }

    /// Whether bytes may hold an answer to one of ours: cheaper than to decode those to all others.
    pub(super) fn may_be_mine(&self, payload: &[u8]) -> bool {
        let prefix = self.prefix.as_bytes();
        let Some(&first) = prefix.first() else {
            return true;
        };
        let mut rest = payload;
        while let Some(at) = rest.iter().position(|&byte| byte == first) {
            if rest[at..].starts_with(prefix) {
                return true;
            }
            rest = &rest[at + 1..];
        }
        false
    }

    pub(super) fn is_mine(&self, id: &str) -> bool {
        id.starts_with(&self.prefix)
    }

    /// The id that the next request gets.
    pub(super) fn next_id(&self) -> String {
        let (prefix, next) = (&self.prefix, self.last + 1);
        match self.format {
            IdFormat::Decimal => format!("{prefix}{next}"),
            // What overflows was asked four billion requests ago.
            IdFormat::Hexadecimal => format!("{prefix}{:08x}", next as u32),
        }
    }

    /// `None` for what nobody answers, or only one node.
    pub(super) fn kind_of(&self, body: &RequestBody) -> Option<Kind> {
        match (Kind::of(body)?, self.format) {
            // Nobody asks for rooms apart from their sockets.
            (Kind::Rooms, IdFormat::Hexadecimal) => Some(Kind::RoomsOfSockets),
            (kind, _) => Some(kind),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= MAX_PENDING_REQUESTS
    }

    /// Remembers the request of [`next_id`](Self::next_id).
    pub(super) fn expect(&mut self, kind: Kind, deadline_ms: u64) {
        let id = self.next_id();
        self.last += 1;
        self.deadlines.insert((deadline_ms, id.clone()));
        let answered = Answered {
            id: id.clone(),
            ..Answered::default()
        };
        self.pending.insert(
            id,
            Pending {
                kind,
                answered,
                attendance: Attendance::default(),
                account: self.ledger.account(),
                seen: HashSet::new(),
                deadline_ms,
            },
        );
    }

    /// It is known now who is to answer. The outcome if they all have.
    pub(super) fn set_expected(&mut self, id: &str, roll: Roll) -> Option<Box<Answered>> {
        self.pending.get_mut(id)?.attendance.call(roll);
        self.take_if_complete(id)
    }

    /// Whether nothing is asked.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether a count would end a request, said once.
    pub(super) fn take_wants_recount(&mut self) -> bool {
        std::mem::take(&mut self.wants_recount)
    }

    /// The names of those that were counted, and of those that have answered and may have been: each once, and of the latter not more than
    /// can be remembered.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        let of_all = || self.pending.values().flat_map(|one| one.attendance.names());
        let counted = of_all().filter(|(_, is_counted)| *is_counted);
        let others = of_all().filter(|(_, is_counted)| !is_counted);
        let names = counted.chain(others.take(MAX_PEERS));
        names.map(|(id, _)| id).collect()
    }

    /// A server has gone or fallen silent: what ends by that.
    pub(super) fn lose(&mut self, id: &str) -> Vec<Answered> {
        self.end_complete(|attendance| attendance.lose(id))
    }

    /// Who listens now: what ends by that.
    pub(super) fn recount(&mut self, roll: &Roll) -> Vec<Answered> {
        self.end_complete(|attendance| attendance.recount(roll))
    }

    /// Changes all, and ends those that are complete by it.
    fn end_complete(&mut self, change: impl Fn(&mut Attendance)) -> Vec<Answered> {
        let mut complete = Vec::new();
        for (id, pending) in &mut self.pending {
            change(&mut pending.attendance);
            if pending.is_complete() {
                complete.push(id.clone());
            }
        }
        let ended = complete.iter().filter_map(|id| self.give_up(id));
        ended.map(|answered| *answered).collect()
    }

    /// An answer whose id is ours. `payload` is what it was decoded from.
    pub(super) fn handle(&mut self, answer: Answer, payload: &[u8]) -> Taken {
        let Some(pending) = self.pending.get_mut(&answer.id) else {
            return Taken::Late;
        };
        if !pending.take(answer.from.as_deref(), answer.body, payload) {
            return Taken::Refused;
        }
        match self.take_if_complete(&answer.id) {
            Some(answered) => Taken::Last(answered),
            None => Taken::Noted,
        }
    }

    /// Ends a request whether everybody has answered or not.
    pub(super) fn give_up(&mut self, id: &str) -> Option<Box<Answered>> {
        let pending = self.pending.remove(id)?;
        self.deadlines.remove(&(pending.deadline_ms, id.to_owned()));
        Some(Box::new(pending.end()))
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline_ms, _)| *deadline_ms)
    }

    pub(super) fn expire(&mut self, now_ms: u64) -> Vec<Answered> {
        let mut expired = Vec::new();
        while let Some((deadline_ms, id)) = self.deadlines.first()
            && *deadline_ms <= now_ms
        {
            let id = id.clone();
            match self.give_up(&id) {
                Some(answered) => expired.push(*answered),
                // Unreachable: both tables change together. It must not be met again.
                None => drop(self.deadlines.pop_first()),
            }
        }
        expired
    }

    fn take_if_complete(&mut self, id: &str) -> Option<Box<Answered>> {
        let pending = self.pending.get(id)?;
        if pending.is_complete() {
            return self.give_up(id);
        }
        self.wants_recount |= pending.attendance.awaits_recount();
        None
    }
}
