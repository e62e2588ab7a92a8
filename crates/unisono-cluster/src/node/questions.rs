//! What this node has asked the others, and what they have answered so far.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use unisono_proto::Value;
use unisono_proto::value::memory_bytes;

use super::ledger::{Account, Ledger};
use crate::classic::{Answer, AnswerBody, EncodeError, RequestBody};
use crate::limits::{ANSWER_OVERHEAD_BYTES, MAX_PENDING_REQUESTS};

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
    /// Of a broadcast: how many clients of those nodes were asked.
    pub clients_asked: u64,
}

impl Answered {
    /// How many nodes that were to answer did not, as far as is known.
    pub fn nodes_missing(&self) -> usize {
        let expected = self.nodes_expected.unwrap_or(0);
        expected.saturating_sub(self.nodes_answered)
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
}

/// How ids count, by the adapter.
#[derive(Clone, Copy, Debug)]
enum IdFormat {
    Decimal,
    Hexadecimal,
}

/// Digits of an id of the sharded adapter that its requests have in common.
const HALF_AN_ID: usize = 8;

#[derive(Debug)]
struct Pending {
    kind: Kind,
    answered: Answered,
    account: Account,
    /// Hashes of the answers that no two nodes can give alike: those with the id of a socket in them.
    seen: HashSet<u64>,
    deadline_ms: u64,
}

/// Which answers fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sockets,
    Rooms,
    /// Sockets, of which only the rooms matter.
    RoomsOfSockets,
    ServerSide,
    Acks,
}

impl Kind {
    fn of(body: &RequestBody) -> Option<Self> {
        match body {
            RequestBody::Sockets { .. } | RequestBody::Fetch { .. } => Some(Self::Sockets),
            RequestBody::AllRooms => Some(Self::Rooms),
            RequestBody::ServerSideEmit { .. } => Some(Self::ServerSide),
            RequestBody::Broadcast(_) => Some(Self::Acks),
            RequestBody::Join { .. }
            | RequestBody::Leave { .. }
            | RequestBody::Disconnect { .. }
            | RequestBody::One { .. } => None,
        }
    }
}

impl Questions {
    pub(super) fn new(uid: &str) -> Self {
        Self {
            prefix: format!("{uid}-"),
            last: 0,
            format: IdFormat::Decimal,
            pending: HashMap::new(),
            deadlines: BTreeSet::new(),
            ledger: Ledger::default(),
        }
    }

    /// The same with ids of 16 hexadecimal digits: the first eight of the uid, and eight that count.
    pub(super) fn sharded(uid: &str) -> Self {
        let prefix = uid.get(..HALF_AN_ID).unwrap_or(uid);
        Self {
            prefix: prefix.to_owned(),
            format: IdFormat::Hexadecimal,
            ..Self::new(uid)
        }
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
                account: self.ledger.account(),
                seen: HashSet::new(),
                deadline_ms,
            },
        );
    }

    /// It is known now how many are to answer. The outcome if they all have.
    pub(super) fn set_expected(&mut self, id: &str, nodes: usize) -> Option<Box<Answered>> {
        let pending = self.pending.get_mut(id)?;
        pending.answered.nodes_expected = Some(nodes);
        self.take_if_complete(id)
    }

    /// An answer whose id is ours. `payload` is what it was decoded from.
    pub(super) fn handle(&mut self, answer: Answer, payload: &[u8]) -> Taken {
        let Some(pending) = self.pending.get_mut(&answer.id) else {
            return Taken::Late;
        };
        if !pending.take(answer.body, payload) {
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
        Some(Box::new(pending.answered))
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
        if self.pending.get(id)?.is_complete() {
            return self.give_up(id);
        }
        None
    }
}

impl Pending {
    fn is_complete(&self) -> bool {
        let Answered {
            nodes_expected,
            nodes_answered,
            clients_asked,
            ..
        } = self.answered;
        let all_nodes = nodes_expected.is_some_and(|expected| nodes_answered >= expected);
        let acks = self.answered.answers.len() as u64;
        all_nodes && (self.kind != Kind::Acks || acks >= clients_asked)
    }

    /// False when it is ignored.
    fn take(&mut self, body: AnswerBody, payload: &[u8]) -> bool {
        let bytes = payload.len().max(in_memory(&body)) + ANSWER_OVERHEAD_BYTES;
        if !self.account.charge(bytes) {
            return false;
        }
        let noted = self.note(body, payload);
        if !noted {
            self.account.refund(bytes);
        }
        noted
    }

    fn note(&mut self, body: AnswerBody, payload: &[u8]) -> bool {
        let answered = &mut self.answered;
        match (self.kind, body) {
            (Kind::Sockets, AnswerBody::Sockets(sockets)) => {
                if !sockets.is_empty() && !self.seen.insert(hash(payload)) {
                    return false;
                }
                answered.answers.extend(sockets);
                answered.nodes_answered += 1;
            }
            (Kind::Rooms, AnswerBody::Rooms(rooms)) => {
                if !rooms.is_empty() && !self.seen.insert(hash(payload)) {
                    return false;
                }
                answered.answers.extend(rooms.into_iter().map(Value::Str));
                answered.nodes_answered += 1;
            }
            (Kind::RoomsOfSockets, AnswerBody::Sockets(sockets)) => {
                if !sockets.is_empty() && !self.seen.insert(hash(payload)) {
                    return false;
                }
                answered.answers.extend(sockets.iter().flat_map(rooms_of));
                answered.nodes_answered += 1;
            }
            (Kind::ServerSide, AnswerBody::ServerSide(data)) => {
                answered.answers.push(data.unwrap_or(Value::Null));
                answered.nodes_answered += 1;
            }
            (Kind::Acks, AnswerBody::ClientCount(clients)) => {
                let expected = answered.nodes_expected.unwrap_or(usize::MAX);
                if answered.nodes_answered >= expected {
                    return false;
                }
                answered.clients_asked += clients;
                answered.nodes_answered += 1;
            }
            // It may come before the count of its node.
            (Kind::Acks, AnswerBody::Ack(packet)) => {
                answered.answers.push(packet.unwrap_or(Value::Null));
            }
            _ => return false,
        }
        true
    }
}

/// The names of the rooms that a socket is in, as it was told.
fn rooms_of(socket: &Value) -> impl Iterator<Item = Value> {
    let rooms = socket.get("rooms").and_then(Value::as_array);
    rooms
        .unwrap_or_default()
        .iter()
        .filter_map(|room| match room {
            Value::Str(_) => Some(room.clone()),
            Value::Int(number) => Some(Value::Str(number.to_string())),
            _ => None,
        })
}

/// What an answer's values take in memory.
fn in_memory(body: &AnswerBody) -> usize {
    match body {
        AnswerBody::Sockets(sockets) => memory_bytes(sockets),
        AnswerBody::Rooms(rooms) => rooms.len() * size_of::<Value>(),
        AnswerBody::ServerSide(value) | AnswerBody::Ack(value) => memory_bytes(value),
        AnswerBody::ClientCount(_) | AnswerBody::Done => 0,
    }
}

fn hash(payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    payload.hash(&mut hasher);
    hasher.finish()
}
