//! What attempts have taught: how long to wait, and which nodes to let alone for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Address;
use crate::limits::{
    ASK_DEADLINE, ATTEMPT_DEADLINE, MAX_CLUSTER_NODES, PATIENCE_LEVELS, RETURN_AFTER, STRIKE_LIMIT,
};

/// How long attempts may take. Grows while they run out of time and shrinks when they do not need it, so that a link comes up over a slow
/// path, and a server that hangs does not hold up others longer than it must.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Patience {
    level: u32,
}

impl Patience {
    /// For a whole attempt.
    pub(super) fn attempt(self) -> Duration {
        ATTEMPT_DEADLINE * 2_u32.pow(self.level)
    }

    /// For one question to one server.
    pub(super) fn ask(self) -> Duration {
        ASK_DEADLINE * 2_u32.pow(self.level)
    }

    pub(super) fn ran_out(&mut self) {
        self.level = (self.level + 1).min(PATIENCE_LEVELS);
    }

    /// An attempt succeeded in that time.
    pub(super) fn sufficed(&mut self, took: Duration) {
        // Each part of an attempt has a share of its time, hence not to the last millisecond.
        while self.level > 0 && took * 4 <= self.attempt() / 2 {
            self.level -= 1;
        }
    }
}

/// Nodes of a cluster at which attempts failed although they answer questions, or from which a link fell off at once: others go first for
/// a while, the longer the more often it happened.
#[derive(Debug, Default)]
pub(super) struct Strikes {
    nodes: BTreeMap<Address, Strike>,
}

#[derive(Debug)]
struct Strike {
    times: u32,
    until: Instant,
}

impl Strikes {
    pub(super) fn strike(&mut self, node: &Address, now: Instant) {
        if self.nodes.len() >= MAX_CLUSTER_NODES {
            self.nodes.retain(|_, strike| now < strike.until);
        }
        if self.nodes.len() >= MAX_CLUSTER_NODES {
            return;
        }
        let strike = self.nodes.entry(node.clone()).or_insert(Strike {
            times: 0,
            until: now,
        });
        let pause = RETURN_AFTER * 2_u32.saturating_pow(strike.times.min(8));
        strike.times = strike.times.saturating_add(1);
        strike.until = now + pause.min(STRIKE_LIMIT);
    }

    pub(super) fn holds(&self, node: &Address, now: Instant) -> bool {
        self.nodes
            .get(node)
            .is_some_and(|strike| now < strike.until)
    }

    pub(super) fn forgive(&mut self, node: &Address) {
        self.nodes.remove(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_to_its_bound_and_shrinks_when_it_is_not_needed() {
        let mut patience = Patience::default();
        assert_eq!(patience.attempt(), ATTEMPT_DEADLINE);
        for _ in 0..10 {
            patience.ran_out();
        }
        assert_eq!(patience.attempt(), ATTEMPT_DEADLINE * 4);
        assert_eq!(patience.ask(), ASK_DEADLINE * 4);
        // A path that needs it keeps it.
        patience.sufficed(Duration::from_secs(2));
        assert_eq!(patience.attempt(), ATTEMPT_DEADLINE * 4);
        patience.sufficed(Duration::from_millis(5));
        assert_eq!(patience.attempt(), ATTEMPT_DEADLINE);
    }

    #[test]
    fn strikes_hold_longer_each_time_up_to_a_bound_and_are_forgiven() {
        let node = Address {
            host: "a".to_owned(),
            port: 1,
        };
        let (start, mut strikes) = (Instant::now(), Strikes::default());
        let mut check = |now: Instant, seconds| {
            strikes.strike(&node, now);
            let end = now + Duration::from_secs(seconds);
            assert!(strikes.holds(&node, end - Duration::from_millis(1)));
            assert!(!strikes.holds(&node, end));
            end
        };
        let mut now = start;
        for seconds in [15, 30, 60, 60, 60] {
            now = check(now, seconds);
        }
        strikes.forgive(&node);
        strikes.strike(&node, now);
        assert!(!strikes.holds(&node, now + RETURN_AFTER));
    }

    #[test]
    fn strikes_are_bounded_in_number() {
        let (now, mut strikes) = (Instant::now(), Strikes::default());
        for number in 0..2 * MAX_CLUSTER_NODES {
            let host = number.to_string();
            strikes.strike(&Address { host, port: 1 }, now);
        }
        assert_eq!(strikes.nodes.len(), MAX_CLUSTER_NODES);
    }
}
