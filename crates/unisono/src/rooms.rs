//! The rooms of one socket.

use std::collections::HashSet;

use unisono_cluster::rooms::Slot;

use crate::socket::Socket;
use crate::space::SpaceInner;
use crate::stats::Refusal;

/// Longest name of a room in bytes. Each node keeps it once and it travels with every message to the room; clients often choose it.
pub const MAX_ROOM_NAME: usize = 512;

/// Why a socket is not put into a room. It is in the same rooms as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RoomError {
    /// The socket would be in more rooms than [`IoBuilder::max_rooms`](crate::IoBuilder::max_rooms) allows. Counted.
    #[error("the socket is in as many rooms as it may be; leave some, or raise `max_rooms`")]
    TooMany,
    /// A name longer than [`MAX_ROOM_NAME`]. Counted.
    #[error("the name of a room has at most {MAX_ROOM_NAME} bytes")]
    NameTooLong,
}

impl Socket {
    /// Puts the socket into a room. Does not wait for Redis: with the sharded adapter, what other nodes send to a room alone does not come
    /// before the room's channel is confirmed, some milliseconds after the first socket of this node has joined it, as for Node. What is
    /// ordered, sent to several rooms or to everybody comes in any case. Joining twice changes nothing; joining after the disconnect does nothing. In a middleware it takes
    /// effect when the client joins.
    ///
    /// # Errors
    /// The bounds of [`RoomError`]: a client that makes its handlers join without end gets no further.
    pub fn join(&self, room: &str) -> Result<(), RoomError> {
        self.join_rooms(&[room])
    }

    /// Puts the socket into several rooms in one step, or into none of them.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_all<R: AsRef<str>>(
        &self,
        rooms: impl IntoIterator<Item = R>,
    ) -> Result<(), RoomError> {
        let rooms: Vec<R> = rooms.into_iter().collect();
        self.join_rooms(&rooms)
    }

    fn join_rooms<R: AsRef<str>>(&self, rooms: &[R]) -> Result<(), RoomError> {
        let joined = match self.slot() {
            Some(slot) => self.space().join(slot, rooms),
            None => self.join_early(rooms),
        };
        joined.inspect_err(|_| self.space().counters.refuse(Refusal::Rooms))
    }

    /// Before the client is in: noted, and done by [`enter`](Self::enter).
    fn join_early<R: AsRef<str>>(&self, rooms: &[R]) -> Result<(), RoomError> {
        let mut kept = self.belongings().lock();
        // It may have come in meanwhile.
        if let Some(slot) = self.slot() {
            drop(kept);
            return self.space().join(slot, rooms);
        }
        let early = &mut kept.get_or_insert_default().early_rooms;
        check(rooms, early.len(), self.space().max_rooms, |room| {
            early.contains(room)
        })?;
        early.extend(rooms.iter().map(|room| room.as_ref().to_owned()));
        Ok(())
    }

    /// Takes the socket out of a room. Nobody leaves the room of their own id.
    pub fn leave(&self, room: &str) {
        if let Some(slot) = self.slot() {
            return self.space().leave(slot, room);
        }
        let mut kept = self.belongings().lock();
        match self.slot() {
            Some(slot) => {
                drop(kept);
                self.space().leave(slot, room);
            }
            None => {
                if let Some(kept) = kept.as_mut() {
                    kept.early_rooms.remove(room);
                }
            }
        }
    }

    /// The rooms that the socket is in, its own id first; none after the disconnect.
    pub fn rooms(&self) -> Vec<String> {
        match self.slot() {
            Some(slot) => self.space().rooms_of(slot),
            None => {
                let kept = self.belongings().lock();
                let early = kept.iter().flat_map(|kept| &kept.early_rooms);
                early.cloned().collect()
            }
        }
    }

    /// Whether the socket is in a room.
    pub fn is_in(&self, room: &str) -> bool {
        match self.slot() {
            Some(slot) => self.space().is_in(slot, room),
            None => {
                let kept = self.belongings().lock();
                kept.iter().any(|kept| kept.early_rooms.contains(room))
            }
        }
    }
}

impl SpaceInner {
    /// Puts a member into all of the rooms, or into none.
    pub(crate) fn join<R: AsRef<str>>(&self, slot: Slot, names: &[R]) -> Result<(), RoomError> {
        let mut rooms = self.rooms_mut();
        let before = rooms.joined_count(slot);
        check(names, before, self.max_rooms, |room| {
            rooms.is_in(slot, room)
        })?;
        for room in names {
            rooms.join(slot, room.as_ref());
        }
        Ok(())
    }

    fn leave(&self, slot: Slot, room: &str) {
        self.rooms_mut().leave(slot, room);
    }

    pub(crate) fn rooms_of(&self, slot: Slot) -> Vec<String> {
        self.rooms().rooms_of(slot).map(str::to_owned).collect()
    }

    fn is_in(&self, slot: Slot, room: &str) -> bool {
        self.rooms().is_in(slot, room)
    }
}

/// Whether somebody who is in `before` rooms may join those of `names` that are new.
fn check<R: AsRef<str>>(
    names: &[R],
    before: usize,
    max_rooms: usize,
    is_in: impl Fn(&str) -> bool,
) -> Result<(), RoomError> {
    let names = || names.iter().map(AsRef::as_ref);
    if names().any(|room| room.len() > MAX_ROOM_NAME) {
        return Err(RoomError::NameTooLong);
    }
    // Only somebody near the bound costs a look at each name.
    if before + names().len() <= max_rooms {
        return Ok(());
    }
    let new: HashSet<&str> = names().filter(|room| !is_in(room)).collect();
    if !new.is_empty() && before + new.len() > max_rooms {
        return Err(RoomError::TooMany);
    }
    Ok(())
}
