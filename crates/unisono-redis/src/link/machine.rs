//! What the link does when: a state machine without IO.
//!
//! ```text
//!                     attempt failed
//!                  ┌──────────────────┐
//!                  v                  │
//! start ──> waiting ──(pause)──> attempting ──(all confirmed)──> listening
//!            ^   ^                                                │     │
//!            │   └──────── connection lost: Down ─────────────────┘     │
//!            └──────────── probe unanswered, suspected: Deaf ───────────┘
//! ```
//!
//! Beside this phase there is the [`LinkState`] shown to others, which does not flicker between attempts: it stays `Down` or `Deaf` until
//! the link is subscribed again.

use unisono_cluster::LinkState;

use crate::limits::{
    BACKOFF_FIRST_MS, BACKOFF_MAX_MS, LATE_TIMER_MS, PROBE_AFTER_MS, PROBE_DEADLINE_MS,
    STABLE_AFTER_MS, SUSPECT_AFTER_MS,
};

/// The link's decisions. Times are in milliseconds of one monotonic clock.
#[derive(Debug)]
pub(crate) struct Machine {
    phase: Phase,
    state: LinkState,
    next_pause_ms: u64,
    jitter: fastrand::Rng,
    probes_failed: u64,
}

#[derive(Debug)]
enum Phase {
    /// For the next attempt.
    Waiting { until_ms: u64 },
    /// For the attempt to end.
    Attempting,
    /// For messages.
    Listening {
        since_ms: u64,
        probe: Option<Probe>,
        wakes_ms: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    sent_ms: u64,
    due_ms: u64,
}

/// What the shell is to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Drop all connections and open new ones; report with `attempt_succeeded` or `attempt_failed`.
    Attempt,
    /// Publish to the probe channel, then poll again.
    Probe,
    /// Nothing until then, unless something happens.
    WaitUntil(u64),
}

impl Machine {
    pub(crate) fn new(now_ms: u64, jitter: fastrand::Rng) -> Self {
        Self {
            phase: Phase::Waiting { until_ms: now_ms },
            state: LinkState::Connecting,
            next_pause_ms: BACKOFF_FIRST_MS,
            jitter,
            probes_failed: 0,
        }
    }

    pub(crate) fn state(&self) -> LinkState {
        self.state
    }

    pub(crate) fn is_listening(&self) -> bool {
        matches!(self.phase, Phase::Listening { .. })
    }

    pub(crate) fn probes_failed(&self) -> u64 {
        self.probes_failed
    }

    /// The next step, given when anything was last heard. To be called after every event and when the wait is over.
    pub(crate) fn poll(&mut self, now_ms: u64, heard_ms: u64) -> Step {
        match &mut self.phase {
            Phase::Waiting { until_ms } if now_ms < *until_ms => Step::WaitUntil(*until_ms),
            Phase::Waiting { .. } | Phase::Attempting => {
                self.phase = Phase::Attempting;
                Step::Attempt
            }
            Phase::Listening {
                since_ms,
                probe,
                wakes_ms,
            } => {
                if now_ms.saturating_sub(*since_ms) >= STABLE_AFTER_MS {
                    self.next_pause_ms = BACKOFF_FIRST_MS;
                }
                if probe.is_some_and(|probe| heard_ms >= probe.sent_ms) {
                    *probe = None;
                }
                let held_up = now_ms > wakes_ms.saturating_add(LATE_TIMER_MS);
                let wake_ms = match probe {
                    Some(probe) if now_ms >= probe.due_ms && held_up => {
                        probe.due_ms = now_ms + PROBE_DEADLINE_MS;
                        probe.due_ms
                    }
                    Some(probe) if now_ms >= probe.due_ms => {
                        self.probes_failed += 1;
                        return self.heal(now_ms);
                    }
                    Some(probe) => probe.due_ms,
                    None if now_ms >= heard_ms.max(*since_ms) + PROBE_AFTER_MS => {
                        *probe = Some(Probe {
                            sent_ms: now_ms,
                            due_ms: now_ms + PROBE_DEADLINE_MS,
                        });
                        *wakes_ms = now_ms + PROBE_DEADLINE_MS;
                        return Step::Probe;
                    }
                    None => heard_ms.max(*since_ms) + PROBE_AFTER_MS,
                };
                *wakes_ms = wake_ms;
                Step::WaitUntil(wake_ms)
            }
        }
    }

    pub(crate) fn attempt_succeeded(&mut self, now_ms: u64) {
        self.phase = Phase::Listening {
            since_ms: now_ms,
            probe: None,
            wakes_ms: now_ms,
        };
        self.state = LinkState::Subscribed;
    }

    pub(crate) fn attempt_failed(&mut self, now_ms: u64) {
        self.state = LinkState::Down;
        self.pause(now_ms);
    }

    /// A connection broke.
    pub(crate) fn lost(&mut self, now_ms: u64) {
        if self.is_listening() {
            self.state = LinkState::Down;
            self.pause(now_ms);
        }
    }

    /// An ordered publish did not come back. Ignored while the link is younger than what is missed: that was lost with the link before.
    pub(crate) fn suspect(&mut self, now_ms: u64) {
        if let Phase::Listening { since_ms, .. } = self.phase
            && now_ms.saturating_sub(since_ms) >= SUSPECT_AFTER_MS
        {
            self.heal(now_ms);
        }
    }

