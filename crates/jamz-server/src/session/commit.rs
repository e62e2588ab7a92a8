//! The ways in which a session changes.
//!
//! A change is committed to the store, which publishes it in the same step; it takes effect
//! here when its message comes back, in the order everybody hears it. While the store is
//! away a change takes effect on this pod only, and [`super::keeper`] brings the pods
//! together afterwards.

use std::sync::Arc;

use serde::Serialize;
use unisono::{Expectation, Prepared};
use unisono_cluster::classic::Template;

use super::entry::Entry;
use super::note::Note;
use super::sessions::{ECHO_LIMIT, Sessions};
use super::{Change, SessionState};
use crate::metrics::CommitResult;
use crate::store::{Outcome, Unavailable};

/// How often a change is tried when the store has lost data and gets it back meanwhile.
const COMMIT_ATTEMPTS: usize = 3;

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everybody who can be reached hears of it, or has.
    Done {
        /// The new revision. If the store's reply was lost, a revision that has the change.
        revision: u32,
    },
    /// Its guard does not hold in this state.
    Refused(SessionState),
    /// It could not be done; the cause is in the log.
    Failed,
}

/// A payload with its revision, as prepared messages carry it: behind the other fields.
#[derive(Serialize)]
struct Revised<'a, T> {
    #[serde(flatten)]
    payload: &'a T,
    revision: u32,
}

impl Sessions {
    /// Changes a session and tells its room, under each of `events` in turn, with the same
    /// payload and the new revision in it.
    pub async fn change<T: Serialize + Sync>(
        &self,
        entry: &Arc<Entry>,
        mut change: Change,
        events: &[&str],
        payload: &T,
    ) -> Verdict {
        let note = Note::of_change(&change);
        let Some(messages) = self.prepare(entry, events, payload, &note) else {
            return self.counted(CommitResult::Failed, Verdict::Failed);
        };
        for _ in 0..COMMIT_ATTEMPTS {
            if !self.0.link.state().is_up() {
                break;
            }
            if entry.is_suspect() && !self.sync_in_task(entry).await {
                break;
            }
            change.known_revision = entry.replica().state().revision;
            match self.commit(entry, &change, &messages).await {
                Ok(Outcome::Committed { revision }) => {
                    self.note_store(entry, None);
                    return self.counted(CommitResult::Committed, Verdict::Done { revision });
                }
                Ok(Outcome::Refused { current }) => {
                    return self.counted(CommitResult::Refused, Verdict::Refused(current));
                }
                Ok(Outcome::Behind { .. }) => entry.set_suspect(true),
                Err(error) => {
                    self.note_store(entry, Some(&error));
                    tracing::warn!(%error, "change not committed, applying it on this pod only");
                    break;
                }
            }
        }
        entry.set_suspect(true);
        self.change_locally(entry, &change, events, payload).await
    }

    /// One attempt to commit. An error means that nobody on this pod has heard of the change.
    async fn commit(
        &self,
        entry: &Entry,
        change: &Change,
        messages: &[Prepared],
    ) -> Result<Outcome, Unavailable> {
        let templates = templates(messages);
        // Before the commit is sent: the echo may be here before the reply is.
        let expectations: Vec<_> = messages.iter().map(Prepared::expect).collect();
        let outcome = self.0.store.commit(change, &templates).await;
        let committed = match &outcome {
            Ok(Outcome::Committed { revision }) => Some(*revision),
            _ => None,
        };
        let happened = settle(expectations, committed);
        if outcome.is_err()
            && happened
            && entry
                .reached(change.known_revision.saturating_add(1), ECHO_LIMIT)
                .await
        {
            // The reply is lost, the message has come: doing it again would make it two changes.
            let revision = *entry.delivered.borrow();
            return Ok(Outcome::Committed { revision });
        }
        outcome
    }

    /// The change takes effect on this pod only, to be reconciled later.
    async fn change_locally<T: Serialize>(
        &self,
        entry: &Entry,
        change: &Change,
        events: &[&str],
        payload: &T,
    ) -> Verdict {
        let _turn = entry.turn.lock().await;
        // One step in the order of deliveries: a change of another pod that waits in line must
        // not come between the revision that is taken here and its delivery.
        let done = self.space().conduct(|| {
            let revision = entry.replica().change_locally(change)?;
            let payload = Revised { payload, revision };
            for event in events {
                if let Err(error) = self.here(entry).emit(event, &payload) {
                    tracing::warn!(event, %error, "event cannot be sent");
                }
            }
            entry.set_following(None);
            entry.set_delivered(revision);
            Some(revision)
        });
        entry.set_suspect(true);
        match done {
            Some(revision) => self.counted(CommitResult::Local, Verdict::Done { revision }),
            None => self.counted(CommitResult::Refused, Verdict::Refused(entry.state())),
        }
    }

    /// Encodes the same payload under several names; the first message carries the note, the
    /// others that they follow it.
    pub(super) fn prepare<T: Serialize>(
        &self,
        entry: &Entry,
        events: &[&str],
        payload: &T,
        note: &Note,
    ) -> Option<Vec<Prepared>> {
        let first = note.encode();
        let following = note.following(&first).encode();
        let notes = std::iter::once(first).chain(std::iter::repeat(following));
        let rooms = entry.rooms();
        let prepared = events
            .iter()
            .zip(notes)
            .map(|(event, note)| self.space().prepare(&rooms, event, payload, Some(note)))
            .collect::<Result<Vec<_>, _>>();
        prepared
            .inspect_err(|error| tracing::warn!(%error, "change cannot be announced"))
            .ok()
    }

    fn counted(&self, result: CommitResult, verdict: Verdict) -> Verdict {
        self.0.metrics.count_commit(result);
        verdict
    }
}

/// What the store publishes.
pub(super) fn templates(messages: &[Prepared]) -> Vec<Template> {
    messages
        .iter()
        .filter_map(|message| message.template().cloned())
        .collect()
}

/// Tells the library how the step ended whose messages it expects. Returns whether the step
/// happened as far as this pod can know: a step whose reply is lost has, if the first of its
/// messages has come back.
pub(super) fn settle(expectations: Vec<Expectation>, committed: Option<u32>) -> bool {
    let mut expectations = expectations.into_iter();
    if let Some(revision) = committed {
        expectations.for_each(|expectation| expectation.committed(revision));
        return true;
    }
    let Some(first) = expectations.next() else {
        return false;
    };
    if first.cancel() {
        for expectation in expectations {
            // One that comes back at this very moment is told twice, which does no harm.
            expectation.cancel();
        }
        return false;
    }
    // The others are behind it: dropped, they are delivered when they come.
    true
}
