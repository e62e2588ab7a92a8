//! One session on this pod: its replica, and who needs it.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::Instant as Time;

use super::{Replica, SessionId, SessionState};

/// Pause after the first failure to read a session; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// Longest pause: of the few seconds within which clients are to know the state once Redis has it again.
const LAST_RETRY: Duration = Duration::from_secs(2);

/// A session that could not be read while the link was up.
#[derive(Clone, Copy, Debug)]
struct Retry {
    pause: Duration,
    at: Time,
    /// How often the link had come back: whatever it was, a new link may have ended it.
    reconnects: u64,
}

/// A session that the keeper is reading, until this is dropped.
pub(super) struct InHand(Arc<Entry>);

impl Deref for InHand {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.0
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.in_hand.store(false, SeqCst);
    }
}

/// One session on this pod.
#[derive(Debug)]
pub struct Entry {
    /// Which session.
    pub id: SessionId,
    /// Its room; `None` means every connected client.
    pub room: Option<String>,
    /// Never held while calling the library, which may hold its delivery lock.
    replica: Mutex<Replica>,
    /// Held by whoever reads the session again or changes it without the store: these two
    /// exclude each other.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// The greatest revision that was delivered here.
    pub(super) delivered: watch::Sender<u32>,
    /// The greatest revision at which clients here were shown the whole state by a pod that
    /// replaced it.
    shown: AtomicU32,
    /// Revision and tag of the step whose first message clients here heard last, as long as
    /// they have heard nothing else of the session since.
    following: Mutex<Option<(u32, u64)>>,
    /// Whether the store refused what was last asked of it for this session.
    refused: AtomicBool,
    /// Whether the first attempt to read the session has ended, well or not.
    pub(super) ready: watch::Sender<bool>,
    /// The replica may be wrong and must be read again.
    suspect: AtomicBool,
    /// How often something might have been missed when the session was last read; `None` if it
    /// never was.
    synced_at: Mutex<Option<u64>>,
    retry: Mutex<Option<Retry>>,
    /// The keeper is reading it.
    in_hand: AtomicBool,
    members: AtomicUsize,
    used: Mutex<Instant>,
}

impl Entry {
    pub(super) fn new(id: SessionId) -> Self {
        Self {
            room: id.room(),
            id,
            replica: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            delivered: watch::Sender::new(0),
            shown: AtomicU32::new(0),
            following: Mutex::default(),
            refused: AtomicBool::new(false),
            ready: watch::Sender::new(false),
            suspect: AtomicBool::new(false),
            synced_at: Mutex::default(),
            retry: Mutex::default(),
            in_hand: AtomicBool::new(false),
            members: AtomicUsize::new(0),
            used: Mutex::new(Instant::now()),
        }
    }

    /// The rooms to emit to; none means every connected client.
    pub fn rooms(&self) -> Vec<&str> {
        self.room.as_deref().into_iter().collect()
    }

    /// The state as clients of this pod know it.
    pub fn state(&self) -> SessionState {
        self.replica().state().clone()
    }

    /// Whether anybody ever changed the session, as far as this pod knows.
    pub fn is_known(&self) -> bool {
        !self.replica().state().is_unknown()
    }

    pub(super) fn replica(&self) -> MutexGuard<'_, Replica> {
        self.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(SeqCst)
    }

    pub(super) fn set_suspect(&self, suspect: bool) {
        self.suspect.store(suspect, SeqCst);
    }

    /// A revision was delivered here; one that is late changes nothing.
    pub(super) fn set_delivered(&self, revision: u32) {
        self.delivered
            .send_modify(|delivered| *delivered = revision.max(*delivered));
    }

    pub(super) fn shown(&self) -> u32 {
        self.shown.load(SeqCst)
    }

    /// Whether clients here were shown a newer state than this copy is: it is being read again, or soon will be.
    pub(super) fn is_outrun(&self) -> bool {
        self.shown() > self.replica().state().revision
    }

    pub(super) fn set_shown(&self, revision: u32) {
        self.shown.fetch_max(revision, SeqCst);
    }

    /// Clients here heard the first message of this step, or something that is no step.
    pub(super) fn set_following(&self, step: Option<(u32, u64)>) {
        *self.following() = step;
    }

    /// Whether clients here may hear a further message of this step.
    pub(super) fn is_following(&self, step: (u32, u64)) -> bool {
        *self.following() == Some(step)
    }

    fn following(&self) -> MutexGuard<'_, Option<(u32, u64)>> {
        self.following
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether it was so before.
    pub(super) fn set_refused(&self, refused: bool) -> bool {
        self.refused.swap(refused, SeqCst)
    }

    pub(super) fn synced_at(&self) -> Option<u64> {
        *self
            .synced_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_synced_at(&self, interruptions: u64) {
        let mut synced_at = self
            .synced_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *synced_at = Some(interruptions);
    }

    /// It could not be read; `reconnects` is how often the link has come back so far.
    pub(super) fn put_off(&self, reconnects: u64) {
        let mut retry = self.retry();
        let before = retry.filter(|before| before.reconnects == reconnects);
        let pause = before.map_or(FIRST_RETRY, |before| (before.pause * 2).min(LAST_RETRY));
        *retry = Some(Retry {
            pause,
            at: Time::now() + pause,
            reconnects,
        });
    }

    /// It was read.
    pub(super) fn end_retries(&self) {
        *self.retry() = None;
    }

    /// When it is to be read again because the last attempt failed; `None` if that was well, or of an earlier link.
    pub(super) fn retry_at(&self, reconnects: u64) -> Option<Time> {
        let retry = self.retry().filter(|retry| retry.reconnects == reconnects);
        retry.map(|retry| retry.at)
    }

    /// Whether the keeper is reading it.
    pub(super) fn is_in_hand(&self) -> bool {
        self.in_hand.load(SeqCst)
    }

    pub(super) fn take_in_hand(self: Arc<Self>) -> InHand {
        self.in_hand.store(true, SeqCst);
        InHand(self)
    }

    fn retry(&self) -> MutexGuard<'_, Option<Retry>> {
        self.retry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(super) fn add_member(&self) {
        self.members.fetch_add(1, SeqCst);
    }

    pub(super) fn remove_member(&self) {
        self.members.fetch_sub(1, SeqCst);
        self.touch();
    }

    /// Whether nobody has needed it for this long and nothing would be lost with it.
    pub(super) fn is_idle(&self, linger: Duration) -> bool {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.id != SessionId::Default
            && self.members.load(SeqCst) == 0
            && used.elapsed() >= linger
            && !self.replica().is_dirty()
    }

    /// Waits until at least this revision was delivered here. Returns whether it
    /// came within `limit`.
    pub async fn reached(&self, revision: u32, limit: Duration) -> bool {
        let mut delivered = self.delivered.subscribe();
        let reached = delivered.wait_for(|delivered| *delivered >= revision);
        tokio::time::timeout(limit, reached).await.is_ok()
    }
}
