//! The task that keeps the copies right: reads again what may be wrong, forgets what nobody
//! needs.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::entry::Entry;
use super::sessions::Sessions;

/// How often the keeper looks by itself. Bounds how long after the return of the link the
/// first session is read again.
const ROUND: Duration = Duration::from_millis(200);
/// How many sessions are read again at the same time: enough to hide the round trip, few
/// enough not to hold up the commits of clients behind them.
const SYNCS_AT_ONCE: usize = 32;
/// After so many failures of a round those that have failed before wait for the next one: a Redis
/// that is full or refuses is asked for them 160 times a second at most, however many there are.
const FAILURES_A_ROUND: usize = SYNCS_AT_ONCE;
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
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_reading = Instant::now();
        loop {
            tokio::select! {
                _ = rounds.tick() => {}
                () = self.0.wake.notified() => {}
            }
            if self.0.link.state().is_up() {
                let began = Instant::now();
                let reads_all = began >= next_reading && self.0.lost.swap(false, SeqCst);
                if reads_all {
                    self.0.losses.fetch_add(1, SeqCst);
                }
                self.suspect_those_that_missed_some();
                self.sync_suspects().await;
                if reads_all {
                    let pause = began.elapsed().clamp(LEAST_PAUSE, MOST_PAUSE);
                    next_reading = Instant::now() + pause;
                }
            }
            self.forget_idle();
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

    /// Reads those again whose time it is. One that fails is left for later, and holds up no other.
    async fn sync_suspects(&self) {
        let mut running = JoinSet::new();
        let mut failures = 0;
        for (retry_at, entry) in self.suspects() {
            if running.len() == SYNCS_AT_ONCE {
                let synced = running.join_next().await;
                failures += usize::from(matches!(synced, Some(Ok(false))));
            }
            let is_retry = retry_at.is_some();
            if !self.0.link.state().is_up() || (is_retry && failures >= FAILURES_A_ROUND) {
                break;
            }
            let sessions = self.clone();
            running.spawn(async move { sessions.sync(&entry).await.is_ok() });
        }
        while running.join_next().await.is_some() {}
    }

    /// Who is to be read now: first those that have not failed, then those that have waited for longest.
    fn suspects(&self) -> Vec<(Option<Instant>, Arc<Entry>)> {
        let (now, reconnects) = (Instant::now(), self.0.link.stats().reconnects);
        let entries = self.entries();
        let suspects = entries.values().filter(|entry| entry.is_suspect());
        let mut suspects: Vec<_> = suspects
            .map(|entry| (entry.retry_at(reconnects), entry.clone()))
            .filter(|(retry_at, _)| retry_at.is_none_or(|at| at <= now))
            .collect();
        suspects.sort_unstable_by_key(|(retry_at, _)| *retry_at);
        suspects
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
