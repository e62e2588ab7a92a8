//! Who is where on this node, for one namespace.
//!
//! A [`Rooms`] answers the one question a broadcast asks: which members does it reach? Everything else (what a member is, how bytes get
//! to it) is the caller's, who stores a cheap handle `M` per member.
//!
//! Shape: members live in a slab and are named by a [`Slot`]; a room is a dense array of occupants, each with its own copy of the handle,
//! so that a broadcast to one room walks one array and hashes nothing. Occupants and memberships point at each other by index, hence
//! joining and leaving move at most one element at each end.

mod select;
mod shrink;
mod slab;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use shrink::{shrink_map, shrink_vec};
use slab::Slab;

/// Names a member of a [`Rooms`] for as long as it is there.
///
/// A slot of a removed member is never mistaken for its successor: commands on it do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    index: u32,
    generation: u32,
}

/// The members of one namespace on this node and the rooms they are in.
///
/// Every member is implicitly in the room named by its own id. That room costs nothing; somebody else may join a room of that name too,
/// and then both are reached.
#[derive(Debug)]
pub struct Rooms<M: Clone> {
    members: Slab<Member<M>>,
    by_id: HashMap<Arc<str>, Slot>,
    rooms: Slab<Room<M>>,
    by_name: HashMap<Arc<str>, u32>,
    /// Rooms that have come or gone, where somebody wants to know.
    changes: Option<Vec<Arc<str>>>,
}

#[derive(Debug)]
struct Member<M> {
    id: Arc<str>,
    handle: M,
    generation: u32,
    memberships: Vec<Membership>,
}

/// A member's side of "is in this room": `position` is its index among the room's occupants.
#[derive(Debug)]
struct Membership {
    room: u32,
    position: u32,
}

#[derive(Debug)]
struct Room<M> {
    name: Arc<str>,
    occupants: Vec<Occupant<M>>,
    watchers: u32,
}

/// A room's side of the same fact: `membership` is the index in that member's list.
#[derive(Debug)]
struct Occupant<M> {
    handle: M,
    member: u32,
    membership: u32,
}

impl<M: Clone> Default for Rooms<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Clone> Rooms<M> {
    /// Nobody, nowhere; allocates nothing.
    pub fn new() -> Self {
        Self {
            members: Slab::new(),
            by_id: HashMap::new(),
            rooms: Slab::new(),
            by_name: HashMap::new(),
            changes: None,
        }
    }

    /// Notes from now on which rooms come and go, those of the members' own ids among them.
    pub fn note_changes(&mut self) {
        self.changes.get_or_insert_default();
    }

