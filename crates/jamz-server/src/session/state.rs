//! What is known about a session: a few parts, each with the time it was last set.

use serde::{Deserialize, Serialize};

/// A part of a session's state that changes as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Who is the DJ: a [`super::Controller`].
    Controller,
    /// What plays, and where in the track: a [`super::Playback`].
    Playback,
    /// The tracks to come: a JSON array, kept as it was sent.
    Playlist,
}

impl Part {
    /// Every part, in the order of the variants.
    pub const ALL: [Self; 3] = [Self::Controller, Self::Playback, Self::Playlist];

    /// The field of the stored session that holds this part.
    pub fn name(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Playback => "playback",
            Self::Playlist => "playlist",
        }
    }

    /// The field of the stored session that holds the time this part was set.
    pub fn stamp_name(self) -> &'static str {
        match self {
            Self::Controller => "controller_at",
            Self::Playback => "playback_at",
            Self::Playlist => "playlist_at",
        }
    }
}

/// The greatest revision. A session that has reached it can only be replaced, at this revision;
/// messages carry revisions as four bytes, and the last value is kept for none.
pub const MAX_REVISION: u32 = u32::MAX - 1;

/// The value of a part and when it was set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Register {
    /// Milliseconds since the epoch on the clock of the pod that set it, but always later
    /// than what it replaced. First field: the derived order compares it first.
    pub at: u64,
    /// The value as JSON text.
    pub json: String,
}

/// The state of a session. Revision 0 with no part set is a session nobody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionState {
    /// Grows by one with every committed change.
    pub revision: u32,
    parts: [Option<Register>; Part::ALL.len()],
}

impl SessionState {
    /// Whether nobody has ever changed this session.
    pub fn is_unknown(&self) -> bool {
        self.revision == 0 && self.parts.iter().all(Option::is_none)
    }

    /// The register of a part, if it was ever set.
    pub fn register(&self, part: Part) -> Option<&Register> {
        self.parts[part as usize].as_ref()
    }

    /// The JSON text of a part, if it was ever set.
    pub fn json(&self, part: Part) -> Option<&str> {
        self.register(part).map(|register| register.json.as_str())
    }

    /// When anything was last set; 0 if nothing was.
    pub fn updated_at(&self) -> u64 {
        self.parts.iter().flatten().map(|r| r.at).max().unwrap_or(0)
    }

    /// Puts a register in place as it is, for a state that is read from a store.
    pub fn put(&mut self, part: Part, register: Register) {
        self.parts[part as usize] = Some(register);
    }

    /// Sets a part at `now_ms`, or just after what it replaces if the clock lags.
    pub fn set(&mut self, part: Part, json: String, now_ms: u64) {
        let slot = &mut self.parts[part as usize];
        let at = slot
            .as_ref()
            .map_or(now_ms, |old| now_ms.max(old.at.saturating_add(1)));
        *slot = Some(Register { at, json });
    }

    /// The same parts at another revision.
    #[must_use]
    pub fn at_revision(self, revision: u32) -> Self {
        Self { revision, ..self }
    }

    /// Whether both have the same parts, whatever their revisions.
    pub fn same_parts(&self, other: &Self) -> bool {
        self.parts == other.parts
    }

    /// What two pods agree on after they could not hear each other: of every part the
    /// register that was set last, and of two set in the same millisecond the one with the
    /// greater text. The result does not depend on the order in which states meet.
    /// The revision is the greater one.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let mut merged = self.clone();
        for part in Part::ALL {
            let index = part as usize;
            if other.parts[index] > merged.parts[index] {
                merged.parts[index].clone_from(&other.parts[index]);
            }
        }
        merged.revision = self.revision.max(other.revision);
        merged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(revision: u32, parts: &[(Part, u64, &str)]) -> SessionState {
        let mut state = SessionState {
            revision,
            ..SessionState::default()
        };
        for (part, at, json) in parts {
            let json = (*json).to_owned();
            state.put(*part, Register { at: *at, json });
        }
        state
    }

    #[test]
    fn the_last_change_of_every_part_wins_in_any_order() {
        let a = state(
            4,
            &[(Part::Controller, 10, "a"), (Part::Playlist, 5, "[1]")],
        );
        let b = state(
            7,
            &[(Part::Controller, 11, "b"), (Part::Playlist, 4, "[2]")],
        );
        let c = state(2, &[(Part::Controller, 11, "c"), (Part::Playback, 1, "{}")]);
        let expected = state(
            7,
            &[
                (Part::Controller, 11, "c"),
                (Part::Playback, 1, "{}"),
                (Part::Playlist, 5, "[1]"),
            ],
        );
        for (x, y, z) in [(&a, &b, &c), (&b, &c, &a), (&c, &a, &b), (&c, &b, &a)] {
            assert_eq!(x.merged(y).merged(z), expected);
            assert_eq!(x.merged(&y.merged(z)), expected);
        }
        assert_eq!(expected.merged(&expected), expected);
    }

    #[test]
    fn a_lagging_clock_cannot_make_a_change_older_than_what_it_replaced() {
        let mut state = state(1, &[(Part::Controller, 100, "a")]);
        state.set(Part::Controller, "b".to_owned(), 40);
        assert_eq!(state.register(Part::Controller).map(|r| r.at), Some(101));
        assert_eq!(state.updated_at(), 101);
    }

    #[test]
    fn nobody_knows_an_empty_session() {
        assert!(SessionState::default().is_unknown());
        assert!(!state(1, &[]).is_unknown());
        assert!(!state(0, &[(Part::Playback, 1, "{}")]).is_unknown());
    }
}
