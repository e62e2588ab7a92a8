//! Changing who is in which room.

use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, RwLockWriteGuard};

use unisono_cluster::rooms::Rooms;

use super::{Resident, SpaceInner};

/// The rooms, to be changed. When it is let go of, the bus is asked for the channels of rooms that have come, and later to leave those of
/// rooms that have gone.
pub(crate) struct RoomsMut<'a> {
    space: &'a SpaceInner,
    /// There until it is dropped.
    rooms: Option<RwLockWriteGuard<'a, Rooms<Resident>>>,
}

const HELD: &str = "the rooms are held until the guard is dropped";

impl SpaceInner {
    pub(crate) fn rooms_mut(&self) -> RoomsMut<'_> {
        let rooms = self.rooms.write().unwrap_or_else(PoisonError::into_inner);
        RoomsMut {
            space: self,
            rooms: Some(rooms),
        }
    }
}

impl Deref for RoomsMut<'_> {
    type Target = Rooms<Resident>;

    fn deref(&self) -> &Self::Target {
        self.rooms.as_ref().expect(HELD)
    }
}

impl DerefMut for RoomsMut<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.rooms.as_mut().expect(HELD)
    }
}

impl Drop for RoomsMut<'_> {
    fn drop(&mut self) {
        let changes = self.take_changes();
        self.rooms = None;
        if let Some(following) = &self.space.following
            && !changes.is_empty()
        {
            following.follow(&changes, self.space);
        }
    }
}
