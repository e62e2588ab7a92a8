//! All sessions of this pod: who opens them, joins them, and hears what other pods say.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Notify, watch};
use unisono::{Broadcast, Decision, Socket, Space};
use unisono_cluster::Broker;

use super::entry::Entry;
use super::note::{Content, Note};
use super::{Applied, SessionId, SessionState};
use crate::metrics::Metrics;
use crate::store::{Store, Unavailable};

/// Most sessions one pod keeps a copy of, so that a client which invents session ids cannot
/// fill the memory. A pod serves at most some 20,000 clients, each in one or two sessions.
pub const MAX_SESSIONS: usize = 50_000;
/// How long to wait for an echo: the library delivers by itself after its own, shorter limit.
pub const ECHO_LIMIT: Duration = Duration::from_secs(3);

/// Room and name of the event that a buoy is.
const BUOY: &str = "jamz-buoy";

#[derive(Serialize)]
struct EmptyMap {}

/// All sessions of this pod. Cheap to clone.
#[derive(Clone)]
pub struct Sessions(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: Arc<dyn Store>,
    pub(super) link: Arc<dyn Broker>,
    pub(super) metrics: Arc<Metrics>,
    /// Wakes the keeper before its next round.
    pub(super) wake: Notify,
    /// Messages of other pods were found lost since all sessions were last read for that.
    pub(super) lost: AtomicBool,
    /// Times that all sessions were to be read because messages of other pods were lost.
    pub(super) losses: AtomicU64,
    buoys_sent: AtomicU64,
    /// The greatest buoy that came back; they come back in the order in which they were sent.
    buoys_back: watch::Sender<u64>,
    space: OnceLock<Space>,
    entries: Mutex<HashMap<SessionId, Arc<Entry>>>,
}

/// This pod keeps as many sessions as it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this pod keeps {MAX_SESSIONS} sessions already; add pods or look for a client that invents session ids"
)]
pub struct TooManySessions;

