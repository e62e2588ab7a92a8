//! One request that awaits its answers.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use unisono_proto::Value;
use unisono_proto::value::memory_bytes;

use super::ledger::Account;
use super::questions::Answered;
use super::roll::Attendance;
use crate::classic::{AnswerBody, RequestBody};
use crate::limits::ANSWER_OVERHEAD_BYTES;

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) kind: Kind,
    pub(super) answered: Answered,
    pub(super) attendance: Attendance,
    pub(super) account: Account,
    /// Hashes of the answers that no two nodes can give alike, those with the id of a socket in them, as far as they came without a name.
    /// Only of those that were noted, each of which the account has taken.
    pub(super) seen: HashSet<u64>,
    pub(super) deadline_ms: u64,
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
    /// `None` for what nobody answers, or only one node.
    pub(super) fn of(body: &RequestBody) -> Option<Self> {
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

impl Pending {
    /// Whether nobody is waited for any more.
    pub(super) fn is_complete(&self) -> bool {
        let acknowledged = self.kind != Kind::Acks || self.attendance.have_all_acknowledged();
        self.attendance.have_all_answered() && acknowledged
    }

    /// What has come of it.
    pub(super) fn end(self) -> Answered {
        let (missing, missing_unknown) = self.attendance.missing();
        Answered {
            nodes_expected: self.attendance.expected(),
            nodes_answered: self.attendance.nodes_answered(),
            missing,
            missing_unknown,
            clients_missing: self.attendance.clients_missing(),
            ..self.answered
        }
    }

    /// False when it is ignored.
    pub(super) fn take(&mut self, from: Option<&str>, body: AnswerBody, payload: &[u8]) -> bool {
        let bytes = payload.len().max(in_memory(&body)) + ANSWER_OVERHEAD_BYTES;
        if !self.account.charge(bytes) {
            return false;
        }
        let noted = self.note(from, body, payload);
        if !noted {
            self.account.refund(bytes);
        }
        noted
    }

    fn note(&mut self, from: Option<&str>, body: AnswerBody, payload: &[u8]) -> bool {
        match (self.kind, body) {
            (Kind::Sockets, AnswerBody::Sockets(sockets)) => {
                if !self.is_first(from, sockets.is_empty(), payload) {
                    return false;
                }
                self.answered.answers.extend(sockets);
            }
            (Kind::Rooms, AnswerBody::Rooms(rooms)) => {
                if !self.is_first(from, rooms.is_empty(), payload) {
                    return false;
                }
                let rooms = rooms.into_iter().map(Value::Str);
                self.answered.answers.extend(rooms);
            }
            (Kind::RoomsOfSockets, AnswerBody::Sockets(sockets)) => {
                if !self.is_first(from, sockets.is_empty(), payload) {
                    return false;
                }
                let rooms = sockets.iter().flat_map(rooms_of);
                self.answered.answers.extend(rooms);
            }
            (Kind::ServerSide, AnswerBody::ServerSide(data)) => {
                if !self.attendance.answered(from) {
                    return false;
                }
                self.answered.answers.push(data.unwrap_or(Value::Null));
            }
            (Kind::Acks, AnswerBody::ClientCount(clients)) => {
                if !self.attendance.has_place_for(from) || !self.attendance.answered(from) {
                    return false;
                }
                self.attendance.clients(from, clients);
                self.answered.clients_asked += clients;
            }
            // It may come before the count of its node.
            (Kind::Acks, AnswerBody::Ack(packet)) => {
                self.attendance.ack(from);
                self.answered.answers.push(packet.unwrap_or(Value::Null));
            }
            _ => return false,
        }
        true
    }

    /// Notes who has answered. False if it came before: of this node, or where there is no name the same that is not empty, which no two
    /// nodes can give.
    fn is_first(&mut self, from: Option<&str>, is_empty: bool, payload: &[u8]) -> bool {
        let is_told_apart = from.is_some() || is_empty;
        (is_told_apart || self.seen.insert(hash(payload))) && self.attendance.answered(from)
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
