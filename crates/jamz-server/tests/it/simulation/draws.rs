//! What chance decides.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Numbers that depend on the seed and on what they are for, not on who else has drawn before: the server under test goes through its tables in
/// an order that differs from run to run, and a script that is shortened is to meet the same delays.
pub(super) struct Draws {
    seed: u64,
    drawn: HashMap<u64, u64>,
}

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            drawn: HashMap::new(),
        }
    }

    /// The next number, `most` at most, for something of a pod.
    pub(super) fn up_to(&mut self, most: u64, pod: usize, of: &str) -> u64 {
        let key = hash(&(self.seed, pod, of));
        let drawn = self.drawn.entry(key).or_default();
        *drawn += 1;
        hash(&(key, *drawn)) % (most + 1)
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
