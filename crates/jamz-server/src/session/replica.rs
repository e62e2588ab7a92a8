//! This pod's copy of one session, kept current by notes in delivery order.
//!
//! Sans-IO: whoever holds the replica loads, commits and emits; the replica only decides
//! what a note, a load or a local change means for the copy.

use super::note::Content;
use super::{Change, MAX_REVISION, Part, SessionState};

/// Most notes kept while the session is being read from the store. A read takes
/// milliseconds; when more than this arrive meanwhile, it is read again.
pub const MAX_BUFFERED_NOTES: usize = 256;

/// How far ahead of the replica a note may be: a pod that was away for years of changes still
/// follows, while one garbled or forged revision cannot put a session out of reach.
pub const MAX_LEAP: u32 = 1 << 31;

/// What a note means for the replica and for the message that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// For the replica.
    pub applied: Applied,
    /// Whether clients of this pod may hear the message. They must not hear what is older than
    /// what they know, nor what has a gap before it.
    pub deliver: bool,
}

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
    /// Its revision cannot be: it is ignored.
    Implausible,
}

/// The copy of one session.
#[derive(Debug, Default)]
pub struct Replica {
    state: SessionState,
    /// Holds changes that the store has not seen.
    dirty: bool,
    /// What clients heard may not be the state: they must be told all of it.
    untold: bool,
    loading: Option<Buffer>,
}

#[derive(Debug, Default)]
struct Buffer {
    notes: Vec<(u32, Content)>,
    overflowed: bool,
    /// A note spoke of another past: the store may have lost data since it was read.
    contradicted: bool,
    /// What this pod is writing to the store after its load.
    replacing: Option<SessionState>,
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
        // What was published before the load is in it.
        let known = loaded.revision;
        self.state = loaded;
        self.dirty = false;
        let mut complete = !buffer.overflowed && !buffer.contradicted;
        for (revision, content) in buffer.notes.iter().filter(|(at, _)| *at > known) {
            complete &= self.apply(*revision, content).applied != Applied::OutOfStep;
        }
        complete
    }

    /// This pod writes `next` to the store. Its own note of that finishes the load, at the
    /// moment its clients hear of it.
    pub fn begin_replace(&mut self, next: SessionState) {
        if let Some(buffer) = &mut self.loading {
            buffer.replacing = Some(next);
        }
    }

    /// What a note of the bus, or of this pod itself, means.
    pub fn note(&mut self, revision: u32, content: &Content, from_self: bool) -> Noted {
        let leap = revision.saturating_sub(self.state.revision);
        if revision > MAX_REVISION || leap > MAX_LEAP {
            return Applied::Implausible.dropped();
        }
        if from_self
            && matches!(content, Content::Replaced { .. })
            && let Some(next) = self.replacing(revision)
        {
            return if self.finish_load(next) {
                Applied::Changed.delivered()
            } else {
                Applied::OutOfStep.delivered()
            };
        }
        let is_past = revision <= self.state.revision;
        // During a load as well: clients hear of it now, and newcomers must see what they know.
        let noted = self.apply(revision, content);
        let Some(buffer) = &mut self.loading else {
            return noted;
        };
        buffer.contradicted |= is_past && noted.applied == Applied::OutOfStep;
        if buffer.notes.len() < MAX_BUFFERED_NOTES {
            buffer.notes.push((revision, content.clone()));
        } else {
            buffer.overflowed = true;
        }
        Noted {
            applied: Applied::Buffered,
            ..noted
        }
    }

    /// What this pod wrote after its load, if it wrote this revision.
    fn replacing(&mut self, revision: u32) -> Option<SessionState> {
        let replacing = &mut self.loading.as_mut()?.replacing;
        replacing.take_if(|next| next.revision == revision)
    }

    /// Whether clients must be told the whole state because they may have heard something
    /// else; asking takes it for done.
    pub fn take_untold(&mut self) -> bool {
        std::mem::take(&mut self.untold)
    }

    /// Somebody was shown this state although others know a newer one.
    pub fn set_untold(&mut self) {
        self.untold = true;
    }

    /// Whether a load is running.
    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// Makes a change that only the clients of this pod hear of. Returns the revision under
    /// which they must hear of it before anything else is delivered, or `None` if its guard
    /// fails.
    pub fn change_locally(&mut self, change: &Change) -> Option<u32> {
        if !change.is_allowed(&self.state) {
            return None;
        }
        self.dirty = true;
        Some(change.apply(&mut self.state))
    }

    fn apply(&mut self, revision: u32, content: &Content) -> Noted {
        let known = self.state.revision;
        match content {
            Content::Buoy(_) | Content::Follows(_) => Applied::Stale.delivered(),
            Content::Replaced { .. } if revision > known => Applied::OutOfStep.delivered(),
            Content::Changed { .. } if self.dirty && revision > known => {
                self.untold = true;
                Applied::OutOfStep.delivered()
            }
            Content::Changed { now_ms, set } if revision <= known && !self.dirty => {
                if self.has(set, *now_ms) {
                    return Applied::Stale.dropped();
                }
                // Late, or the store has lost data and counts anew: reading it tells.
                Applied::OutOfStep.dropped()
            }
            Content::Changed { now_ms, set } if revision == known.saturating_add(1) => {
                for (part, json) in set {
                    self.state.set(*part, json.clone(), *now_ms);
                }
                self.state.revision = revision;
                Applied::Changed.delivered()
            }
            Content::Changed { .. } | Content::Replaced { .. } => {
                self.untold = true;
                Applied::OutOfStep.dropped()
            }
        }
    }

    /// Whether the state has these parts as a change at `now_ms` sets them.
    fn has(&self, set: &[(Part, String)], now_ms: u64) -> bool {
        set.iter().all(|(part, json)| {
            let register = self.state.register(*part);
            register.is_some_and(|register| register.json == *json && register.at >= now_ms)
        })
    }
}

