//! Bringing the copy of a session and the store together.
//!
//! Used for the first read of a session, when a note shows that something was missed, and
//! after the link was away. Whatever the order in which pods do this, all of them end with
//! the same state: of every part the change that came last.

use std::sync::Arc;

use unisono::Prepared;

use super::SessionState;
use super::entry::Entry;
use super::note::{Content, Note};
use super::sessions::{ECHO_LIMIT, Sessions, settle, templates};
use super::view::{Controller, ControllerChanged, Snapshot};
use crate::clock::now_ms;
use crate::events::{CONTROL_CHANGED, SESSION_STATE};
use crate::store::{Replaced, Unavailable};

/// How often a session is read again when other pods change it at the same moment. Each
/// failed attempt means that another pod got through.
const SYNC_ATTEMPTS: usize = 8;

impl Sessions {
    /// [`Self::sync`] in a task of its own, which comes to its end even if the caller goes
    /// away. Returns whether it worked.
    pub(super) async fn sync_in_task(&self, entry: &Arc<Entry>) -> bool {
        let (sessions, entry) = (self.clone(), entry.clone());
        let task = tokio::spawn(async move { sessions.sync(&entry).await.is_ok() });
        task.await.unwrap_or(false)
    }

    /// Reads the session and writes back what the store does not know. Clients of this pod
    /// are told the state again if it is not what they know.
    pub(super) async fn sync(&self, entry: &Entry) -> Result<(), Unavailable> {
        let _turn = entry.turn.lock().await;
        if *entry.ready.borrow() && !entry.is_suspect() {
            return Ok(());
        }
        for _ in 0..SYNC_ATTEMPTS {
            match self.sync_once(entry).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => {
                    entry.replica().abandon_load();
                    entry.set_suspect(true);
                    tracing::debug!(%error, "session not read");
                    return Err(error);
                }
            }
        }
        entry.replica().abandon_load();
        entry.set_suspect(true);
        Err(Unavailable::because(
            "the session changes faster than it can be read",
        ))
    }

    /// One attempt; `false` if it must be repeated at once.
    async fn sync_once(&self, entry: &Entry) -> Result<bool, Unavailable> {
        if !self.0.link.state().is_up() {
            return Err(Unavailable::because("the link to Redis is away"));
        }
        entry.set_suspect(false);
        let reconnects = self.0.link.stats().reconnects;
        let local = entry.replica().begin_load();
        let stored = self.0.store.load(&entry.id).await?;
        entry.set_synced_at(reconnects);
        let merged = local.merged(&stored);
        if merged.same_parts(&stored) && local.revision <= stored.revision {
            if entry.state() != stored {
                // What the store knows more may be on its way to the clients as well.
                self.caught_up().await;
            }
            return Ok(self.adopt(entry, stored));
        }
        let revision = merged.revision.saturating_add(1);
        let next = merged.at_revision(revision);
        let messages = self.recovery_messages(entry, &stored, &next);
        let expectations: Vec<_> = messages.iter().map(Prepared::expect).collect();
        let replaced = self
            .0
            .store
            .replace(&entry.id, stored.revision, &next, &templates(&messages))
            .await;
        let done = replaced == Ok(Replaced::Done);
        settle(expectations, done.then_some(next.revision));
        if !done {
            return replaced.map(|_| false);
        }
        self.0.metrics.count_resync();
        // Its own message tells the clients of this pod, and finishes the load as it does.
        entry.reached(next.revision, ECHO_LIMIT).await;
        let mut replica = entry.replica();
        Ok(!replica.is_loading() || replica.finish_load(next))
    }

    /// Takes over what the store has and tells the clients of this pod if that is not what
    /// they have heard.
    fn adopt(&self, entry: &Entry, stored: SessionState) -> bool {
        let shown = *entry.ready.borrow();
        self.space().conduct(|| {
            let known = entry.state();
            let complete = entry.replica().finish_load(stored);
            let state = entry.state();
            if shown && state != known {
                self.tell(
                    entry,
                    &state,
                    Controller::of(&known) != Controller::of(&state),
                );
            }
            complete
        })
    }

    /// Emits the state to the clients of this pod.
    fn tell(&self, entry: &Entry, state: &SessionState, controller_moved: bool) {
        self.0.metrics.count_resync();
        let mut local = self.space().broadcast().local();
        if let Some(room) = &entry.room {
            local = local.to(room);
        }
        let mut told = local
            .clone()
            .emit(SESSION_STATE, &Snapshot::of(state, now_ms()));
        if controller_moved {
            for event in CONTROL_CHANGED {
                let payload = ControllerChanged::told(state, now_ms());
                told = told.and(local.clone().emit(event, &payload));
            }
        }
        if let Err(error) = told {
            tracing::warn!(%error, "clients could not be told the state of their session");
        }
    }

    /// What everybody hears when this pod brings its changes in.
    fn recovery_messages(
        &self,
        entry: &Entry,
        stored: &SessionState,
        next: &SessionState,
    ) -> Vec<Prepared> {
        let note = Note {
            session: entry.id.clone(),
            content: Content::Full(next.clone()),
        };
        let snapshot = Snapshot::without_revision(next, now_ms());
        let mut messages = self
            .prepare(entry, &[SESSION_STATE], &snapshot, &note)
            .unwrap_or_default();
        if Controller::of(stored) != Controller::of(next) {
            let changed = ControllerChanged {
                revision: None,
                ..ControllerChanged::told(next, now_ms())
            };
            for event in CONTROL_CHANGED {
                let prepared = self.space().prepare(&entry.rooms(), event, &changed, None);
                messages.extend(prepared);
            }
        }
        messages
    }
}
