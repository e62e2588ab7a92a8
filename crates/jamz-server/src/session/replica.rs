//! This pod's copy of one session, kept current by notes in delivery order.
//!
//! Sans-IO: whoever holds the replica loads, commits and emits; the replica only decides
//! what a note, a load or a local change means for the copy.

use super::note::Content;
use super::{Change, SessionState};

/// Most notes kept while the session is being read from the store. A read takes
/// milliseconds; when more than this arrive meanwhile, it is read again.
pub const MAX_BUFFERED_NOTES: usize = 256;

/// What a note meant for the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The state moved on.
    Changed,
    /// Looked at again when the running load is done.
    Buffered,
    /// Already known.
    Stale,
    /// Something before it was missed, or the replica holds changes the store has not:
    /// the session must be read again.
    OutOfStep,
}

/// The copy of one session.
#[derive(Debug, Default)]
pub struct Replica {
    state: SessionState,
    /// Holds changes that the store has not seen.
    dirty: bool,
    /// A change that is being delivered to the clients of this pod only.
    local: Option<Change>,
    loading: Option<Buffer>,
}

#[derive(Debug, Default)]
struct Buffer {
    notes: Vec<(u32, Content)>,
    overflowed: bool,
}

impl Replica {
    /// The state as clients of this pod know it.
    pub fn state(&self) -> &SessionState {
        &self.state
    }

    /// Whether it holds changes that the store has not seen.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Notes that arrive from now on are kept until [`Self::finish_load`]. Returns the state
    /// before the load: except for changes of this pod alone, the store knew it before it is
    /// asked.
    pub fn begin_load(&mut self) -> SessionState {
        self.loading = Some(Buffer::default());
        self.state.clone()
    }

    /// The load failed; the replica stays as it was.
    pub fn abandon_load(&mut self) {
        self.loading = None;
    }

    /// Takes over the state that was read and what arrived meanwhile. Returns whether the
    /// result is complete; if not, the session must be read again.
    pub fn finish_load(&mut self, loaded: SessionState) -> bool {
        let buffer = self.loading.take().unwrap_or_default();
        self.state = loaded;
        self.dirty = false;
        let mut complete = !buffer.overflowed;
        for (revision, content) in &buffer.notes {
            complete &= self.apply(*revision, content) != Applied::OutOfStep;
        }
        complete
    }

    /// What a note of the bus, or of this pod itself, means.
    pub fn note(&mut self, revision: u32, content: &Content, from_self: bool) -> Applied {
        if from_self && self.finish_local(revision) {
            return Applied::Changed;
        }
        if let (true, Some(_), Content::Full(full)) = (from_self, &self.loading, content) {
            return self.finish_load_with(revision, full);
        }
        // During a load as well: clients hear of it now, and newcomers must see what they know.
        let applied = self.apply(revision, content);
        let Some(buffer) = &mut self.loading else {
            return applied;
        };
        if buffer.notes.len() < MAX_BUFFERED_NOTES {
            buffer.notes.push((revision, content.clone()));
        } else {
            buffer.overflowed = true;
        }
        Applied::Buffered
    }

    /// What this pod wrote after its load comes back: from here on its clients know.
    fn finish_load_with(&mut self, revision: u32, full: &SessionState) -> Applied {
        if self.finish_load(full.clone().at_revision(revision)) {
            Applied::Changed
        } else {
            Applied::OutOfStep
        }
    }

    /// Whether a load is running.
    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// Announces a change that only the clients of this pod will hear of. Returns the
    /// revision under which it must now be delivered, or `None` if its guard fails.
    pub fn begin_local(&mut self, change: &Change) -> Option<u32> {
        if !change.is_allowed(&self.state) {
            return None;
        }
        self.local = Some(change.clone());
        Some(self.state.revision.saturating_add(1))
    }

    /// The change announced before has reached the clients as `revision`. Returns whether
    /// there was one; harmless if the note of the delivery came first.
    pub fn finish_local(&mut self, revision: u32) -> bool {
        if self.state.revision.saturating_add(1) != revision {
            return false;
        }
        let Some(change) = self.local.take() else {
            return false;
        };
        change.apply(&mut self.state);
        self.dirty = true;
        true
    }

    fn apply(&mut self, revision: u32, content: &Content) -> Applied {
        match content {
            Content::Buoy(_) => Applied::Stale,
            Content::Full(full) => self.apply_full(revision, full),
            Content::Changed { .. } if self.dirty => Applied::OutOfStep,
            Content::Changed { now_ms, set } => {
                if revision <= self.state.revision {
                    return Applied::Stale;
                }
                if revision != self.state.revision.saturating_add(1) {
                    return Applied::OutOfStep;
                }
                for (part, json) in set {
                    self.state.set(*part, json.clone(), *now_ms);
                }
                self.state.revision = revision;
                Applied::Changed
            }
        }
    }

    fn apply_full(&mut self, revision: u32, full: &SessionState) -> Applied {
        if revision <= self.state.revision {
            return if self.dirty || !self.state.same_parts(full) {
                Applied::OutOfStep
            } else {
                Applied::Stale
            };
        }
        if self.dirty && !self.state.merged(full).same_parts(full) {
            return Applied::OutOfStep;
        }
        self.state = full.clone().at_revision(revision);
        self.dirty = false;
        Applied::Changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Guard, Part, Register, SessionId};

