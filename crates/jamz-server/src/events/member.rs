//! What is remembered of a socket: its sessions, who it says it is, what it may still open.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use unisono::Socket;

use super::payload::UserId;
use crate::app::App;
use crate::metrics::Refused;
use crate::session::{Allowance, Entry, SessionId};

/// Most sessions one socket is in. There is no event for leaving one, so a page that is never
/// reloaded collects them; beyond this the socket leaves the one it joined first.
const MAX_SESSIONS_PER_SOCKET: usize = 16;

/// What is remembered of a socket that spoke of a session.
#[derive(Debug)]
pub(super) struct Member(Mutex<Membership>);

#[derive(Debug)]
struct Membership {
    sessions: VecDeque<SessionId>,
    user: Option<String>,
    allowance: Allowance,
}

impl Default for Member {
    fn default() -> Self {
        Self(Mutex::new(Membership {
            sessions: VecDeque::new(),
            user: None,
            allowance: Allowance::new(Instant::now()),
        }))
    }
}

impl Member {
    /// The memory of this socket, made if there is none.
    pub(super) fn of(socket: &Socket) -> Arc<Self> {
        // Events of one socket run one after another, so nobody makes a second one meanwhile.
        socket.data_or_insert_with(Self::default)
    }

    /// The user id the socket gave when it last joined a session.
    pub(super) fn user(&self) -> Option<String> {
        self.lock().user.clone()
    }

    /// Remembers that the socket is a member. Returns whether it was one before.
    pub(super) fn remember(
        &self,
        app: &App,
        socket: &Socket,
        entry: &Entry,
        user: &UserId,
    ) -> bool {
        let mut membership = self.lock();
        if user.text.is_some() {
            membership.user.clone_from(&user.text);
        }
        if membership.sessions.contains(&entry.id) {
            return true;
        }
        if membership.sessions.len() == MAX_SESSIONS_PER_SOCKET
            && let Some(oldest) = membership.sessions.pop_front()
        {
            if let Some(room) = oldest.room() {
                socket.leave(&room);
            }
            app.sessions().remove_member(&oldest);
        }
        membership.sessions.push_back(entry.id.clone());
        app.sessions().add_member(entry);
        false
    }

    /// The sessions of the socket, which it is in no longer.
    pub(super) fn leave_all(&self) -> VecDeque<SessionId> {
        std::mem::take(&mut self.lock().sessions)
    }

    fn lock(&self) -> MutexGuard<'_, Membership> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the session an event speaks of, unless the socket has named too many that nobody
/// knows, or the pod keeps too many; then the event is dropped and counted.
pub(super) async fn open(app: &App, socket: &Socket, id: &SessionId) -> Option<Arc<Entry>> {
    let refuse = |reason: Refused| {
        app.metrics().count_refused(reason);
        let (socket, reason) = (socket.id(), reason.as_str());
        tracing::debug!(socket, reason, "event dropped");
    };
    // The default session is everybody's: there is nothing to invent.
    let is_new = *id != SessionId::Default && !app.sessions().knows(id);
    let member = Member::of(socket);
    if is_new && !member.lock().allowance.take(id, Instant::now()) {
        refuse(Refused::NewSessions);
        return None;
    }
    let Ok(entry) = app.sessions().open(id).await else {
        refuse(Refused::Sessions);
        return None;
    };
    if is_new && entry.is_known() {
        member.lock().allowance.give_back(id);
    }
    Some(entry)
}