impl Applied {
    fn delivered(self) -> Noted {
        Noted {
            applied: self,
            deliver: true,
        }
    }

    fn dropped(self) -> Noted {
        Noted {
            applied: self,
            deliver: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Guard, Part, Register, SessionId};

    const REPLACED: Content = Content::Replaced { shown: true };

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
        let check = |revision: u32, content: Content, noted: Noted, after: SessionState| {
            let mut replica = replica();
            assert_eq!(replica.note(revision, &content, false), noted);
            assert_eq!(replica.state(), &after);
        };
        let before = || state(5, 10, "a");
        check(
            6,
            set(11, "b"),
            Applied::Changed.delivered(),
            state(6, 11, "b"),
        );
        check(
            6,
            set(3, "b"),
            Applied::Changed.delivered(),
            state(6, 11, "b"),
        );
        check(5, set(10, "a"), Applied::Stale.dropped(), before());
        check(2, set(9, "a"), Applied::Stale.dropped(), before());
        for (revision, content) in [
            (5, set(11, "b")),
            (1, set(11, "b")),
            (1, set(11, "a")),
            (7, set(11, "b")),
            (4, REPLACED),
            (5, REPLACED),
        ] {
            check(revision, content, Applied::OutOfStep.dropped(), before());
        }
        for revision in [6, 9, 5 + MAX_LEAP] {
            check(revision, REPLACED, Applied::OutOfStep.delivered(), before());
        }
        for revision in [6 + MAX_LEAP, MAX_REVISION, u32::MAX] {
            for content in [REPLACED, set(11, "b")] {
                check(revision, content, Applied::Implausible.dropped(), before());
            }
        }
    }