    /// The rooms that have come or gone since the last call, where changes are noted; perhaps several times.
    pub fn take_changes(&mut self) -> Vec<Arc<str>> {
        self.changes
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// True when there is no member; watched rooms may still exist.
    pub fn is_empty(&self) -> bool {
        self.members.len() == 0
    }

    /// Number of rooms with a member or a watcher, not counting the implicit room of each member.
    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// Adds a member. Ids are unique by construction (random); should one come twice, its implicit room reaches the newer member.
    pub fn insert(&mut self, id: &str, member: M) -> Slot {
        let id: Arc<str> = Arc::from(id);
        let generation = self.members.next_generation();
        let index = self.members.insert(Member {
            id: id.clone(),
            handle: member,
            generation,
            memberships: Vec::new(),
        });
        let slot = Slot { index, generation };
        self.note(&id);
        self.by_id.insert(id, slot);
        slot
    }

    /// Removes a member from every room and from here; gives its handle back, or `None` when it was gone already.
    pub fn remove(&mut self, slot: Slot) -> Option<M> {
        self.member(slot)?;
        while let Some(last) = self
            .members
            .get(slot.index)
            .and_then(|member| member.memberships.len().checked_sub(1))
        {
            self.detach(slot.index, last);
        }
        let member = self.members.remove(slot.index)?;
        if let Entry::Occupied(entry) = self.by_id.entry(member.id.clone())
            && *entry.get() == slot
        {
            entry.remove();
            self.note(&member.id);
            shrink_map(&mut self.by_id);
        }
        Some(member.handle)
    }

    /// Puts a member into a room. True when the room was not known here before (see [`Rooms::has_room`]).
    ///
    /// Joining twice, joining one's own id and joining after removal change nothing and give false.
    pub fn join(&mut self, slot: Slot, room: &str) -> bool {
        let Some(member) = self.member(slot) else {
            return false;
        };
        if &*member.id == room {
            return false;
        }
        let handle = member.handle.clone();
        let known = self.by_name.get(room).copied();
        let existed = known.is_some() || self.by_id.contains_key(room);
        let room = known.unwrap_or_else(|| self.create_room(room));
        if self.find_membership(slot.index, room).is_some() {
            return false;
        }
        let (Some(member), Some(occupied)) =
            (self.members.get_mut(slot.index), self.rooms.get_mut(room))
        else {
            return false;
        };
        let position = occupied.occupants.len() as u32;
        let membership = member.memberships.len() as u32;
        if member.memberships.is_empty() {
            // Most members are in exactly one room: the default growth would reserve four.
            member.memberships.reserve_exact(1);
        }
        member.memberships.push(Membership { room, position });
        occupied.occupants.push(Occupant {
            handle,
            member: slot.index,
            membership,
        });
        !existed
    }

    /// Takes a member out of a room. True when the room is no longer known here.
    ///
    /// Nobody can leave the implicit room of their own id; that, and leaving a room one is not in, change nothing and give false.
    pub fn leave(&mut self, slot: Slot, room: &str) -> bool {
        if self.member(slot).is_none() {
            return false;
        }
        let Some(&index) = self.by_name.get(room) else {
            return false;
        };
        let Some(membership) = self.find_membership(slot.index, index) else {
            return false;
        };
        self.detach(slot.index, membership);
        !self.has_room(room)
    }

    /// The rooms of a member: its own id first, then the joined ones in no particular order. Empty after removal.
    pub fn rooms_of(&self, slot: Slot) -> impl Iterator<Item = &str> {
        self.member(slot).into_iter().flat_map(|member| {
            let joined = member
                .memberships
                .iter()
                .filter_map(|membership| self.rooms.get(membership.room));
            std::iter::once(&*member.id).chain(joined.map(|room| &*room.name))
        })
    }

    /// How many rooms a member is in, that of its own id not counted.
    pub fn joined_count(&self, slot: Slot) -> usize {
        self.member(slot)
            .map_or(0, |member| member.memberships.len())
    }

    /// True when the member is in the room (its own id included).
    pub fn is_in(&self, slot: Slot, room: &str) -> bool {
        self.member(slot).is_some_and(|member| {
            &*member.id == room
                || self
                    .by_name
                    .get(room)
                    .is_some_and(|&index| self.find_membership(slot.index, index).is_some())
        })
    }

    /// True when a message for that room concerns this node: it has a member, a watcher, or is the id of a member.
    pub fn has_room(&self, room: &str) -> bool {
        self.by_name.contains_key(room) || self.by_id.contains_key(room)
    }

    /// Keeps a room known here without a member, until [`Rooms::unwatch`] was called as often.
    /// True when the room was not known before.
    pub fn watch(&mut self, room: &str) -> bool {
        let existed = self.has_room(room);
        let index = self.room_or_create(room);
        if let Some(room) = self.rooms.get_mut(index) {
            room.watchers = room.watchers.saturating_add(1);
        }
        !existed
    }

    /// Undoes one [`Rooms::watch`]. True when the room is no longer known here.
    pub fn unwatch(&mut self, room: &str) -> bool {
        let Some(&index) = self.by_name.get(room) else {
            return false;
        };
        let Some(watched) = self.rooms.get_mut(index) else {
            return false;
        };
        watched.watchers = watched.watchers.saturating_sub(1);
        self.drop_room_if_unused(index);
        !self.has_room(room)
    }

    /// The handle of the member with that id.
    pub fn by_id(&self, id: &str) -> Option<&M> {
        self.by_id
            .get(id)
            .and_then(|slot| self.members.get(slot.index))
            .map(|member| &member.handle)
    }

    /// The ids of the members in a room (the member of that id included), in no particular order.
    pub fn local_sids(&self, room: &str) -> impl Iterator<Item = &str> {
        let own = self
            .by_id
            .get(room)
            .and_then(|slot| self.members.get(slot.index));
        let joined = self
            .by_name
            .get(room)
            .and_then(|&index| self.rooms.get(index));
        let joined = joined.into_iter().flat_map(|room| &room.occupants);
        own.into_iter()
            .chain(joined.filter_map(|occupant| self.members.get(occupant.member)))
            .map(|member| &*member.id)
    }

    /// The names of all rooms here, implicit ones excluded, in no particular order.
    pub fn room_names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(|name| &**name)
    }

