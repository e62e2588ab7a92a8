//! A token bucket: how often something may happen, and how much of it at once. Knows no clock; time is an argument.

/// What one token is made of. Time is in milliseconds and a rate is per second, so every millisecond brings exactly `per_second` of
/// these: nothing is ever rounded, however often and however irregularly the bucket is asked.
const TOKEN: u64 = 1000;

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    per_second: u32,
    burst: u32,
}

impl Rate {
    /// `None` if `per_second` is 0, which means no limit. A bucket holds one token at least.
    pub(crate) fn new(per_second: u32, burst: u32) -> Option<Self> {
        (per_second > 0).then_some(Self {
            per_second,
            burst: burst.max(1),
        })
    }

    /// The same with room for `burst` at least.
    pub(crate) fn with_burst_of_at_least(self, burst: u32) -> Self {
        Self {
            burst: self.burst.max(burst),
            ..self
        }
    }
}

/// A bucket; it begins full. The rate is the caller's, because thousands of buckets share one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// What is missing from a full bucket, in parts of a token.
    missing: u64,
    /// When that was so.
    at_ms: u64,
}

impl Bucket {
    /// Takes tokens out if there are as many. Whoever gets none changes nothing: hammering neither delays the refill nor hastens it.
    pub(crate) fn take(&mut self, rate: Rate, tokens: u32, now_ms: u64) -> bool {
        self.refill(rate, now_ms);
        let missing = self.missing + u64::from(tokens) * TOKEN;
        let has_them = missing <= u64::from(rate.burst) * TOKEN;
        if has_them {
            self.missing = missing;
        }
        has_them
    }

    /// A time before that of the last call counts as the same moment.
    fn refill(&mut self, rate: Rate, now_ms: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.at_ms);
        let filled = elapsed_ms.saturating_mul(rate.per_second.into());
        self.missing = self.missing.saturating_sub(filled);
        self.at_ms = self.at_ms.max(now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32, burst: u32) -> Rate {
        Rate::new(per_second, burst).expect("a rate above zero")
    }

    /// How many of one try each at these moments succeed.
    fn taken(rate: Rate, moments: impl IntoIterator<Item = u64>) -> u64 {
        let mut bucket = Bucket::default();
        let moments = moments.into_iter();
        moments
            .map(|now| u64::from(bucket.take(rate, 1, now)))
            .sum()
    }

    #[test]
    fn a_burst_passes_whole_and_not_one_more() {
        assert_eq!(taken(rate(10, 5), [0; 100]), 5);
        assert_eq!(taken(rate(1, 0), [0; 100]), 1);
        assert_eq!(Rate::new(0, 5), None);
    }

    #[test]
    fn hammering_gets_exactly_the_rate() {
        // Every millisecond for an hour, at rates that a millisecond does not divide.
        for per_second in [1, 3, 7, 300, 333, 999, 1000, 1001] {
            let hour_ms = 3_600_000;
            let burst = per_second;
            let got = taken(rate(per_second, burst), 0..=hour_ms);
            let allowed = u64::from(burst) + u64::from(per_second) * hour_ms / 1000;
            // No more tries than one a millisecond.
            assert_eq!(got, allowed.min(hour_ms + 1), "{per_second} per second");
        }
    }

    #[test]
    fn a_try_that_fails_costs_nothing() {
        let rate = rate(1, 1);
        let mut bucket = Bucket::default();
        assert!(bucket.take(rate, 1, 0));
        for now in 0..1000 {
            assert!(!bucket.take(rate, 1, now), "at {now} ms");
        }
        assert!(bucket.take(rate, 1, 1000));
        assert!(!bucket.take(rate, 1, 1000));
    }

    #[test]
    fn what_is_not_used_is_kept_up_to_the_burst() {
        let rate = rate(10, 3);
        let mut bucket = Bucket::default();
        assert!(bucket.take(rate, 3, 0));
        let day_ms = 86_400_000;
        assert!(bucket.take(rate, 3, day_ms) && !bucket.take(rate, 1, day_ms));
    }

    #[test]
    fn more_than_the_bucket_holds_never_passes() {
        let mut bucket = Bucket::default();
        assert!(!bucket.take(rate(1, 10), 11, u64::MAX));
        assert!(bucket.take(rate(1, 10), 10, u64::MAX));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let rate = rate(1, 1);
        let mut bucket = Bucket::default();
        assert!(bucket.take(rate, 1, 5_000));
        for now in [0, 4_999, 5_000, 0, 5_999] {
            assert!(!bucket.take(rate, 1, now), "at {now} ms");
        }
        assert!(bucket.take(rate, 1, 6_000));
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let rate = rate(u32::MAX, u32::MAX);
        let mut bucket = Bucket::default();
        for now in [0, 1, u64::MAX / 2, u64::MAX] {
            assert!(bucket.take(rate, u32::MAX, now) || now == 1, "at {now} ms");
        }
    }
}