    #[test]
    fn clients_are_told_all_after_a_gap() {
        let check = |revision: u32, content: Content, untold: bool| {
            let mut replica = replica();
            replica.note(revision, &content, false);
            assert_eq!(replica.take_untold(), untold, "{revision} {content:?}");
            assert!(!replica.take_untold());
        };
        check(6, set(11, "b"), false);
        check(5, set(11, "b"), false);
        check(7, set(11, "b"), true);
        check(5, REPLACED, true);
        check(6, REPLACED, false);
    }

    #[test]
    fn a_contradiction_during_a_load_means_another_load() {
        let mut replica = replica();
        replica.begin_load();
        let noted = replica.note(1, &set(20, "n"), false);
        assert_eq!((noted.applied, noted.deliver), (Applied::Buffered, false));
        assert!(!replica.finish_load(state(5, 10, "a")));
    }

    #[test]
    fn notes_that_come_during_a_load_are_applied_after_it() {
        let check = |notes: &[u32], complete: bool, revision: u32| {
            let mut replica = replica();
            replica.begin_load();
            for revision in notes {
                let note = replica.note(*revision, &set(20, "n"), false);
                assert_eq!(note.applied, Applied::Buffered);
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
    fn a_replacement_by_another_pod_is_in_a_later_load_only() {
        let check = |revision: u32, complete: bool| {
            let mut replica = replica();
            replica.begin_load();
            assert_eq!(
                replica.note(revision, &REPLACED, false).applied,
                Applied::Buffered
            );
            assert_eq!(replica.finish_load(state(8, 12, "l")), complete);
        };
        check(7, true);
        check(8, true);
        check(9, false);
    }

    #[test]
    fn a_local_change_makes_the_replica_dirty_until_its_state_is_stored() {
        let mut replica = replica();
        assert_eq!(replica.change_locally(&change(30, "mine")), Some(6));
        assert_eq!(replica.state(), &state(6, 30, "mine"));
        assert!(replica.is_dirty());
        assert_eq!(
            replica.note(7, &set(31, "theirs"), false).applied,
            Applied::OutOfStep
        );
        assert_eq!(
            replica.note(9, &REPLACED, false).applied,
            Applied::OutOfStep
        );
        assert!(replica.is_dirty());

        replica.begin_load();
        replica.begin_replace(state(10, 30, "mine"));
        assert_eq!(
            replica.note(9, &REPLACED, true).applied,
            Applied::Buffered,
            "of an attempt before"
        );
        assert_eq!(replica.note(10, &REPLACED, true).applied, Applied::Changed);
        assert!(!replica.is_dirty() && !replica.is_loading());
        assert_eq!(replica.state(), &state(10, 30, "mine"));
    }

    #[test]
    fn a_local_change_does_not_overwrite_a_later_commit() {
        let mut replica = replica();
        assert_eq!(replica.change_locally(&change(30, "local")), Some(6));
        // What another pod committed as the same revision stood behind it in the line; then a
        // commit of this pod comes back.
        assert_eq!(
            replica.note(6, &set(31, "theirs"), false).applied,
            Applied::OutOfStep
        );
        assert_eq!(
            replica.note(7, &set(32, "ours"), true).applied,
            Applied::OutOfStep
        );
        assert_eq!(replica.state(), &state(6, 30, "local"));
        assert!(replica.is_dirty(), "the local change is still to be merged");
        replica.begin_load();
        assert!(replica.finish_load(state(7, 32, "ours")));
        assert_eq!(
            replica.note(8, &set(33, "next"), true).applied,
            Applied::Changed
        );
        assert_eq!(replica.state(), &state(8, 33, "next"));
    }

    #[test]
    fn a_local_change_whose_guard_fails_is_not_made() {
        let mut replica = replica();
        let mut change = change(30, "mine");
        change.guard = Some(Guard {
            part: Part::Controller,
            equals: Some("b".to_owned()),
        });
        assert_eq!(replica.change_locally(&change), None);
        assert_eq!(replica.state(), &state(5, 10, "a"));
        assert!(!replica.is_dirty());
    }
}
