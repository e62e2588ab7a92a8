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
    /// Kept until the running load is done.
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
    loaded_once: bool,
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

    /// Whether it was ever read from the store.
    pub fn is_loaded(&self) -> bool {
        self.loaded_once
    }

    /// Notes that arrive from now on are kept until [`Self::finish_load`].
    pub fn begin_load(&mut self) {
        self.loading = Some(Buffer::default());
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
        self.loaded_once = true;
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
        if let Some(buffer) = &mut self.loading {
            if buffer.notes.len() < MAX_BUFFERED_NOTES {
                buffer.notes.push((revision, content.clone()));
            } else {
                buffer.overflowed = true;
            }
            return Applied::Buffered;
        }
        self.apply(revision, content)
    }

    /// What this pod wrote after its load comes back: from here on its clients know.
    fn finish_load_with(&mut self, revision: u32, full: &SessionState) -> Applied {
        let written = SessionState {
            revision,
            ..full.clone()
        };
        if self.finish_load(written) {
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
        self.state = full.clone();
        self.state.revision = revision;
        self.dirty = false;
        Applied::Changed
    }
}