    fn heal(&mut self, now_ms: u64) -> Step {
        self.state = LinkState::Deaf;
        Step::WaitUntil(self.pause(now_ms))
    }

    /// Between half and all of the pause, so that nodes that lost Redis together do not come back together.
    fn pause(&mut self, now_ms: u64) -> u64 {
        let until_ms = now_ms + self.jitter.u64(self.next_pause_ms / 2..=self.next_pause_ms);
        self.next_pause_ms = (self.next_pause_ms * 2).min(BACKOFF_MAX_MS);
        self.phase = Phase::Waiting { until_ms };
        until_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine::new(0, fastrand::Rng::with_seed(7))
    }

    fn listening(now_ms: u64) -> Machine {
        let mut machine = machine();
        assert_eq!(machine.poll(0, 0), Step::Attempt);
        machine.attempt_succeeded(now_ms);
        machine
    }

    fn wait(step: Step) -> u64 {
        match step {
            Step::WaitUntil(until_ms) => until_ms,
            other => panic!("expected a wait, got {other:?}"),
        }
    }

    #[test]
    fn starts_by_connecting_and_is_then_subscribed() {
        let mut machine = machine();
        assert_eq!(machine.state(), LinkState::Connecting);
        assert_eq!(machine.poll(0, 0), Step::Attempt);
        machine.attempt_succeeded(3);
        assert_eq!(machine.state(), LinkState::Subscribed);
        assert_eq!(machine.poll(3, 0), Step::WaitUntil(3 + PROBE_AFTER_MS));
    }

    #[test]
    fn pauses_grow_to_the_cap_and_reset_after_a_stable_time() {
        let mut machine = machine();
        let mut now_ms = 0;
        let mut cap = BACKOFF_FIRST_MS;
        for _ in 0..10 {
            assert_eq!(machine.poll(now_ms, 0), Step::Attempt);
            machine.attempt_failed(now_ms);
            assert_eq!(machine.state(), LinkState::Down);
            let until_ms = wait(machine.poll(now_ms, 0));
            assert!(
                (cap / 2..=cap).contains(&(until_ms - now_ms)),
                "{} of {cap}",
                until_ms - now_ms
            );
            cap = (cap * 2).min(BACKOFF_MAX_MS);
            now_ms = until_ms;
        }
        assert_eq!(machine.poll(now_ms, 0), Step::Attempt);
        machine.attempt_succeeded(now_ms);
        machine.lost(now_ms + 10);
        assert!(
            wait(machine.poll(now_ms + 10, 0)) - now_ms > BACKOFF_FIRST_MS,
            "not stable yet"
        );
        now_ms += 10_000;
        assert_eq!(machine.poll(now_ms, 0), Step::Attempt);
        machine.attempt_succeeded(now_ms);
        now_ms += STABLE_AFTER_MS;
        wait(machine.poll(now_ms, now_ms));
        machine.lost(now_ms);
        assert!(wait(machine.poll(now_ms, now_ms)) - now_ms <= BACKOFF_FIRST_MS);
    }

    #[test]
    fn silence_is_probed_and_an_unanswered_probe_means_deaf() {
        let mut machine = listening(0);
        assert_eq!(machine.poll(999, 0), Step::WaitUntil(1_000));
        assert_eq!(machine.poll(1_000, 0), Step::Probe);
        assert_eq!(machine.poll(1_000, 0), Step::WaitUntil(2_000));
        wait(machine.poll(2_000, 0));
        assert_eq!(machine.state(), LinkState::Deaf);
        assert_eq!(machine.probes_failed(), 1);
        assert_eq!(machine.poll(3_000, 0), Step::Attempt);
        assert_eq!(machine.state(), LinkState::Deaf);
        machine.attempt_failed(3_000);
        assert_eq!(machine.state(), LinkState::Down);
    }

    #[test]
    fn anything_heard_answers_the_probe() {
        let mut machine = listening(0);
        assert_eq!(machine.poll(1_000, 0), Step::Probe);
        assert_eq!(machine.poll(2_000, 1_400), Step::WaitUntil(2_400));
        assert_eq!(machine.state(), LinkState::Subscribed);
    }

    #[test]
    fn a_process_that_was_held_up_gives_the_probe_its_time_again() {
        let mut machine = listening(0);
        assert_eq!(machine.poll(1_000, 0), Step::Probe);
        assert_eq!(
            machine.poll(60_000, 0),
            Step::WaitUntil(60_000 + PROBE_DEADLINE_MS)
        );
        assert_eq!(machine.state(), LinkState::Subscribed);
        wait(machine.poll(60_000 + PROBE_DEADLINE_MS, 0));
        assert_eq!(machine.state(), LinkState::Deaf);
    }

    #[test]
    fn suspicion_heals_only_a_listening_link() {
        let mut machine = machine();
        machine.suspect(0);
        machine.lost(0);
        assert_eq!(machine.state(), LinkState::Connecting);
        let mut machine = listening(0);
        // What is missed by then was published on the link before.
        machine.suspect(SUSPECT_AFTER_MS - 1);
        assert_eq!(machine.state(), LinkState::Subscribed);
        machine.suspect(SUSPECT_AFTER_MS);
        assert_eq!(machine.state(), LinkState::Deaf);
        let again = wait(machine.poll(SUSPECT_AFTER_MS, 0));
        assert!(again <= SUSPECT_AFTER_MS + BACKOFF_FIRST_MS);
    }
}
