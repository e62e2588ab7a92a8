//! The channels that a node listens to.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::limits::{MAX_LINGERING_ROOMS, ROOM_LINGER_MS};

/// Counts who needs a channel: a room may be named so that it has the same as another namespace, or as the answers to its own node. That of
/// a room is kept for a while when nobody needs it: somebody who comes back at once misses nothing, and a room that fills and empties costs
/// the bus nothing.
#[derive(Debug, Default)]
pub struct Followed {
    channels: HashMap<Arc<str>, Held>,
    /// When the last one left, and the channel, earliest first.
    left: BTreeSet<(u64, Arc<str>)>,
}

#[derive(Debug, Default)]
struct Held {
    /// How many need it.
    count: usize,
    /// Since when nobody does.
    left_ms: u64,
}

impl Followed {
    /// Somebody needs the channel. True if it is to be subscribed to now.
    pub fn acquire(&mut self, channel: &str) -> bool {
        if let Some((channel, held)) = self.channels.get_key_value(channel) {
            if held.count == 0 {
                self.left.remove(&(held.left_ms, channel.clone()));
            }
            let channel = channel.clone();
            self.channels.entry(channel).or_default().count += 1;
            return false;
        }
        let held = Held {
            count: 1,
            left_ms: 0,
        };
        self.channels.insert(channel.into(), held);
        true
    }

    /// Somebody needs it no more. True if it is to be left now, without waiting for others.
    pub fn release_at_once(&mut self, channel: &str) -> bool {
        let Some(held) = self.channels.get_mut(channel) else {
            return false;
        };
        held.count = held.count.saturating_sub(1);
        if held.count > 0 {
            return false;
        }
        if let Some((channel, held)) = self.channels.remove_entry(channel) {
            self.left.remove(&(held.left_ms, channel));
        }
        true
    }

    /// Somebody needs it no more, and may come back.
    pub fn release(&mut self, channel: &str, now_ms: u64) {
        let Some((name, _)) = self.channels.get_key_value(channel) else {
            return;
        };
        let name = name.clone();
        let Some(held) = self.channels.get_mut(channel) else {
            return;
        };
        held.count = held.count.saturating_sub(1);
        if held.count == 0 {
            let before = std::mem::replace(&mut held.left_ms, now_ms);
            self.left.remove(&(before, name.clone()));
            self.left.insert((now_ms, name));
        }
    }

    /// The channels to be left now: nobody has needed them for [`ROOM_LINGER_MS`], or too many others since.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Arc<str>> {
        let mut gone = Vec::new();
        while let Some((left_ms, _)) = self.left.first() {
            let is_over = now_ms >= left_ms.saturating_add(ROOM_LINGER_MS);
            if !is_over && self.left.len() <= MAX_LINGERING_ROOMS {
                break;
            }
            if let Some((_, channel)) = self.left.pop_first() {
                self.channels.remove(&channel);
                gone.push(channel);
            }
        }
        if !gone.is_empty() && self.channels.capacity() / 4 > self.channels.len() {
            self.channels.shrink_to(self.channels.len() * 2);
        }
        gone
    }

    /// All channels, to be left because the node ends.
    pub fn clear(&mut self) -> Vec<Arc<str>> {
        self.left.clear();
        std::mem::take(&mut self.channels).into_keys().collect()
    }

    /// How many it listens to.
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// True when it listens to none.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expire(followed: &mut Followed, now_ms: u64) -> Vec<String> {
        let gone = followed.expire(now_ms).into_iter();
        gone.map(|channel| channel.to_string()).collect()
    }

    #[test]
    fn the_first_subscribes_and_the_last_lingers() {
        let mut followed = Followed::default();
        assert!(followed.acquire("a"));
        assert!(!followed.acquire("a"));
        followed.release("a", 100);
        assert!(expire(&mut followed, u64::MAX).is_empty(), "one is left");
        followed.release("a", 200);
        assert!(expire(&mut followed, 200 + ROOM_LINGER_MS - 1).is_empty());
        assert_eq!(expire(&mut followed, 200 + ROOM_LINGER_MS), ["a"]);
        assert!(followed.is_empty());
        assert!(followed.acquire("a"), "it begins anew");
    }

    #[test]
    fn coming_back_while_it_lingers_costs_nothing() {
        let mut followed = Followed::default();
        assert!(followed.acquire("a"));
        for turn in 0..1000 {
            followed.release("a", turn);
            assert!(!followed.acquire("a"));
        }
        assert!(followed.left.is_empty());
        assert!(expire(&mut followed, u64::MAX).is_empty());
        followed.release("a", 2000);
        followed.release("a", 3000);
        followed.release("nobody's", 3000);
        assert_eq!(
            expire(&mut followed, 2000 + ROOM_LINGER_MS),
            Vec::<String>::new()
        );
        assert_eq!(expire(&mut followed, 3000 + ROOM_LINGER_MS), ["a"]);
        assert_eq!(followed.left.len(), 0);
    }

    #[test]
    fn who_needs_it_keeps_it_whoever_else_leaves() {
        let mut followed = Followed::default();
        assert!(followed.acquire("a"));
        assert!(!followed.acquire("a"));
        assert!(!followed.release_at_once("a"));
        assert!(followed.release_at_once("a"));
        assert!(!followed.release_at_once("a"), "it is left");
        assert!(followed.acquire("a"));
        assert!(!followed.acquire("a"));
        followed.release("a", 0);
        assert!(expire(&mut followed, u64::MAX).is_empty(), "one is left");
        assert!(followed.release_at_once("a"));
        assert!(followed.acquire("a"));
        followed.release("a", 0);
        assert!(followed.release_at_once("a"), "it lingers");
        assert!(followed.left.is_empty() && followed.is_empty());
    }

    #[test]
    fn not_too_many_linger_and_the_node_leaves_all_at_its_end() {
        let mut followed = Followed::default();
        for room in 0..MAX_LINGERING_ROOMS + 2 {
            assert!(followed.acquire(&room.to_string()));
            followed.release(&room.to_string(), room as u64);
        }
        assert_eq!(expire(&mut followed, 1), ["0", "1"]);
        assert_eq!(followed.len(), MAX_LINGERING_ROOMS);
        assert!(followed.acquire("here"));
        assert_eq!(followed.clear().len(), MAX_LINGERING_ROOMS + 1);
        assert!(followed.is_empty() && followed.left.is_empty());
    }
}
