//! A change of a session, and the condition under which it may happen.

use super::{MAX_REVISION, Part, SessionId, SessionState};

/// Parts to set in one step, if the guard holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which session changes.
    pub session: SessionId,
    /// What must hold at that moment; `None` always holds.
    pub guard: Option<Guard>,
    /// The parts to set, as JSON texts.
    pub set: Vec<(Part, String)>,
    /// Milliseconds since the epoch.
    pub now_ms: u64,
    /// The revision this pod has seen. A store that is behind it has lost data and must
    /// not take the change before it has got the data back.
    pub known_revision: u32,
}

/// A part that must not have changed since it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Which part.
    pub part: Part,
    /// The JSON text it must have; `None` if it must never have been set.
    pub equals: Option<String>,
}

impl Guard {
    /// Guards a part as it is in `state`.
    pub fn unchanged(state: &SessionState, part: Part) -> Self {
        Self {
            part,
            equals: state.json(part).map(str::to_owned),
        }
    }

    /// Whether the guard holds in `state`.
    pub fn holds(&self, state: &SessionState) -> bool {
        state.json(self.part) == self.equals.as_deref()
    }
}

impl Change {
    /// Whether the change may happen in `state`.
    pub fn is_allowed(&self, state: &SessionState) -> bool {
        self.guard.as_ref().is_none_or(|guard| guard.holds(state))
    }

    /// Sets the parts and moves to the next revision, which is returned.
    pub fn apply(&self, state: &mut SessionState) -> u32 {
        for (part, json) in &self.set {
            state.set(*part, json.clone(), self.now_ms);
        }
        // Four billion changes of one session are out of reach; the bound keeps it total.
        state.revision = state.revision.saturating_add(1).min(MAX_REVISION);
        state.revision
    }
}
