//! Bringing the copy of a session and the store together.
//!
//! Used for the first read of a session, when a note or the numbers of other pods' messages
//! show that something was missed, and after the link was away. Whatever the order in which pods do this, all of them end with
//! the same state: of every part the change that came last.

use std::sync::Arc;
use std::time::Duration;

use unisono::Prepared;

use super::commit::{settle, templates};
use super::entry::Entry;
use super::note::{Content, Note};
use super::sessions::{ECHO_LIMIT, Sessions};
use super::view::{Controller, ControllerChanged, Snapshot};
use super::{MAX_REVISION, SessionState};
use crate::clock::now_ms;
use crate::events::{CONTROL_CHANGED, SESSION_STATE};
use crate::store::{Replaced, Unavailable};

/// How often a session is read again when other pods change it at the same moment. Each
/// failed attempt means that another pod got through.
const SYNC_ATTEMPTS: usize = 8;

/// How long a newcomer waits for a state that others were shown already. A read takes milliseconds.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(1);

impl Sessions {
    /// [`Self::sync`] in a task of its own, which comes to its end even if the caller goes
    /// away. Returns whether it worked.
    pub(super) async fn sync_in_task(&self, entry: &Arc<Entry>) -> bool {
        let (sessions, entry) = (self.clone(), entry.clone());
        let task = tokio::spawn(async move { sessions.sync(&entry).await.is_ok() });
        task.await.unwrap_or(false)
    }

    /// Waits until this pod's copy is what clients here were shown, for a moment at most: whoever joins is to see what the others see.
    pub async fn catch_up(&self, entry: &Arc<Entry>) {
        if entry.is_outrun() {
            // Not in time: [`Self::join`] sees to it that whoever joins is told later.
            let _ = tokio::time::timeout(CATCH_UP_LIMIT, self.sync_in_task(entry)).await;
        }
    }

    /// Reads the session and writes back what the store does not know. Clients of this pod
    /// are told the state again if it is not what they know.
    pub(super) async fn sync(&self, entry: &Entry) -> Result<(), Unavailable> {
        let _turn = entry.turn.lock().await;
        if *entry.ready.borrow() && !entry.is_suspect() {
            return Ok(());
        }
        let synced = self.sync_until_whole(entry).await;
        match &synced {
            Ok(()) => {
                entry.end_retries();
                self.note_store(entry, None);
            }
            Err(error) => {
                entry.replica().abandon_load();
                entry.set_suspect(true);
                if self.0.link.state().is_up() {
                    entry.put_off(self.0.link.stats().reconnects);
                }
                self.note_store(entry, Some(error));
                tracing::debug!(%error, "session not read");
            }
        }
        synced
    }

    async fn sync_until_whole(&self, entry: &Entry) -> Result<(), Unavailable> {
        for _ in 0..SYNC_ATTEMPTS {
            if self.sync_once(entry).await? {
                return Ok(());
            }
        }
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
        let interruptions = self.interruptions();
        let local = entry.replica().begin_load();
        let stored = self.0.store.load(&entry.id).await?;
        entry.set_synced_at(interruptions);
        let merged = local.merged(&stored);
        if merged.same_parts(&stored) && local.revision <= stored.revision {
            if entry.state() != stored {
                // What the store knows more may be on its way to the clients as well.
                self.caught_up().await;
            }
            return Ok(self.adopt(entry, stored));
        }
        let revision = merged.revision.saturating_add(1).min(MAX_REVISION);
        let next = merged.at_revision(revision);
        self.replace(entry, &local, &stored, next).await
    }