    fn state(revision: u32, at: u64, json: &str) -> SessionState {
        let mut state = SessionState::default().at_revision(revision);
        let json = json.to_owned();
        state.put(Part::Controller, Register { at, json });
        state
    }

    fn set(now_ms: u64, json: &str) -> Content {
        Content::Changed {
            now_ms,
            set: vec![(Part::Controller, json.to_owned())],
        }
    }

    fn change(now_ms: u64, json: &str) -> Change {
        Change {
            session: SessionId::Default,
            guard: None,
            set: vec![(Part::Controller, json.to_owned())],
            now_ms,
            known_revision: 0,
        }
    }

    /// A replica that was read at revision 5.
    fn replica() -> Replica {
        let mut replica = Replica::default();
        replica.begin_load();
        assert!(replica.finish_load(state(5, 10, "a")));
        replica
    }

    #[test]
    fn notes_on_a_replica_that_is_current() {
        let check = |revision: u32, content: Content, applied: Applied, after: SessionState| {
            let mut replica = replica();
            assert_eq!(replica.note(revision, &content, false), applied);
            assert_eq!(replica.state(), &after);
        };
        check(6, set(11, "b"), Applied::Changed, state(6, 11, "b"));
        check(6, set(3, "b"), Applied::Changed, state(6, 11, "b"));
        check(5, set(11, "b"), Applied::Stale, state(5, 10, "a"));
        check(7, set(11, "b"), Applied::OutOfStep, state(5, 10, "a"));
        let full = |at, json| Content::Full(state(1, at, json));
        check(9, full(20, "b"), Applied::Changed, state(9, 20, "b"));
        check(5, full(10, "a"), Applied::Stale, state(5, 10, "a"));
        check(4, full(20, "b"), Applied::OutOfStep, state(5, 10, "a"));
    }

    #[test]
    fn notes_that_come_during_a_load_are_applied_after_it() {
        let check = |notes: &[u32], complete: bool, revision: u32| {
            let mut replica = replica();
            replica.begin_load();
            for revision in notes {
                let note = replica.note(*revision, &set(20, "n"), false);
                assert_eq!(note, Applied::Buffered);
            }
            assert_eq!(replica.finish_load(state(8, 12, "l")), complete);
            assert_eq!(replica.state().revision, revision);
        };
        let mut shown = replica();
        shown.begin_load();
        shown.note(6, &set(20, "n"), false);
        assert_eq!(
            shown.state(),
            &state(6, 20, "n"),
            "newcomers see what clients know"
        );
        check(&[], true, 8);
        check(&[6, 7, 8], true, 8);
        check(&[7, 8, 9, 10], true, 10);
        check(&[9, 11], false, 9);
    }

    #[test]
    fn more_notes_than_are_kept_mean_another_load() {
        let mut replica = replica();
        replica.begin_load();
        for revision in 6..8 + MAX_BUFFERED_NOTES as u32 {
            replica.note(revision, &set(20, "n"), false);
        }
        assert!(!replica.finish_load(state(5, 10, "a")));
    }

    #[test]
    fn a_local_change_makes_the_replica_dirty_until_its_state_is_stored() {
        let mut replica = replica();
        let revision = replica.begin_local(&change(30, "mine")).unwrap();
        assert_eq!(
            replica.state(),
            &state(5, 10, "a"),
            "not before clients hear of it"
        );
        assert_eq!(
            replica.note(revision, &set(30, "mine"), true),
            Applied::Changed
        );
        assert_eq!(replica.state(), &state(6, 30, "mine"));
        assert!(replica.is_dirty());
        assert!(!replica.finish_local(revision), "it is done once");

        assert_eq!(
            replica.note(7, &set(31, "theirs"), false),
            Applied::OutOfStep
        );
        let theirs = Content::Full(state(0, 20, "theirs"));
        assert_eq!(replica.note(9, &theirs, false), Applied::OutOfStep);
        assert!(replica.is_dirty());

        replica.begin_load();
        let written = Content::Full(state(0, 30, "mine"));
        assert_eq!(replica.note(10, &written, true), Applied::Changed);
        assert!(!replica.is_dirty() && !replica.is_loading());
        assert_eq!(replica.state(), &state(10, 30, "mine"));
    }

    #[test]
    fn a_later_change_of_another_pod_replaces_a_local_one() {
        let mut replica = replica();
        let revision = replica.begin_local(&change(30, "mine")).unwrap();
        replica.finish_local(revision);
        let theirs = Content::Full(state(0, 40, "theirs"));
        assert_eq!(replica.note(12, &theirs, false), Applied::Changed);
        assert_eq!(replica.state(), &state(12, 40, "theirs"));
        assert!(!replica.is_dirty());
    }

    #[test]
    fn a_local_change_whose_guard_fails_is_not_begun() {
        let mut replica = replica();
        let mut change = change(30, "mine");
        change.guard = Some(Guard {
            part: Part::Controller,
            equals: Some("b".to_owned()),
        });
        assert_eq!(replica.begin_local(&change), None);
    }
}
