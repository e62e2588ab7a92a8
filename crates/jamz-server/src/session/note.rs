//! What one pod tells the replicas of the others along with a broadcast.
//!
//! A note rides in the part of a bus message that Node.js pods ignore, as compact JSON:
//! `{"s":"<session id>","c":{"t":<ms>,"p":[["controller","<json>"]]}}` for a change,
//! `{"s":…,"r":{"v":true}}` for a replaced state, `{"s":…,"f":<number>}` on a further message of
//! the same step, `{"b":<number>}` for a buoy. Without `s` it speaks of the default session.
//! The revision comes beside the note, because only the store knows it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Change, Part, SessionId};

/// What happened to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Which session.
    pub session: SessionId,
    /// What happened.
    pub content: Content,
}

/// What happened to a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Parts were set. Applying it to the state before gives the state that is stored.
    #[serde(rename = "c")]
    Changed {
        /// Milliseconds since the epoch.
        #[serde(rename = "t")]
        now_ms: u64,
        /// The parts and their JSON texts.
        #[serde(rename = "p")]
        set: Vec<(Part, String)>,
    },
    /// A pod has brought in what changed during an outage: read the session again. The state
    /// itself is not told, because a playlist may have megabytes and goes to clients already.
    #[serde(rename = "r")]
    Replaced {
        /// Whether the message that carries the note shows clients the whole state.
        #[serde(rename = "v")]
        shown: bool,
    },
    /// Nothing new: the message belongs to the one before it whose note has this [`Note::tag`],
    /// and clients hear either both or neither.
    #[serde(rename = "f")]
    Follows(u64),
    /// Nothing: a pod sends it to itself to see when everything that was published before
    /// has been delivered to its clients.
    #[serde(rename = "b")]
    Buoy(u64),
}

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(flatten)]
    content: Content,
}

impl Note {
    /// The note of a change.
    pub fn of_change(change: &Change) -> Self {
        Self {
            session: change.session.clone(),
            content: Content::Changed {
                now_ms: change.now_ms,
                set: change.set.clone(),
            },
        }
    }

    /// The note of the further messages of a step whose first carries `first`.
    pub fn following(&self, first: &[u8]) -> Self {
        Self {
            session: self.session.clone(),
            content: Content::Follows(Self::tag(first)),
        }
    }

    /// By which the further messages of a step name its encoded first note: FNV-1a of the
    /// bytes. Together with the revision it tells apart all that pods can meet at once.
    pub fn tag(encoded: &[u8]) -> u64 {
        encoded.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// The note as bytes.
    pub fn encode(&self) -> Bytes {
        let wire = Wire {
            session: self.session.as_deref().map(str::to_owned),
            content: self.content.clone(),
        };
        let json = serde_json::to_vec(&wire).expect("texts and integers always serialise");
        Bytes::from(json)
    }

    /// Reads a note; `None` if the bytes are not one, which a newer pod may well send.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let wire: Wire = serde_json::from_slice(bytes).ok()?;
        let session = match wire.session {
            None => SessionId::Default,
            Some(id) => SessionId::named(id).ok()?,
        };
        Some(Self {
            session,
            content: wire.content,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_survive_the_way_and_foreign_bytes_are_refused() {
        let change = Change {
            session: SessionId::Named("s1".to_owned()),
            guard: None,
            set: vec![(Part::Controller, r#"{"id":"u"}"#.to_owned())],
            now_ms: 5,
            known_revision: 0,
        };
        let replaced = Note {
            session: SessionId::Default,
            content: Content::Replaced { shown: false },
        };
        let first = Note::of_change(&change);
        let second = first.following(&first.encode());
        for note in [first, second, replaced] {
            let bytes = note.encode();
            assert_eq!(Note::decode(&bytes), Some(note));
            for end in 0..bytes.len() {
                assert_eq!(Note::decode(&bytes[..end]), None);
            }
        }
        assert_eq!(Note::decode(br#"{"s":"","r":{"v":true}}"#), None);
        assert_eq!(Note::decode(br#"{"s":"a","x":1}"#), None);
    }
}
