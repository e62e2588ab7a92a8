//! Which members a broadcast reaches.

use super::{Room, Rooms};

impl<M: Clone> Rooms<M> {
    /// Visits every member that is in any of `rooms` and in none of `except`, each once. No rooms means everybody.
    ///
    /// One room and no exception is the hot path: a walk over a dense array, no hashing, no allocation. Anything else costs one bit
    /// per member of the namespace, in a single allocation.
    pub fn select<R: AsRef<str>, E: AsRef<str>>(
        &self,
        rooms: &[R],
        except: &[E],
        mut visit: impl FnMut(&M),
    ) {
        let mut seen = None;
        for name in except {
            self.exclude(name.as_ref(), &mut seen);
        }
        match (rooms, seen) {
            ([], None) => self
                .members
                .iter()
                .for_each(|(_, member)| visit(&member.handle)),
            ([], Some(excluded)) => {
                let reached = self
                    .members
                    .iter()
                    .filter(|(index, _)| !excluded.contains(*index));
                reached.for_each(|(_, member)| visit(&member.handle));
            }
            ([room], None) => self.select_room(room.as_ref(), visit),
            (rooms, seen) => {
                let mut seen = seen.unwrap_or_else(|| Bits::new(self.members.bound()));
                for name in rooms {
                    self.select_unseen(name.as_ref(), &mut seen, &mut visit);
                }
            }
        }
    }

    fn select_room(&self, name: &str, mut visit: impl FnMut(&M)) {
        // The member of that id cannot be an occupant too: joining one's own id is refused.
        if let Some(handle) = self.by_id(name) {
            visit(handle);
        }
        if let Some(room) = self.room(name) {
            room.occupants
                .iter()
                .for_each(|occupant| visit(&occupant.handle));
        }
    }

    fn select_unseen(&self, name: &str, seen: &mut Bits, visit: &mut impl FnMut(&M)) {
        if let Some(slot) = self.by_id.get(name)
            && seen.insert(slot.index)
            && let Some(member) = self.members.get(slot.index)
        {
            visit(&member.handle);
        }
        if let Some(room) = self.room(name) {
            for occupant in &room.occupants {
                if seen.insert(occupant.member) {
                    visit(&occupant.handle);
                }
            }
        }
    }

    fn exclude(&self, name: &str, seen: &mut Option<Bits>) {
        let own = self.by_id.get(name).map(|slot| slot.index);
        let occupants = self
            .room(name)
            .map(|room| room.occupants.as_slice())
            .unwrap_or_default();
        if own.is_none() && occupants.is_empty() {
            return;
        }
        let seen = seen.get_or_insert_with(|| Bits::new(self.members.bound()));
        for index in own
            .into_iter()
            .chain(occupants.iter().map(|occupant| occupant.member))
        {
            seen.insert(index);
        }
    }

    fn room(&self, name: &str) -> Option<&Room<M>> {
        self.rooms.get(*self.by_name.get(name)?)
    }
}

/// A set of member indices, one bit each.
struct Bits(Vec<u64>);

impl Bits {
    fn new(bound: usize) -> Self {
        Self(vec![0; bound.div_ceil(64)])
    }

    fn contains(&self, index: u32) -> bool {
        self.0
            .get(index as usize / 64)
            .is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    /// True when the index was not in the set.
    fn insert(&mut self, index: u32) -> bool {
        let Some(word) = self.0.get_mut(index as usize / 64) else {
            return false;
        };
        let bit = 1 << (index % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}