    /// Writes what this pod knows over `stored`; `false` if that has changed meanwhile.
    async fn replace(
        &self,
        entry: &Entry,
        local: &SessionState,
        stored: &SessionState,
        next: SessionState,
    ) -> Result<bool, Unavailable> {
        let controller = Controller::of(&next);
        let moved = [local, stored]
            .iter()
            .any(|state| Controller::of(state) != controller);
        let recovery = self.recovery(entry, &next, moved);
        entry.replica().begin_replace(next.clone());
        let expectations: Vec<_> = recovery.messages.iter().map(Prepared::expect).collect();
        let templates = templates(&recovery.messages);
        let store = &self.0.store;
        let replaced = store
            .replace(&entry.id, stored.revision, &next, &templates)
            .await;
        let done = replaced == Ok(Replaced::Done);
        if !settle(expectations, done.then_some(next.revision)) && !done {
            return replaced.map(|_| false);
        }
        if recovery.messages.is_empty() {
            return Ok(self.adopt(entry, next));
        }
        // Its own message tells the clients of this pod, and finishes the load as it does.
        entry.reached(next.revision, ECHO_LIMIT).await;
        if !done && entry.replica().is_loading() {
            // The reply is lost, and so is what seemed to have come back.
            return replaced.map(|_| false);
        }
        let complete = {
            let mut replica = entry.replica();
            !replica.is_loading() || replica.finish_load(next)
        };
        if recovery.shows_state {
            self.0.metrics.count_resync();
        }
        self.space().conduct(|| {
            let untold = entry.replica().take_untold();
            if untold || !recovery.shows_state {
                self.tell(entry, &entry.state(), untold);
            }
        });
        Ok(complete)
    }

    /// Takes over what the store has and tells the clients of this pod if that is not what
    /// they have heard.
    fn adopt(&self, entry: &Entry, stored: SessionState) -> bool {
        let shown = *entry.ready.borrow();
        self.space().conduct(|| {
            let known = entry.state();
            let complete = entry.replica().finish_load(stored);
            let state = entry.state();
            if !complete && entry.is_outrun() {
                // Clients were shown a newer state while this one was read. It is read next.
                return complete;
            }
            let moved = Controller::of(&known) != Controller::of(&state);
            // The pod that wrote it may have shown it to our clients as well.
            let told = entry.shown() == state.revision && !moved;
            let untold = entry.replica().take_untold();
            if untold || (shown && state != known && !told) {
                self.tell(entry, &state, moved || untold);
            }
            complete
        })
    }

    /// Emits the state to the clients of this pod.
    fn tell(&self, entry: &Entry, state: &SessionState, controller_moved: bool) {
        self.0.metrics.count_resync();
        entry.set_following(None);
        entry.set_delivered(state.revision);
        let local = self.here(entry);
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
    fn recovery(&self, entry: &Entry, next: &SessionState, controller_moved: bool) -> Recovery {
        let note = |shown| Note {
            session: entry.id.clone(),
            content: Content::Replaced { shown },
        };
        let changed = ControllerChanged {
            revision: None,
            ..ControllerChanged::told(next, now_ms())
        };
        let snapshot = Snapshot::without_revision(next, now_ms());
        let Some(mut messages) = self.prepare(entry, &[SESSION_STATE], &snapshot, &note(true))
        else {
            // The state is too large or too deep for the bus. Who is the DJ always fits; the
            // note has the other pods read the rest.
            let messages = self.prepare(entry, &CONTROL_CHANGED, &changed, &note(false));
            return Recovery {
                messages: messages.unwrap_or_default(),
                shows_state: false,
            };
        };
        if controller_moved {
            let first = note(true);
            let following = first.following(&first.encode()).encode();
            for event in CONTROL_CHANGED {
                let note = Some(following.clone());
                let prepared = self.space().prepare(&entry.rooms(), event, &changed, note);
                messages.extend(prepared);
            }
        }
        Recovery {
            messages,
            shows_state: true,
        }
    }
}

/// What is published when a pod brings its changes in.
struct Recovery {
    /// The first carries the note. Empty if nothing could be encoded: then clients of this
    /// pod are told by it alone, and other pods find out with the next change.
    messages: Vec<Prepared>,
    /// Whether the first shows the whole state.
    shows_state: bool,
}