    /// How many entries the tables could hold without growing: a measure of kept memory, zero when everybody has left.
    pub fn memory_capacity(&self) -> usize {
        self.members.capacity()
            + self.rooms.capacity()
            + self.by_id.capacity()
            + self.by_name.capacity()
    }

    fn member(&self, slot: Slot) -> Option<&Member<M>> {
        self.members
            .get(slot.index)
            .filter(|member| member.generation == slot.generation)
    }

    fn note(&mut self, room: &Arc<str>) {
        if let Some(changes) = &mut self.changes {
            changes.push(room.clone());
        }
    }

    fn room_or_create(&mut self, name: &str) -> u32 {
        let known = self.by_name.get(name).copied();
        known.unwrap_or_else(|| self.create_room(name))
    }

    fn create_room(&mut self, name: &str) -> u32 {
        let name: Arc<str> = Arc::from(name);
        let index = self.rooms.insert(Room {
            name: name.clone(),
            occupants: Vec::new(),
            watchers: 0,
        });
        self.note(&name);
        self.by_name.insert(name, index);
        index
    }

    /// Index of the membership, found by scanning the shorter of the two lists: rooms of the member, or occupants of the room.
    fn find_membership(&self, member: u32, room: u32) -> Option<usize> {
        let memberships = &self.members.get(member)?.memberships;
        let occupants = &self.rooms.get(room)?.occupants;
        if memberships.len() <= occupants.len() {
            memberships
                .iter()
                .position(|membership| membership.room == room)
        } else {
            occupants
                .iter()
                .find(|occupant| occupant.member == member)
                .map(|occupant| occupant.membership as usize)
        }
    }

    /// Removes one membership at both ends and repairs the two links that `swap_remove` moved.
    fn detach(&mut self, member: u32, membership: usize) {
        let Some(memberships) = self
            .members
            .get_mut(member)
            .map(|member| &mut member.memberships)
        else {
            return;
        };
        let Membership { room, position } = memberships.swap_remove(membership);
        shrink_vec(memberships);
        if let Some(moved) = memberships.get(membership)
            && let Some(room) = self.rooms.get_mut(moved.room)
        {
            room.occupants[moved.position as usize].membership = membership as u32;
        }
        let Some(left) = self.rooms.get_mut(room) else {
            return;
        };
        left.occupants.swap_remove(position as usize);
        shrink_vec(&mut left.occupants);
        if let Some(moved) = left.occupants.get(position as usize)
            && let Some(member) = self.members.get_mut(moved.member)
        {
            member.memberships[moved.membership as usize].position = position;
        }
        self.drop_room_if_unused(room);
    }

    fn drop_room_if_unused(&mut self, index: u32) {
        let unused = self
            .rooms
            .get(index)
            .is_some_and(|room| room.occupants.is_empty() && room.watchers == 0);
        if unused && let Some(room) = self.rooms.remove(index) {
            self.by_name.remove(&room.name);
            self.note(&room.name);
            shrink_map(&mut self.by_name);
        }
    }
}
