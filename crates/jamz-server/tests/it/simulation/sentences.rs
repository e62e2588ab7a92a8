//! What must be true in the end.

use std::fmt;

use jamz_server::session::{Controller, SessionState};

use super::client::Shown;

/// What there is in the end.
pub(super) struct Ended {
    pub(super) stored: SessionState,
    /// The copy of each pod.
    pub(super) pods: Vec<SessionState>,
    pub(super) clients: Vec<Client>,
}

/// A client in the session.
pub(super) struct Client {
    pub(super) user: String,
    pub(super) pod: usize,
    pub(super) shown: Vec<Shown>,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on pod {} was shown", self.user, self.pod)?;
        let mut shown = self.shown.iter();
        shown.try_for_each(
            |Shown {
                 event,
                 revision,
                 dj,
             }| writeln!(f, "  {event} {revision} {dj:?}"),
        )
    }
}

pub(super) struct Sentence {
    pub(super) text: &'static str,
    /// It speaks of scripts without faults alone.
    pub(super) wants_peace: bool,
    /// What is not so.
    pub(super) check: fn(&Ended) -> Result<(), String>,
}

pub(super) const SENTENCES: &[Sentence] = &[
    Sentence {
        text: "Once links are whole every pod holds what is stored.",
        wants_peace: false,
        check: pods_hold_what_is_stored,
    },
    Sentence {
        text: "Once links are whole every client was last shown what is stored.",
        wants_peace: false,
        check: clients_were_last_shown_what_is_stored,
    },
    Sentence {
        text: "While links are whole whoever has joined is shown every later revision, in order.",
        wants_peace: true,
        check: nothing_is_left_out,
    },
];

fn pods_hold_what_is_stored(ended: &Ended) -> Result<(), String> {
    for (pod, state) in ended.pods.iter().enumerate() {
        require(*state == ended.stored, || {
            format!("pod {pod} holds {state:?}, stored is {:?}", ended.stored)
        })?;
    }
    Ok(())
}

fn clients_were_last_shown_what_is_stored(ended: &Ended) -> Result<(), String> {
    let dj = Controller::of(&ended.stored).id;
    let revision = u64::from(ended.stored.revision);
    let expected = (revision, dj);
    for client in &ended.clients {
        let last = client.shown.last();
        // Of a session that nobody knows nothing is shown, unless somebody asks.
        let last = last.map_or((0, None), |last| (last.revision, last.dj.clone()));
        require(last == expected, || {
            format!("stored is {expected:?}; {client}")
        })?;
    }
    Ok(())
}

/// Each message of a change has the revision of the one before or the next.
fn nothing_is_left_out(ended: &Ended) -> Result<(), String> {
    for client in &ended.clients {
        let is_next = |pair: &[Shown]| {
            let before = pair[0].revision;
            (before..=before + 1).contains(&pair[1].revision)
        };
        require(client.shown.windows(2).all(is_next), || client.to_string())?;
    }
    Ok(())
}

fn require(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
