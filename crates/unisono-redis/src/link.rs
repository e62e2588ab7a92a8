//! The link: two connections (and one to each further master, for the sharded adapter in a Redis Cluster) that live and die together, and the one task that opens, watches and replaces them.

mod driver;
mod gate;
mod machine;
mod probes;
mod refusals;
mod session;
mod shards;

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use unisono_cluster::{LinkState, LinkStats, Subscription};

use crate::buffer::Buffer;
use crate::config::RedisConfig;
use crate::failure::Failure;
use crate::gathering::Gathering;
use crate::nodes::Nodes;

pub(crate) use driver::run;
pub(crate) use gate::{Gate, PROBE_PREFIX};
pub(crate) use refusals::{Refusals, Refused};
pub(crate) use shards::Shards;

/// Why a link ends when a slot that is listened to has moved.
const MOVED_AWAY: &str = "redis has moved a channel to another node";

/// What the tasks of one broker and its callers share.
pub(crate) struct Link {
    pub(crate) config: RedisConfig,
    pub(crate) buffer: Buffer,
    pub(crate) gate: Gate,
    pub(crate) counters: Counters,
    /// The connections to publish and command on; `None` while the link is away.
    pub(crate) connections: watch::Sender<Option<Connections>>,
    pub(crate) state: watch::Sender<LinkState>,
    // A lock for a set that callers change and the link's task copies; never held across a wait.
    wanted: Mutex<Wanted>,
    /// The version of `wanted` with its last addition.
    last_addition: AtomicU64,
    pub(crate) gathering: Gathering,
    /// The version of `wanted` that the bus has confirmed last.
    pub(crate) followed: watch::Sender<u64>,
    // A lock for a set that the link's task fills and the connection's empties; never held across a wait.
    leaving: Mutex<HashSet<String>>,
    last_error: Mutex<Option<String>>,
    pub(crate) refusals: Refusals,
    signals: Signals,
    started: Instant,
}

/// What is to be listened to.
#[derive(Default)]
struct Wanted {
    subscriptions: BTreeSet<Subscription>,
    /// What has changed since the link's task has looked, as long as it looks at changes: there may be tens of thousands beside them.
    changed: BTreeSet<Subscription>,
    /// Whether it does. Otherwise it will look at everything, and nothing piles up meanwhile.
    by_turns: bool,
    /// Counts the changes.
    version: u64,
}

/// What the link's task has to follow.
pub(crate) struct Turn {
    pub(crate) added: Vec<Subscription>,
    pub(crate) removed: Vec<Subscription>,
    /// That of the change up to which this is.
    pub(crate) version: u64,
}

/// The connections that others use while the link is up.
#[derive(Clone)]
pub(crate) struct Connections {
    pub(crate) publisher: MultiplexedConnection,
    /// Of the sharded adapter in a Redis Cluster: where everything is published instead.
    pub(crate) shards: Option<Arc<Shards>>,
    pub(crate) commander: Nodes,
    pub(crate) generation: u64,
}

/// Counted by several tasks; see [`LinkStats`] for the meaning.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) published: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    pub(crate) connects_failed: AtomicU64,
    pub(crate) probes_failed: AtomicU64,
    pub(crate) dropped_too_large: AtomicU64,
    pub(crate) dropped_buffer_full: AtomicU64,
    pub(crate) unconfirmed: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// What happened outside the link's task. Flags rather than a queue: each says all there is to say however often it happens.
#[derive(Default)]
struct Signals {
    closed: AtomicBool,
    suspected: AtomicBool,
    subscriptions_changed: AtomicBool,
    /// The generation whose connection broke.
    lost_generation: AtomicU64,
    wake: Notify,
}

impl Link {
    pub(crate) fn new(config: RedisConfig) -> Self {
        let max_age_ms = u64::try_from(config.buffer_max_age.as_millis()).unwrap_or(u64::MAX);
        let buffer = Buffer::new(config.buffer_bytes, config.buffer_messages, max_age_ms);
        Self {
            config,
            buffer,
            gate: Gate::new(),
            counters: Counters::default(),
            connections: watch::Sender::new(None),
            state: watch::Sender::new(LinkState::Connecting),
            wanted: Mutex::default(),
            last_addition: AtomicU64::new(0),
            gathering: Gathering::default(),
            followed: watch::Sender::new(0),
            leaving: Mutex::default(),
            last_error: Mutex::default(),
            refusals: Refusals::default(),
            signals: Signals::default(),
            started: Instant::now(),
        }
    }

