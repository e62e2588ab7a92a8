//! Engine.IO 4 heartbeat, server's side: ping, wait for the pong, rest, ping again.

use super::{CloseReason, Due};

/// The timer of one connection. The next ping is due one interval after the last *pong*; other traffic does not replace a pong.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval_ms: u32,
    timeout_ms: u32,
    state: State,
    deadline: u64,
}

#[derive(Debug, PartialEq)]
enum State {
    Resting,
    ExpectPong,
}

impl Heartbeat {
    /// A heartbeat whose first ping is due one interval from `now`. Intervals beyond 49 days are cut to that.
    pub(super) fn new(interval_ms: u64, timeout_ms: u64, now: u64) -> Self {
        let interval_ms = u32::try_from(interval_ms).unwrap_or(u32::MAX);
        let timeout_ms = u32::try_from(timeout_ms).unwrap_or(u32::MAX);
        Self {
            interval_ms,
            timeout_ms,
            state: State::Resting,
            deadline: now.saturating_add(u64::from(interval_ms)),
        }
    }

    /// The client answered. A pong that nobody asked for changes nothing.
    pub(super) fn handle_pong(&mut self, now: u64) {
        if self.state == State::ExpectPong {
            self.state = State::Resting;
            self.deadline = now.saturating_add(u64::from(self.interval_ms));
        }
    }

    /// What is due at `now`.
    pub(super) fn handle_timeout(&mut self, now: u64) -> Due {
        if now < self.deadline {
            return Due::Nothing;
        }
        match self.state {
            State::Resting => {
                self.state = State::ExpectPong;
                self.deadline = now.saturating_add(u64::from(self.timeout_ms));
                Due::Ping
            }
            State::ExpectPong => Due::Close(CloseReason::PingTimeout),
        }
    }

    /// The client gets its full time to answer again, because we did not read meanwhile.
    pub(super) fn postpone(&mut self, now: u64) {
        if self.state == State::ExpectPong {
            self.deadline = now.saturating_add(u64::from(self.timeout_ms));
        }
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> u64 {
        self.deadline
    }
}
