//! The task that keeps the copies right: reads again what may be wrong, forgets what nobody
//! needs.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

use super::entry::Entry;
use super::sessions::Sessions;

/// How often the keeper looks by itself. Bounds how long after the return of the link the
/// first session is read again.
const ROUND: Duration = Duration::from_millis(200);
/// How many sessions are read again at the same time: enough to hide the round trip, few
/// enough not to hold up the commits of clients behind them.
const SYNCS_AT_ONCE: usize = 32;
/// A reading takes a millisecond or two. One that has taken so long holds up nothing but itself, and makes room for
/// the next: where one node of a Redis Cluster hangs, a third of all sessions fail after a second each.
const SLOW: Duration = Duration::from_millis(50);
/// How many are read at the same time with those that are slow: more than can become slow in the second after which one fails.
const SYNCS_IN_ALL: usize = 1_024;
/// How many of those that have failed before may be read again in vain in a round: a Redis that is full, refuses or hangs
/// is asked for them 160 times a second at most, however many there are.
const RETRIES_A_ROUND: usize = 32;
/// Least time between two readings of all sessions because messages were found lost, so that a pod
/// that makes up gaps cannot have them read without end. A later gap is no worse for waiting: clients
/// are promised the state within seconds.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// Otherwise it is as long as the last reading took: with many sessions Redis has half of the time
/// for clients. Not longer than this, or one slow reading would put off the next.
const MOST_PAUSE: Duration = Duration::from_secs(5);
/// How long a session without members on this pod is kept: a reload of the page, or a move to
/// another network, should find it still here.
const LINGER: Duration = Duration::from_secs(60);

impl Sessions {
    /// Runs until the future is dropped.
    pub async fn keep(&self) {
        let mut keeper = Keeper {
            sessions: self,
            queue: VecDeque::new(),
            running: JoinSet::new(),
            begun: HashMap::new(),
            retries_left: RETRIES_A_ROUND,
            reading_since: None,
            next_reading: Instant::now(),
        };
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let room_at = keeper.fill();
            tokio::select! {
                _ = rounds.tick() => {
                    keeper.retries_left = RETRIES_A_ROUND;
                    keeper.look();
                    self.forget_idle();
                }
                () = self.0.wake.notified() => keeper.look(),
                Some(ended) = keeper.running.join_next_with_id() => keeper.ended(&ended),
                () = sleep_until(room_at.unwrap_or_else(Instant::now)), if room_at.is_some() => {}
            }
        }
    }

    /// A session that was read before the link last came back, or before messages were found lost,
    /// may have missed something. The counter also shows a loss that was shorter than a round.
    fn suspect_those_that_missed_some(&self) {
        let interruptions = self.interruptions();
        for entry in self.entries().values() {
            if entry.synced_at() != Some(interruptions) {
                entry.set_suspect(true);
            }
        }
    }

    /// Who is to be read now: first those that have not failed, then those that have waited for longest.
    fn suspects(&self) -> VecDeque<Suspect> {
        let (now, reconnects) = (Instant::now(), self.0.link.stats().reconnects);
        let entries = self.entries();
        let suspects = entries
            .values()
            .filter(|entry| entry.is_suspect() && !entry.is_in_hand());
        let mut suspects: Vec<_> = suspects
            .map(|entry| (entry.retry_at(reconnects), entry.clone()))
            .filter(|(retry_at, _)| retry_at.is_none_or(|at| at <= now))
            .collect();
        suspects.sort_unstable_by_key(|(retry_at, _)| *retry_at);
        suspects.into()
    }

    fn forget_idle(&self) {
        let mut idle = Vec::new();
        {
            let mut entries = self.entries();
            idle.extend(entries.extract_if(|_, entry| entry.is_idle(LINGER)));
            self.0.metrics.set_replicas(entries.len());
        }
        // Outside the lock: notes take it under the lock that ends a watch.
        for (_, entry) in idle {
            self.note_store(&entry, None);
            if let Some(room) = &entry.room {
                self.space().unwatch(room);
            }
        }
    }
}

/// Since when it waits to be read again because it could not be; and which.
type Suspect = (Option<Instant>, Arc<Entry>);

/// What is being read, and what is next.
struct Keeper<'a> {
    sessions: &'a Sessions,
    queue: VecDeque<Suspect>,
    running: JoinSet<bool>,
    /// Whether it is a retry, and since when, of those that are running.
    begun: HashMap<Id, (bool, Instant)>,
    /// How many retries may still be begun in this round; one that works counts for nothing.
    retries_left: usize,
    /// Since when all sessions are being read because messages were found lost.
    reading_since: Option<Instant>,
    next_reading: Instant,
}

impl Keeper<'_> {
    /// Finds out anew who is to be read.
    fn look(&mut self) {
        let sessions = self.sessions;
        self.end_reading();
        if !sessions.0.link.state().is_up() {
            self.queue.clear();
            return;
        }
        let now = Instant::now();
        let may_read_all = self.reading_since.is_none() && now >= self.next_reading;
        if may_read_all && sessions.0.lost.swap(false, SeqCst) {
            sessions.0.losses.fetch_add(1, SeqCst);
            self.reading_since = Some(now);
        }
        sessions.suspect_those_that_missed_some();
        self.queue = sessions.suspects();
    }

    /// It has come to its end when only retries are left, and has had its time in any case.
    fn end_reading(&mut self) {
        let Some(since) = self.reading_since else {
            return;
        };
        let is_retry = |(retry_at, _): &Suspect| retry_at.is_some();
        let is_over = self.queue.front().is_none_or(is_retry)
            && self.begun.values().all(|(is_retry, _)| *is_retry);
        if is_over || since.elapsed() > MOST_PAUSE {
            let pause = since.elapsed().clamp(LEAST_PAUSE, MOST_PAUSE);
            self.next_reading = Instant::now() + pause;
            self.reading_since = None;
        }
    }

    /// Begins to read as many as may be. Returns when there is room for the next, if there is none now.
    fn fill(&mut self) -> Option<Instant> {
        let now = Instant::now();
        while let Some((retry_at, _)) = self.queue.front() {
            let is_retry = retry_at.is_some();
            if !self.sessions.0.link.state().is_up()
                || self.begun.len() >= SYNCS_IN_ALL
                || is_retry && self.retries_left == 0
            {
                return None;
            }
            let slow_at = self.begun.values().map(|(_, since)| *since + SLOW);
            let of_quick: Vec<_> = slow_at.filter(|slow_at| *slow_at > now).collect();
            if of_quick.len() >= SYNCS_AT_ONCE {
                return of_quick.into_iter().min();
            }
            let (_, entry) = self.queue.pop_front()?;
            self.retries_left -= usize::from(is_retry);
            let (in_hand, sessions) = (entry.take_in_hand(), self.sessions.clone());
            let syncing = async move { sessions.sync(&in_hand).await.is_ok() };
            let task = self.running.spawn(syncing);
            self.begun.insert(task.id(), (is_retry, now));
        }
        None
    }

    fn ended(&mut self, ended: &Result<(Id, bool), JoinError>) {
        let (id, has_worked) = match ended {
            Ok((id, has_worked)) => (*id, *has_worked),
            Err(error) => (error.id(), false),
        };
        let was_retry = matches!(self.begun.remove(&id), Some((true, _)));
        let given_back = usize::from(was_retry && has_worked);
        self.retries_left = RETRIES_A_ROUND.min(self.retries_left + given_back);
    }
}
