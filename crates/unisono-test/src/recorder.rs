//! An inbox that remembers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use unisono_cluster::{Inbox, LinkState};

use crate::wait::await_until;

/// How long a message or a state may take in a test before it counts as not coming. Long: it is only ever waited out by a failure.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(20);

/// Records what a broker hands over, and checks that it does so one call at a time.
#[derive(Default)]
pub struct Recorder {
    log: Mutex<Log>,
    busy: Mutex<()>,
}

#[derive(Default)]
struct Log {
    messages: Vec<(String, Bytes)>,
    states: Vec<LinkState>,
    overlapped: bool,
}

impl Recorder {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Channel and payload of everything received, in order.
    pub fn messages(&self) -> Vec<(String, Bytes)> {
        self.log().messages.clone()
    }

    /// The payloads on one channel as text, in order.
    pub fn texts(&self, channel: &str) -> Vec<String> {
        let messages = self.messages();
        let on_channel = messages.iter().filter(|(name, _)| name == channel);
        on_channel
            .map(|(_, payload)| String::from_utf8_lossy(payload).into_owned())
            .collect()
    }

    /// The states told, in order.
    pub fn states(&self) -> Vec<LinkState> {
        self.log().states.clone()
    }

    /// Whether two calls were ever made at the same time, which a broker must not do.
    pub fn overlapped(&self) -> bool {
        self.log().overlapped
    }

    /// Waits for a message with this payload on this channel.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn await_text(&self, channel: &str, text: &str) {
        let what = format!("{text:?} arrives on {channel:?}");
        await_until(&what, ARRIVAL_LIMIT, || {
            self.log()
                .messages
                .iter()
                .any(|(name, payload)| name == channel && payload == text.as_bytes())
        })
        .await;
    }

    /// Waits until the newest state told is this one.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn await_state(&self, state: LinkState) {
        let what = format!("the link is {state}");
        await_until(&what, ARRIVAL_LIMIT, || {
            self.log().states.last() == Some(&state)
        })
        .await;
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self, record: impl FnOnce(&mut Log)) {
        let alone = self.busy.try_lock();
        // Gives an overlapping call a chance to be seen.
        std::thread::yield_now();
        let mut log = self.log();
        log.overlapped |= alone.is_err();
        record(&mut log);
    }
}

impl Inbox for Recorder {
    fn message(&self, channel: &str, payload: Bytes) {
        self.alone(|log| log.messages.push((channel.to_owned(), payload)));
    }

    fn link(&self, state: LinkState) {
        self.alone(|log| log.states.push(state));
    }
}
