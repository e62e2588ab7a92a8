//! What a row of the table says.

use std::time::Duration;

/// Whether pods say that they are degraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noticed {
    /// Within the promised time, by all of these pods; and as long as it lasts.
    By(&'static [usize]),
    /// Within the promised time, by all of these pods; it may be over by then.
    Briefly(&'static [usize]),
    /// Not within the promised time after the beginning: by the next change of a session.
    AtNextChange,
    /// Depends on the moment.
    Perhaps,
    /// Never: nothing is wrong, or nothing that can be seen from a pod.
    Never,
}

/// What becomes of plain broadcasts to the other pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// All arrive.
    Nothing,
    /// Some may not, and each of those is counted.
    Counted,
    /// Some may not, and the pod that misses them has never heard the other, and does not know that there was anything.
    Uncounted,
}

/// One accident.
pub(crate) struct Row {
    /// What happens.
    pub(crate) accident: &'static str,
    /// The test, as the document names it.
    pub(crate) test: &'static str,
    /// How long it lasts.
    pub(crate) lasts: Duration,
    pub(crate) noticed: Noticed,
    pub(crate) lost: Lost,
    /// For readers: what else is to be said.
    pub(crate) remark: &'static str,
    pub(crate) seen: Seen,
}

/// Ranges that were measured, in seconds and messages.
pub(crate) struct Seen {
    /// From the accident to `degraded` on the last pod.
    pub(crate) noticed: &'static str,
    /// From the end of the accident until each pod has heard the other.
    pub(crate) back: &'static str,
    /// Plain broadcasts that did not arrive, both ways together, of 25 a second from each pod.
    pub(crate) lost: &'static str,
}