impl Sessions {
    /// Sessions kept in `store`, published over `link`.
    pub fn new(store: Arc<dyn Store>, link: Arc<dyn Broker>, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Inner {
            store,
            link,
            metrics,
            wake: Notify::new(),
            lost: AtomicBool::new(false),
            losses: AtomicU64::new(0),
            buoys_sent: AtomicU64::new(0),
            buoys_back: watch::Sender::new(0),
            space: OnceLock::new(),
            entries: Mutex::default(),
        }))
    }

    /// Messages of another pod are lost, though the link never looked down: what is known of every session is read again, soon if it was not just before. Does not wait.
    pub fn suspect_all(&self) {
        self.0.lost.store(true, SeqCst);
        self.0.wake.notify_one();
    }

    /// How often something may have been missed so far.
    pub(super) fn interruptions(&self) -> u64 {
        self.0.link.stats().reconnects + self.0.losses.load(SeqCst)
    }

    /// Tells through which namespace to emit. Must be called once, before the first event.
    pub fn attach(&self, space: Space) {
        let _ = self.0.space.set(space);
    }

    pub(super) fn space(&self) -> &Space {
        let space = self.0.space.get();
        space.expect("`attach` is called before the listener accepts connections")
    }

    pub(super) fn entries(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Entry>>> {
        self.0
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The session, with a copy of its state that is current, or as current as can be while
    /// the store is away.
    ///
    /// # Errors
    /// [`TooManySessions`].
    pub async fn open(&self, id: &SessionId) -> Result<Arc<Entry>, TooManySessions> {
        let (entry, fresh) = self.entry_or_new(id)?;
        entry.touch();
        if fresh {
            if let Some(room) = &entry.room {
                self.space().watch(room);
            }
            // A task of its own: it must come to its end even if the client goes away now.
            let (sessions, entry) = (self.clone(), entry.clone());
            tokio::spawn(async move {
                let _ = sessions.sync(&entry).await;
                entry.ready.send_replace(true);
            });
        }
        // The sender lives in the entry, which we hold.
        let _ = entry.ready.subscribe().wait_for(|ready| *ready).await;
        Ok(entry)
    }

    fn entry_or_new(&self, id: &SessionId) -> Result<(Arc<Entry>, bool), TooManySessions> {
        let mut entries = self.entries();
        if let Some(entry) = entries.get(id) {
            return Ok((entry.clone(), false));
        }
        if entries.len() >= MAX_SESSIONS {
            return Err(TooManySessions);
        }
        let entry = Arc::new(Entry::new(id.clone()));
        entries.insert(id.clone(), entry.clone());
        self.0.metrics.set_replicas(entries.len());
        Ok((entry, true))
    }

    /// Whether this pod has a copy of the session, and anybody ever changed it.
    pub fn knows(&self, id: &SessionId) -> bool {
        let entry = self.entries().get(id).cloned();
        entry.is_some_and(|entry| entry.is_known())
    }

    /// What a pod says of a session, right before clients of this pod hear it, and whether they
    /// may: what is late, or has a gap before it, would have them end with something that is not
    /// stored.
    pub fn on_note(&self, note: &unisono::Note) -> Decision {
        // A note that cannot be read is of a newer version, whose messages mean no less.
        let (Some(revision), Some(said)) = (note.revision, Note::decode(&note.bytes)) else {
            return Decision::Deliver;
        };
        if let Content::Buoy(buoy) = said.content {
            if note.from_self {
                self.0
                    .buoys_back
                    .send_modify(|back| *back = buoy.max(*back));
            }
            return Decision::Deliver;
        }
        let entry = self.entries().get(&said.session).cloned();
        let Some(entry) = entry else {
            return Decision::Deliver;
        };
        let deliver = match said.content {
            Content::Follows(tag) => entry.is_following((revision, tag)),
            _ => self.hear(&entry, revision, &said.content, note),
        };
        if deliver {
            Decision::Deliver
        } else {
            Decision::Drop
        }
    }

    /// The first or only message of a step has come. Returns whether clients may hear it.
    fn hear(&self, entry: &Entry, revision: u32, content: &Content, note: &unisono::Note) -> bool {
        let noted = entry.replica().note(revision, content, note.from_self);
        if noted.applied == Applied::Implausible {
            self.0.metrics.count_implausible();
            tracing::warn!(revision, "ignoring a change whose revision cannot be");
            return false;
        }
        if noted.deliver {
            entry.set_following(Some((revision, Note::tag(&note.bytes))));
            if *content == (Content::Replaced { shown: true }) {
                entry.set_shown(revision);
            }
        }
        entry.set_delivered(revision);
        if noted.applied == Applied::OutOfStep {
            entry.set_suspect(true);
            self.0.wake.notify_one();
        }
        noted.deliver
    }

    /// The store answered for this session, or failed to.
    pub(super) fn note_store(&self, entry: &Entry, failure: Option<&Unavailable>) {
        let code = failure.and_then(|failure| failure.code.as_deref());
        if failure.is_some() && code.is_none() {
            // No answer: the state of the link tells of that.
            return;
        }
        let was_refused = entry.set_refused(code.is_some());
        match (code, was_refused) {
            (Some(code), false) => {
                self.0.metrics.add_refused_session();
                tracing::error!(
                    code,
                    "Redis refuses to keep a session, it lives on this pod only"
                );
            }
            (None, true) => {
                self.0.metrics.remove_refused_session();
                tracing::info!("Redis keeps the session again");
            }
            _ => {}
        }
    }

    /// Puts a socket into the room of a session and shows it the state, with nothing in
    /// between: `show` runs with the state at some revision, and the socket gets every later
    /// change and none before.
    pub fn join(&self, entry: &Entry, socket: &Socket, show: impl FnOnce(&SessionState)) {
        self.space().conduct(|| {
            if let Some(room) = &entry.room {
                // A socket is in a handful of sessions, whose names are short: far below both bounds.
                if let Err(error) = socket.join(room) {
                    tracing::error!(socket = socket.log_id(), %error, "cannot join a session's room");
                }
            }
            self.show_current(entry, show);
        });
    }

    /// Shows somebody in the session the state as the others here know it: `show` runs with it,
    /// and nothing is delivered in between.
    pub fn show(&self, entry: &Entry, show: impl FnOnce(&SessionState)) {
        self.space().conduct(|| self.show_current(entry, show));
    }

    fn show_current(&self, entry: &Entry, show: impl FnOnce(&SessionState)) {
        if entry.is_outrun() {
            // What the others were shown, this one must be told when it is read.
            entry.replica().set_untold();
        }
        show(&entry.state());
    }

    /// A broadcast to those in the session who are on this pod.
    pub(super) fn here(&self, entry: &Entry) -> Broadcast {
        let local = self.space().broadcast().local();
        match &entry.room {
            Some(room) => local.to(room),
            None => local,
        }
    }

    /// Counts a socket as a member of the session, until [`Self::remove_member`].
    pub fn add_member(&self, entry: &Entry) {
        entry.add_member();
    }

    /// A member has gone.
    pub fn remove_member(&self, id: &SessionId) {
        if let Some(entry) = self.entries().get(id) {
            entry.remove_member();
        }
    }

    /// Returns when everything that was published before now has been delivered to the clients
    /// of this pod, or has not been for so long that it never will.
    pub(super) async fn caught_up(&self) {
        let buoy = self.0.buoys_sent.fetch_add(1, SeqCst) + 1;
        let note = Note {
            session: SessionId::Default,
            content: Content::Buoy(buoy),
        };
        // Nobody is in this room, so that other pods can drop it by its channel alone.
        let prepared = self
            .space()
            .prepare(&[BUOY], BUOY, &EmptyMap {}, Some(note.encode()));
        match prepared {
            Ok(prepared) => prepared.publish(0),
            Err(error) => return tracing::warn!(%error, "buoy cannot be sent"),
        }
        let mut back = self.0.buoys_back.subscribe();
        let arrived = back.wait_for(|back| *back >= buoy);
        // The library delivers what does not come back, so this ends sooner than its limit.
        let _ = tokio::time::timeout(ECHO_LIMIT, arrived).await;
    }
}
