//! What this pod counts itself. The library and the link to Redis count the rest.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitResult {
    /// Written to the store and published.
    Committed,
    /// Its guard did not hold.
    Refused,
    /// Applied on this pod only, because the store is away.
    Local,
    /// Could not be encoded, or nobody could take it.
    Failed,
}

impl CommitResult {
    /// Every result, in the order of the counters.
    pub const ALL: [Self; 4] = [Self::Committed, Self::Refused, Self::Local, Self::Failed];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Refused => "refused",
            Self::Local => "local",
            Self::Failed => "failed",
        }
    }
}

/// Why an event of a client was dropped although it was well-formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The socket has named more sessions that nobody knows than it may.
    NewSessions,
    /// The pod keeps as many sessions as it can.
    Sessions,
}

impl Refused {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 2] = [Self::NewSessions, Self::Sessions];

    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NewSessions => "new_sessions",
            Self::Sessions => "sessions",
        }
    }
}

/// Counters of one pod.
#[derive(Debug, Default)]
pub struct Metrics {
    refused: [AtomicU64; Refused::ALL.len()],
    commits: [AtomicU64; CommitResult::ALL.len()],
    resyncs: AtomicU64,
    implausible: AtomicU64,
    refused_sessions: AtomicU64,
    replicas: AtomicU64,
}

impl Metrics {
    /// Counts a change.
    pub fn count_commit(&self, result: CommitResult) {
        self.commits[result as usize].fetch_add(1, Relaxed);
    }

    /// How many changes ended so.
    pub fn commits(&self, result: CommitResult) -> u64 {
        self.commits[result as usize].load(Relaxed)
    }

    /// Counts an event that was dropped.
    pub fn count_refused(&self, reason: Refused) {
        self.refused[reason as usize].fetch_add(1, Relaxed);
    }

    /// How many events were dropped for this reason.
    pub fn refused(&self, reason: Refused) -> u64 {
        self.refused[reason as usize].load(Relaxed)
    }

    /// Counts a session whose clients were told its state again.
    pub fn count_resync(&self) {
        self.resyncs.fetch_add(1, Relaxed);
    }

    /// How often clients were told the state of their session again.
    pub fn resyncs(&self) -> u64 {
        self.resyncs.load(Relaxed)
    }

    /// Counts a change of another pod that was ignored because its revision cannot be.
    pub fn count_implausible(&self) {
        self.implausible.fetch_add(1, Relaxed);
    }

    /// How many changes were ignored because their revision cannot be.
    pub fn implausible(&self) -> u64 {
        self.implausible.load(Relaxed)
    }

    /// The store, although it answers, refuses one more session.
    pub fn add_refused_session(&self) {
        self.refused_sessions.fetch_add(1, Relaxed);
    }

    /// The store takes a session that it refused.
    pub fn remove_refused_session(&self) {
        self.refused_sessions.fetch_sub(1, Relaxed);
    }

    /// For how many sessions the store refused what was last asked of it. Zero in health.
    pub fn refused_sessions(&self) -> u64 {
        self.refused_sessions.load(Relaxed)
    }

    /// Sets how many sessions this pod keeps a copy of.
    pub fn set_replicas(&self, count: usize) {
        self.replicas.store(count as u64, Relaxed);
    }

    /// How many sessions this pod keeps a copy of.
    pub fn replicas(&self) -> u64 {
        self.replicas.load(Relaxed)
    }
}
