//! Giving memory back.

use std::collections::HashMap;
use std::hash::Hash;

/// A collection gives memory back when it is this many times larger than what it holds: rare enough to stay amortised O(1).
const SHRINK_FACTOR: usize = 4;

/// Below this capacity nothing is gained by shrinking.
const SHRINK_MINIMUM: usize = 32;

pub(super) fn shrink_vec<T>(vec: &mut Vec<T>) {
    if vec.is_empty() {
        *vec = Vec::new();
    } else if vec.capacity() > SHRINK_MINIMUM && vec.capacity() / SHRINK_FACTOR > vec.len() {
        vec.shrink_to(vec.len() * 2);
    }
}

pub(super) fn shrink_map<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if map.is_empty() {
        map.shrink_to(0);
    } else if map.capacity() > SHRINK_MINIMUM && map.capacity() / SHRINK_FACTOR > map.len() {
        map.shrink_to(map.len() * 2);
    }
}
