//! A client's membership of one namespace.

use std::collections::BTreeSet;

use crate::limits::MAX_PENDING_ACKS;
use crate::socket::Encoded;

/// One namespace that the client is in, or has asked to be in.
#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) nsp: String,
    pub(super) state: State,
    next_id: u64,
    /// Ids whose answer is awaited; at most [`MAX_PENDING_ACKS`].
    pending: BTreeSet<u64>,
}

/// How far the client has come.
#[derive(Debug)]
pub(super) enum State {
    /// The connect packet waits for the session to open.
    Waiting(Encoded),
    /// The connect packet is sent.
    Asked,
    /// The server let the client in.
    Joined,
}

impl Namespace {
    pub(super) fn new(nsp: &str, state: State) -> Namespace {
        Namespace {
            nsp: nsp.to_owned(),
            state,
            next_id: 0,
            pending: BTreeSet::new(),
        }
    }

    pub(super) fn is_joined(&self) -> bool {
        matches!(self.state, State::Joined)
    }

    /// The connect packet that waits, which is now to be sent.
    pub(super) fn ask(&mut self) -> Option<Encoded> {
        match std::mem::replace(&mut self.state, State::Asked) {
            State::Waiting(connect) => Some(connect),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// The id of the next event that wants an answer, unless too many are awaited.
    pub(super) fn next_id(&self) -> Option<u64> {
        (self.pending.len() < MAX_PENDING_ACKS).then_some(self.next_id)
    }

    pub(super) fn expect_ack(&mut self, id: u64) {
        self.next_id = id + 1;
        self.pending.insert(id);
    }

    /// Whether the answer to `id` was awaited; it is not any more.
    pub(super) fn take_ack(&mut self, id: u64) -> bool {
        self.pending.remove(&id)
    }
}
