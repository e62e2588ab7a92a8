//! The task that keeps the copies right: reads again what may be wrong, forgets what nobody
//! needs.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::entry::Entry;
use super::sessions::Sessions;

/// How often the keeper looks by itself. Bounds how long after the return of the link the
/// first session is read again.
const ROUND: Duration = Duration::from_millis(200);
/// How many sessions are read again at the same time: enough to hide the round trip, few
/// enough not to hold up the commits of clients behind them.
const SYNCS_AT_ONCE: usize = 32;
/// How long a session without members on this pod is kept: a reload of the page, or a move to
/// another network, should find it still here.
const LINGER: Duration = Duration::from_secs(60);

impl Sessions {
    /// Runs until the future is dropped.
    pub async fn keep(&self) {
        let mut rounds = tokio::time::interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = rounds.tick() => {}
                () = self.0.wake.notified() => {}
            }
            if self.0.link.state().is_up() {
                self.suspect_those_that_missed_some();
                self.sync_suspects().await;
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

    async fn sync_suspects(&self) {
        let mut suspects: Vec<Arc<Entry>> = {
            let entries = self.entries();
            let suspects = entries.values().filter(|entry| entry.is_suspect());
            suspects.cloned().collect()
        };
        let mut running = JoinSet::new();
        while let Some(entry) = suspects.pop() {
            if running.len() == SYNCS_AT_ONCE
                && matches!(running.join_next().await, Some(Ok(false)))
            {
                // The store is away; the next round tries again.
                break;
            }
            let sessions = self.clone();
            running.spawn(async move { sessions.sync(&entry).await.is_ok() });
        }
        while running.join_next().await.is_some() {}
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
