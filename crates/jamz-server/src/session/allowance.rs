//! How many sessions that nobody knows one client may name.
//!
//! A session comes into being when somebody names it. Without a bound one client could fill
//! the copies of a pod, and with changes the memory of Redis, by inventing ids.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::SessionId;

/// Sessions nobody knew before that one socket may name at once: twice as many as it can be
/// in, so that no person who clicks around meets it.
pub const NEW_SESSIONS: usize = 32;
/// How long until a socket may name one more. A page that stays open for a day may still open
/// a fresh session every minute.
pub const NEW_SESSION_EVERY: Duration = Duration::from_secs(60);

/// The allowance of one socket.
#[derive(Debug)]
pub struct Allowance {
    left: usize,
    /// When the last one was added.
    refilled: Instant,
    /// Those named last, which cost nothing when they are named again; [`NEW_SESSIONS`] at most.
    named: VecDeque<SessionId>,
}

impl Allowance {
    /// A full allowance.
    pub fn new(now: Instant) -> Self {
        Self {
            left: NEW_SESSIONS,
            refilled: now,
            named: VecDeque::new(),
        }
    }

    /// Whether the socket may name this session, which nobody knows as far as this pod knows.
    pub fn take(&mut self, id: &SessionId, now: Instant) -> bool {
        if self.named.contains(id) {
            return true;
        }
        self.refill(now);
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        if self.named.len() == NEW_SESSIONS {
            self.named.pop_front();
        }
        self.named.push_back(id.clone());
        true
    }

    /// The session that was taken turned out to be known: it costs nothing.
    pub fn give_back(&mut self, id: &SessionId) {
        let count = self.named.len();
        self.named.retain(|named| named != id);
        if self.named.len() < count {
            self.left = (self.left + 1).min(NEW_SESSIONS);
        }
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled);
        let earned = elapsed.as_secs() / NEW_SESSION_EVERY.as_secs();
        let earned = usize::try_from(earned).unwrap_or(NEW_SESSIONS);
        if earned >= NEW_SESSIONS - self.left {
            self.left = NEW_SESSIONS;
            self.refilled = now;
        } else {
            self.left += earned;
            // Less than the constant: it fits.
            self.refilled += NEW_SESSION_EVERY * u32::try_from(earned).unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> SessionId {
        SessionId::Named(number.to_string())
    }

    /// An allowance of which nothing is left, and when.
    fn spent() -> (Allowance, Instant) {
        let now = Instant::now();
        let mut allowance = Allowance::new(now);
        for number in 0..NEW_SESSIONS {
            assert!(allowance.take(&id(number), now));
        }
        assert!(!allowance.take(&id(NEW_SESSIONS), now));
        (allowance, now)
    }

    #[test]
    fn one_more_may_be_named_every_minute_up_to_the_bound() {
        let check = |minutes: u32, seconds: u64, expected: usize| {
            let (mut allowance, start) = spent();
            let now = start + NEW_SESSION_EVERY * minutes + Duration::from_secs(seconds);
            let taken = (100..200).filter(|number| allowance.take(&id(*number), now));
            assert_eq!(taken.count(), expected, "{minutes} min {seconds} s");
        };
        check(0, 59, 0);
        check(1, 0, 1);
        check(2, 59, 2);
        check(31, 0, 31);
        check(1000, 0, NEW_SESSIONS);
    }

    #[test]
    fn parts_of_a_minute_are_not_lost() {
        let (mut allowance, start) = spent();
        let ninety = Duration::from_secs(90);
        assert!(allowance.take(&id(100), start + ninety));
        assert!(!allowance.take(&id(101), start + ninety));
        assert!(allowance.take(&id(101), start + ninety + Duration::from_secs(30)));
    }

    #[test]
    fn a_session_is_paid_for_once_and_a_known_one_not_at_all() {
        let (mut allowance, now) = spent();
        assert!(allowance.take(&id(0), now), "named before");
        allowance.give_back(&id(0));
        allowance.give_back(&id(0));
        allowance.give_back(&id(77));
        assert!(allowance.take(&id(100), now));
        assert!(!allowance.take(&id(101), now));
    }
}
