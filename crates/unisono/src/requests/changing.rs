//! Moving and ending many sockets, on behalf of this node or of another.

use std::collections::HashSet;

use unisono_cluster::rooms::Slot;
use unisono_cluster::{Change, Members};

use crate::error::EmitError;
use crate::rooms::RoomError;
use crate::socket::Socket;
use crate::space::SpaceInner;
use crate::stats::Refusal;

impl SpaceInner {
    pub(crate) fn join_members(
        &self,
        members: &Members,
        rooms: &[String],
    ) -> Result<(), EmitError> {
        let rooms: HashSet<&str> = rooms.iter().map(String::as_str).collect();
        let sockets = self.members(members);
        // One of them may be the socket's own id. Otherwise nobody can be in so many, and nobody looks at each of them for each socket.
        if rooms.len() > self.max_rooms.saturating_add(1) && !sockets.is_empty() {
            self.counters.refuse(Refusal::Rooms);
            return Err(RoomError::TooMany.into());
        }
        let mut all = Ok(());
        for socket in sockets {
            if let Err(error) = socket.join_all(&rooms) {
                all = Err(error.into());
            }
        }
        all
    }

    pub(crate) fn leave_members(&self, members: &Members, rooms: &[String]) {
        let mut names: HashSet<&str> = rooms.iter().map(String::as_str).collect();
        {
            let known = self.rooms();
            names.retain(|room| known.has_room(room));
        }
        if names.is_empty() {
            return;
        }
        for socket in self.members(members) {
            match socket.slot() {
                Some(slot) => self.leave_all(slot, &names),
                // It is coming in just now.
                None => names.iter().for_each(|room| socket.leave(room)),
            }
        }
    }

    /// Takes a member out of all of the rooms, for the price of the shorter list: these, or those that it is in.
    fn leave_all(&self, slot: Slot, names: &HashSet<&str>) {
        let mut rooms = self.rooms_mut();
        if names.len() <= rooms.joined_count(slot) {
            for room in names {
                rooms.leave(slot, room);
            }
            return;
        }
        let left = rooms.rooms_of(slot).filter(|room| names.contains(room));
        let left: Vec<String> = left.map(str::to_owned).collect();
        for room in &left {
            rooms.leave(slot, room);
        }
    }

    pub(crate) fn disconnect_members(&self, members: &Members, close: bool) {
        for socket in self.members(members) {
            end(&socket, close);
        }
    }
}

pub(super) fn change_one(socket: &Socket, change: &Change) {
    match change {
        // A refusal is counted there.
        Change::Join(room) => drop(socket.join(room)),
        Change::Leave(room) => socket.leave(room),
        Change::Disconnect(close) => end(socket, *close),
    }
}

fn end(socket: &Socket, close: bool) {
    match close {
        true => socket.disconnect_and_close(),
        false => socket.disconnect(),
    }
}