    /// Milliseconds on the link's own monotonic clock.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn subscribe(&self, subscription: Subscription) {
        let mut wanted = lock(&self.wanted);
        if wanted.subscriptions.insert(subscription.clone()) {
            // Its version is the next.
            self.last_addition
                .store(wanted.version + 1, Ordering::Release);
            self.changed(wanted, subscription);
        }
    }

    pub(crate) fn unsubscribe(&self, subscription: &Subscription) {
        let mut wanted = lock(&self.wanted);
        if let Some(subscription) = wanted.subscriptions.take(subscription) {
            self.changed(wanted, subscription);
        }
    }

    fn changed(&self, mut wanted: MutexGuard<'_, Wanted>, subscription: Subscription) {
        if wanted.by_turns {
            wanted.changed.insert(subscription);
        }
        wanted.version += 1;
        drop(wanted);
        self.signals
            .subscriptions_changed
            .store(true, Ordering::Release);
        self.signals.wake.notify_one();
    }

    pub(crate) fn suspect(&self) {
        self.signals.suspected.store(true, Ordering::Release);
        self.signals.wake.notify_one();
    }

    /// A connection of that generation broke; one that has been replaced already is of no interest.
    pub(crate) fn lost(&self, generation: u64, error: Option<&redis::RedisError>) {
        if let Some(error) = error {
            self.note_error(error.to_string());
        }
        self.signals
            .lost_generation
            .fetch_max(generation, Ordering::AcqRel);
        self.signals.wake.notify_one();
    }

    /// Whether a connection of that generation or a later one broke.
    pub(crate) fn is_lost(&self, generation: u64) -> bool {
        self.signals.lost_generation.load(Ordering::Acquire) >= generation
    }

    pub(crate) fn close(&self) {
        self.signals.closed.store(true, Ordering::Release);
        self.gate.close();
        self.state.send_replace(LinkState::Down);
        self.signals.wake.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.signals.closed.load(Ordering::Acquire)
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        lock(&self.last_error).clone()
    }

    fn note_error(&self, error: String) {
        *lock(&self.last_error) = Some(error);
    }

    /// What did not work with the link itself; a refusal is shown until it is taken back.
    pub(crate) fn note(&self, failure: Failure) {
        self.note_refused(Refused::Link, failure);
    }

    /// What did not work, and of which kind it is if Redis refused it.
    pub(crate) fn note_refused(&self, refused: Refused, failure: Failure) {
        let text = failure.text;
        if failure.is_refusal && self.refusals.note(refused, &text) {
            tracing::error!(redis = self.config.redacted_url(), "{text}");
        }
        self.note_error(text);
    }

    /// Everything, for a connection that listens to nothing yet.
    pub(crate) fn whole_turn(&self) -> Turn {
        let mut wanted = lock(&self.wanted);
        wanted.changed.clear();
        wanted.by_turns = true;
        lock(&self.leaving).clear();
        Turn {
            added: wanted.subscriptions.iter().cloned().collect(),
            removed: Vec::new(),
            version: wanted.version,
        }
    }

    /// There is no connection to follow anything on.
    pub(crate) fn end_turns(&self) {
        let mut wanted = lock(&self.wanted);
        wanted.by_turns = false;
        wanted.changed = BTreeSet::new();
    }

    /// What has changed since the last turn. What came and went meanwhile is removed although it was never there.
    pub(crate) fn next_turn(&self) -> Turn {
        let mut wanted = lock(&self.wanted);
        let changed = std::mem::take(&mut wanted.changed).into_iter();
        let (added, removed) = changed.partition(|one| wanted.subscriptions.contains(one));
        Turn {
            added,
            removed,
            version: wanted.version,
        }
    }

    /// These shard channels are about to be left.
    pub(crate) fn leave<'a>(&self, channels: impl Iterator<Item = &'a str>) {
        lock(&self.leaving).extend(channels.map(str::to_owned));
    }

    /// This one was not.
    pub(crate) fn stay(&self, channel: &str) {
        lock(&self.leaving).remove(channel);
    }

    /// Redis ended the subscription to a shard channel: as it was told, or because the channel's slot has moved to another node. Then the
    /// connection is given up. What it listened to is elsewhere, and the client library has taken the notice for the reply to some command.
    pub(crate) fn left(&self, generation: u64, channel: &[u8]) {
        let as_told =
            std::str::from_utf8(channel).is_ok_and(|name| lock(&self.leaving).remove(name));
        if !as_told {
            self.note_error(MOVED_AWAY.to_owned());
            self.lost(generation, None);
        }
    }

    /// The version of what is wanted as it was after the last subscription: who left something since does not matter.
    pub(crate) fn last_addition(&self) -> u64 {
        self.last_addition.load(Ordering::Acquire)
    }

    pub(crate) fn wanted_version(&self) -> u64 {
        lock(&self.wanted).version
    }

    pub(crate) fn stats(&self) -> LinkStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let level = self.buffer.level();
        let mut stats = LinkStats::default();
        stats.published = read(&self.counters.published);
        stats.received = self.gate.received();
        stats.reconnects = read(&self.counters.reconnects);
        stats.connects_failed = read(&self.counters.connects_failed);
        stats.probes_failed = read(&self.counters.probes_failed);
        stats.dropped_too_large = read(&self.counters.dropped_too_large);
        stats.dropped_buffer_full = read(&self.counters.dropped_buffer_full);
        stats.dropped_expired = level.expired;
        stats.unconfirmed = read(&self.counters.unconfirmed);
        stats.refused = read(&self.counters.refused);
        stats.buffered_bytes = level.bytes as u64;
        stats.buffered_messages = level.messages as u64;
        stats
    }
}

/// The data behind these locks is changed in single steps, so a poisoned one is used as it is.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
