//! Sessions in the memory of this process, for single-instance mode, demos and tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use unisono_cluster::Broker;
use unisono_cluster::classic::Template;

use super::{Outcome, Replaced, Store, StoreFuture, Unavailable};
use crate::session::{Change, SessionId, SessionState};

/// Most sessions kept in memory. Beyond it the one that was changed longest ago goes;
/// an empty playlist costs some 500 bytes, so that this bounds an idle store to 50 MB.
pub const MAX_MEMORY_SESSIONS: usize = 100_000;

/// The sessions that several [`MemoryStore`]s of one process share, as pods share a Redis.
#[derive(Clone, Debug, Default)]
pub struct SharedSessions(Arc<Mutex<HashMap<SessionId, SessionState>>>);

/// Sessions in memory, published through the broker of one node.
pub struct MemoryStore {
    shared: SharedSessions,
    broker: Arc<dyn Broker>,
}

impl MemoryStore {
    /// A store over shared sessions that publishes through `broker`.
    pub fn new(shared: SharedSessions, broker: Arc<dyn Broker>) -> Self {
        Self { shared, broker }
    }

    /// Held while a step checks, writes and publishes: that is what makes it one step.
    /// Receivers never come back to the store from inside a delivery.
    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, SessionState>> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, messages: &[Template], revision: u32) {
        for message in messages {
            let sent = self
                .broker
                .publish(&message.channel, message.fill(revision));
            if let Err(error) = sent {
                tracing::warn!(%error, "committed change could not be published");
            }
        }
    }

    fn commit_now(&self, change: &Change, messages: &[Template]) -> Outcome {
        let mut sessions = self.sessions();
        let known = sessions.get(&change.session);
        let mut state = known.cloned().unwrap_or_default();
        if state.revision < change.known_revision {
            return Outcome::Behind { current: state };
        }
        if !change.is_allowed(&state) {
            return Outcome::Refused { current: state };
        }
        if known.is_none() {
            make_room(&mut sessions);
        }
        let revision = change.apply(&mut state);
        sessions.insert(change.session.clone(), state);
        self.publish(messages, revision);
        Outcome::Committed { revision }
    }

    fn replace_now(
        &self,
        session: &SessionId,
        expected_revision: u32,
        state: &SessionState,
        messages: &[Template],
    ) -> Replaced {
        let mut sessions = self.sessions();
        let stored = sessions.get(session);
        if stored.map_or(0, |stored| stored.revision) != expected_revision {
            return Replaced::Conflict;
        }
        if stored.is_none() {
            make_room(&mut sessions);
        }
        sessions.insert(session.clone(), state.clone());
        self.publish(messages, state.revision);
        Replaced::Done
    }
}

impl Store for MemoryStore {
    fn load<'a>(&'a self, session: &'a SessionId) -> StoreFuture<'a, SessionState> {
        let state = self.sessions().get(session).cloned().unwrap_or_default();
        Box::pin(std::future::ready(Ok::<_, Unavailable>(state)))
    }

    fn commit<'a>(
        &'a self,
        change: &'a Change,
        messages: &'a [Template],
    ) -> StoreFuture<'a, Outcome> {
        Box::pin(std::future::ready(Ok(self.commit_now(change, messages))))
    }

    fn replace<'a>(
        &'a self,
        session: &'a SessionId,
        expected_revision: u32,
        state: &'a SessionState,
        messages: &'a [Template],
    ) -> StoreFuture<'a, Replaced> {
        let replaced = self.replace_now(session, expected_revision, state, messages);
        Box::pin(std::future::ready(Ok(replaced)))
    }
}

/// Forgets the session that was changed longest ago when there are too many. The scan is
/// linear, but happens only at the bound.
fn make_room(sessions: &mut HashMap<SessionId, SessionState>) {
    if sessions.len() < MAX_MEMORY_SESSIONS {
        return;
    }
    let oldest = sessions
        .iter()
        .min_by_key(|(_, state)| state.updated_at())
        .map(|(session, _)| session.clone());
    if let Some(session) = oldest {
        sessions.remove(&session);
    }
}
