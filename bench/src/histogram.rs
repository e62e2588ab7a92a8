//! Latencies in logarithmic buckets: constant memory however many are recorded.

/// Sub-buckets per power of two: a reported percentile is at most 1/32 (3 %) above the true one.
const STEPS_PER_OCTAVE: usize = 32;
/// Nanoseconds up to 2^40 (18 minutes), far beyond any run; what is longer counts as the last bucket.
const OCTAVES: usize = 40;

/// A histogram of durations in nanoseconds.
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: vec![0; OCTAVES * STEPS_PER_OCTAVE],
            count: 0,
        }
    }
}

impl Histogram {
    /// Records one duration.
    pub fn record(&mut self, nanoseconds: u64) {
        self.buckets[index(nanoseconds)] += 1;
        self.count += 1;
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The duration in microseconds that `share` (0 to 1) of the recorded ones do not exceed; 0 when none was recorded.
    pub fn percentile_us(&self, share: f64) -> f64 {
        let rank = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank && *count > 0 {
                return upper_bound(bucket) as f64 / 1000.0;
            }
        }
        0.0
    }
}

/// Small values have a bucket each; above, the leading bits choose it.
fn index(value: u64) -> usize {
    if value < STEPS_PER_OCTAVE as u64 {
        return value as usize;
    }
    let octave = value.ilog2() as usize - STEPS_PER_OCTAVE.ilog2() as usize;
    let step = (value >> octave) as usize - STEPS_PER_OCTAVE;
    ((octave + 1) * STEPS_PER_OCTAVE + step).min(OCTAVES * STEPS_PER_OCTAVE - 1)
}

/// The largest value of a bucket.
fn upper_bound(bucket: usize) -> u64 {
    let (octave, step) = (
        bucket / STEPS_PER_OCTAVE,
        (bucket % STEPS_PER_OCTAVE) as u64,
    );
    match octave {
        0 => step,
        octave => ((STEPS_PER_OCTAVE as u64 + step + 1) << (octave - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: impl Iterator<Item = u64>, share: f64, expected_us: f64) {
        let mut histogram = Histogram::default();
        values.for_each(|value| histogram.record(value));
        let got = histogram.percentile_us(share);
        assert!(
            (got - expected_us).abs() <= expected_us * 0.035,
            "{got} is not within 3.5 % of {expected_us}"
        );
    }

    #[test]
    fn percentiles_are_within_a_step() {
        check(std::iter::empty(), 0.5, 0.0);
        check(std::iter::once(31), 0.5, 0.031);
        check(1..=100_000, 0.5, 50.0);
        check(1..=100_000, 0.99, 99.0);
        check((1..=100).map(|n| n * 1_000_000), 1.0, 100_000.0);
    }

    #[test]
    fn every_value_lies_in_its_bucket() {
        for value in (0..64)
            .map(|bit| 1u64 << bit)
            .flat_map(|n| [n - 1, n, n + 1])
            .filter(|n| *n < 1 << 40)
        {
            let bucket = index(value);
            assert!(value <= upper_bound(bucket), "{value}");
            assert!(bucket == 0 || value > upper_bound(bucket - 1), "{value}");
        }
        assert_eq!(index(u64::MAX), OCTAVES * STEPS_PER_OCTAVE - 1);
    }
}
