//! Rooms that this node has told the others to join a moment ago.

use std::collections::{HashMap, VecDeque};

use crate::limits::{JOIN_SETTLES_MS, MAX_JOINED_ROOMS};

/// Nobody may listen to the channel of such a room yet. Where there are too many, all rooms are taken for such.
#[derive(Debug, Default)]
pub(super) struct Joined {
    /// Until when, by the name of the room.
    until_ms: HashMap<String, u64>,
    /// The same in the order of time.
    order: VecDeque<(u64, String)>,
    all_until_ms: u64,
}

impl Joined {
    pub(super) fn note(&mut self, rooms: &[String], now_ms: u64) {
        self.expire(now_ms);
        let until_ms = now_ms.saturating_add(JOIN_SETTLES_MS);
        if self.order.len() + rooms.len() > MAX_JOINED_ROOMS {
            // None that is in the table lasts longer.
            *self = Self {
                all_until_ms: until_ms,
                ..Self::default()
            };
            return;
        }
        for room in rooms {
            self.until_ms.insert(room.clone(), until_ms);
            self.order.push_back((until_ms, room.clone()));
        }
    }

    pub(super) fn holds(&mut self, room: &str, now_ms: u64) -> bool {
        self.expire(now_ms);
        now_ms < self.all_until_ms || self.until_ms.contains_key(room)
    }

    fn expire(&mut self, now_ms: u64) {
        while let Some((_, room)) = self.order.pop_front_if(|(until_ms, _)| *until_ms <= now_ms) {
            // It may have been noted again since.
            if self
                .until_ms
                .get(&room)
                .is_some_and(|&until_ms| until_ms <= now_ms)
            {
                self.until_ms.remove(&room);
            }
        }
    }
}
