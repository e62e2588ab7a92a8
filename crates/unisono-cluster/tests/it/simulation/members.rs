//! Who is where, by the simulation's own account and by the true [`Rooms`](unisono_cluster::Rooms).

use unisono_cluster::{Broadcast, Slot};

use super::sabotage::Sabotage;
use super::world::World;

/// In the last of them is nobody at first.
pub(super) const ROOMS: [&str; 4] = ["red", "green", "blue", "gold"];

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) pod: usize,
    slot: Slot,
    pub(super) is_here: bool,
    /// By the simulation's own account.
    rooms: Vec<&'static str>,
    pub(super) log: Vec<Heard>,
}

/// What a member got.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) id: usize,
    pub(super) at_ms: u64,
    pub(super) revision: Option<u32>,
}

/// Whom something is for, as bits of [`ROOMS`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Audience {
    pub(super) rooms: u8,
    pub(super) except: u8,
}

impl Audience {
    pub(super) const ALL: Self = Self {
        rooms: 0,
        except: 0,
    };
}

pub(super) fn names(bits: u8) -> Vec<String> {
    let named = ROOMS.iter().enumerate();
    let named = named.filter(|(index, _)| bits & 1 << index != 0);
    named.map(|(_, &name)| name.to_owned()).collect()
}

impl Member {
    pub(super) fn is_meant(&self, broadcast: &Broadcast) -> bool {
        let is_in = |rooms: &[String]| rooms.iter().any(|room| self.rooms.contains(&room.as_str()));
        self.is_here
            && (broadcast.rooms.is_empty() || is_in(&broadcast.rooms))
            && !is_in(&broadcast.except)
    }
}

impl World {
    pub(super) fn enter(&mut self, pod: usize, rooms: u8) {
        let member = self.members.len();
        let id = format!("member{member}");
        let slot = self.pods[pod].rooms.insert(&id, member);
        self.members.push(Member {
            id,
            pod,
            slot,
            is_here: true,
            rooms: Vec::new(),
            log: Vec::new(),
        });
        self.member_changes(member, false);
        for index in (0..ROOMS.len()).filter(|index| rooms & 1 << index != 0) {
            self.join(member, index);
        }
    }

    pub(super) fn exit(&mut self, member: usize) {
        self.member_changes(member, false);
        self.members[member].is_here = false;
        self.remove(member);
    }

    pub(super) fn remove(&mut self, member: usize) {
        let Member { pod, slot, .. } = self.members[member];
        if self.sabotage != Some(Sabotage::KeepMembers) {
            self.pods[pod].rooms.remove(slot);
        }
        self.follow(pod);
    }

    pub(super) fn join(&mut self, member: usize, room: usize) {
        self.member_changes(member, true);
        let one = &mut self.members[member];
        if !one.rooms.contains(&ROOMS[room]) {
            one.rooms.push(ROOMS[room]);
        }
        self.pods[one.pod].rooms.join(one.slot, ROOMS[room]);
        self.follow(self.members[member].pod);
    }

    pub(super) fn leave(&mut self, member: usize, room: usize) {
        self.member_changes(member, false);
        let one = &mut self.members[member];
        one.rooms.retain(|name| *name != ROOMS[room]);
        self.pods[one.pod].rooms.leave(one.slot, ROOMS[room]);
        self.follow(self.members[member].pod);
    }

    fn member_changes(&mut self, member: usize, is_join: bool) {
        let log = &self.members[member].log;
        let heard = |id: usize| log.iter().any(|heard| heard.id == id);
        self.record
            .member_changed(member, is_join, heard, self.now_ms);
    }
}
