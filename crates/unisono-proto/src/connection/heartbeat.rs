//! The heartbeat, server's side. In Engine.IO 4 the server pings: ping, wait for the pong, rest, ping again. In Engine.IO 3 the client
//! does, and the server waits for the next ping.

use super::{CloseReason, Due};
use crate::engine::Revision;

/// A ping may leave late by this part of the time-out, a half, without the client being given more time for its pong.
const LATENESS_DIVISOR: u32 = 2;

/// The timer of one connection. In revision 4 the next ping is due one interval after the last *pong*, and the time for its pong runs from
/// then, whether or not the transport can carry the ping: who does not fetch it does not answer it. Any other packet replaces no pong, but
/// shows once for each ping that the line is slow and not dead: the time begins anew, as it does with Node since engine.io 6.6.12. In
/// revision 3 a ping must have come an interval and a time-out after the last, and nothing replaces it.
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
    /// The same, and something else has come meanwhile: a pong may be behind a large message on a slow line.
    ExpectLatePong,
    /// Revision 3.
    ExpectPing,
    /// Revision 3: pings may be waiting unread, because it is us who do not read.
    HeldBack,
}

impl Heartbeat {
    /// A heartbeat that begins at `now`. Intervals beyond 49 days are cut to that.
    pub(super) fn new(revision: Revision, interval_ms: u64, timeout_ms: u64, now: u64) -> Self {
        let interval_ms = u32::try_from(interval_ms).unwrap_or(u32::MAX);
        let timeout_ms = u32::try_from(timeout_ms).unwrap_or(u32::MAX);
        let mut heartbeat = Self {
            interval_ms,
            timeout_ms,
            state: State::Resting,
            deadline: now.saturating_add(u64::from(interval_ms)),
        };
        if revision == Revision::V3 {
            heartbeat.expect_ping(now);
        }
        heartbeat
    }

    /// The revision it was made for.
    pub(super) fn revision(&self) -> Revision {
        match self.state {
            State::Resting | State::ExpectPong | State::ExpectLatePong => Revision::V4,
            State::ExpectPing | State::HeldBack => Revision::V3,
        }
    }

    /// The client answered. A pong that nobody asked for changes nothing.
    pub(super) fn handle_pong(&mut self, now: u64) {
        if matches!(self.state, State::ExpectPong | State::ExpectLatePong) {
            self.state = State::Resting;
            self.deadline = now.saturating_add(u64::from(self.interval_ms));
        }
    }

    /// The client sent something that is no part of the heartbeat.
    pub(super) fn handle_other(&mut self, now: u64) {
        if self.state == State::ExpectPong {
            self.state = State::ExpectLatePong;
            let anew = now.saturating_add(u64::from(self.timeout_ms));
            self.deadline = self.deadline.max(anew);
        }
    }

    /// The client, of revision 3, has pinged.
    pub(super) fn handle_ping(&mut self, now: u64) {
        self.expect_ping(now);
    }

    /// What is due at `now`.
    pub(super) fn handle_timeout(&mut self, now: u64) -> Due {
        if now < self.deadline {
            return Due::Nothing;
        }
        match self.state {
            State::Resting => {
                self.state = State::ExpectPong;
                self.deadline = self.on_time(now).saturating_add(u64::from(self.timeout_ms));
                Due::Ping
            }
            State::HeldBack => {
                self.hold_back(now);
                Due::Pong
            }
            State::ExpectPong | State::ExpectLatePong | State::ExpectPing => {
                Due::Close(CloseReason::PingTimeout)
            }
        }
    }

    /// Nothing is read from now on. A client of revision 3 gives up when its ping is not answered within the time-out, so it is told twice
    /// in that time that the server is there: stock clients take any packet for it.
    pub(super) fn hold_back(&mut self, now: u64) {
        if self.revision() == Revision::V3 {
            self.state = State::HeldBack;
            self.deadline = now.saturating_add(u64::from((self.timeout_ms / 2).max(1)));
        }
    }

    /// The client gets its full time again, because we did not read meanwhile.
    pub(super) fn postpone(&mut self, now: u64) {
        match self.state {
            State::Resting => {}
            State::ExpectPong | State::ExpectLatePong => {
                self.deadline = now.saturating_add(u64::from(self.timeout_ms));
            }
            State::ExpectPing | State::HeldBack => self.expect_ping(now),
        }
    }

    /// The moment from which the client's time counts. Timers fire some milliseconds late, which must not add up: clients count from the
    /// handshake. If it was this node that stood still, the client does not pay for it.
    fn on_time(&self, now: u64) -> u64 {
        let late = now - self.deadline.min(now);
        let is_slight = late <= u64::from(self.timeout_ms / LATENESS_DIVISOR);
        if is_slight { self.deadline } else { now }
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> u64 {
        self.deadline
    }

    fn expect_ping(&mut self, now: u64) {
        self.state = State::ExpectPing;
        let patience = u64::from(self.interval_ms) + u64::from(self.timeout_ms);
        self.deadline = now.saturating_add(patience);
    }
}
