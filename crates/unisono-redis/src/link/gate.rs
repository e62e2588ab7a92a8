//! The door between connections and the inbox: one caller at a time, and only from the connection that counts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};
use unisono_cluster::{Inbox, LinkState};

/// What the names of the probes' channels begin with.
pub(crate) const PROBE_PREFIX: &str = "unisono-probe#";

/// Passes messages of the current bus connection to the inbox.
pub(crate) struct Gate {
    // A lock that is held while the inbox runs, which is what makes its calls one at a time: a connection that was given up may still
    // be handing over its last message when its successor begins. Methods of the broker that an inbox may call never take it.
    door: Mutex<Door>,
    closed: AtomicBool,
    heard_ms: AtomicU64,
    received: AtomicU64,
    probe_channel: String,
}

#[derive(Default)]
struct Door {
    inbox: Option<Arc<dyn Inbox>>,
    /// Messages of connections of another generation are dropped.
    generation: u64,
}

impl Gate {
    pub(crate) fn new() -> Self {
        // Random, because every node hears only its own probes. The prefix cannot match the pattern of a namespace unless
        // somebody chose it as channel prefix.
        let probe_channel = format!("{PROBE_PREFIX}{:016x}", fastrand::u64(..));
        Self {
            door: Mutex::default(),
            closed: AtomicBool::new(false),
            heard_ms: AtomicU64::new(0),
            received: AtomicU64::new(0),
            probe_channel,
        }
    }

    /// In a Redis Cluster of the sharded adapter there is one for each master, whose name begins with this.
    pub(crate) fn probe_channel(&self) -> &str {
        &self.probe_channel
    }

    /// When the last message came, by the link's clock.
    pub(crate) fn heard_ms(&self) -> u64 {
        self.heard_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Sets the inbox, unless there is one, and tells it how the link is. The state is read behind the door: were it older than that,
    /// a change in between would be told to nobody.
    pub(crate) fn attach(&self, inbox: Arc<dyn Inbox>, state: impl FnOnce() -> LinkState) {
        let mut door = self.lock();
        if door.inbox.is_none() && !self.is_closed() {
            inbox.link(state());
            door.inbox = Some(inbox);
        }
    }

    /// From now on only that generation passes. When this returns, no message of an earlier one is being handed over.
    pub(crate) fn admit(&self, generation: u64) {
        self.lock().generation = generation;
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Lets go of the inbox, which may hold the broker in turn.
    pub(crate) fn detach(&self) {
        self.lock().inbox = None;
    }

    pub(crate) fn tell(&self, state: LinkState) {
        let door = self.lock();
        if let Some(inbox) = &door.inbox {
            inbox.link(state);
        }
    }

    /// A push from the bus connection, called in the order of the bus.
    pub(crate) fn handle_push(&self, generation: u64, push: PushInfo, now_ms: u64) {
        let Some((channel, payload)) = message_of(push) else {
            return;
        };
        let door = self.lock();
        if door.generation != generation || self.is_closed() {
            return;
        }
        self.heard_ms.store(now_ms, Ordering::Relaxed);
        if channel.starts_with(&self.probe_channel) {
            return;
        }
        self.received.fetch_add(1, Ordering::Relaxed);
        if let Some(inbox) = &door.inbox {
            inbox.message(&channel, payload);
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Should an inbox have panicked, the door itself is still whole.
    fn lock(&self) -> MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Channel and payload of `message` and `smessage` (channel, payload) and `pmessage` (pattern, channel, payload).
fn message_of(push: PushInfo) -> Option<(String, Bytes)> {
    if !matches!(
        push.kind,
        PushKind::Message | PushKind::PMessage | PushKind::SMessage
    ) {
        return None;
    }
    let mut data = push.data;
    let (Some(Value::BulkString(payload)), Some(Value::BulkString(channel))) =
        (data.pop(), data.pop())
    else {
        return None;
    };
    let channel = String::from_utf8(channel)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Some((channel, Bytes::from(payload)))
}
