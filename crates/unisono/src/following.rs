//! Which rooms of a namespace have their channel listened to: where the adapter is the sharded one.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use unisono_cluster::sharded::private_channel;
use unisono_cluster::{Adapter, SubscriptionMode};

use crate::bus::Bus;
use crate::space::SpaceInner;

/// The rooms of a namespace whose channels its bus has been asked for. Dropped with the namespace, it gives them back.
pub(crate) struct Following {
    bus: Arc<Bus>,
    nsp: Arc<str>,
    mode: SubscriptionMode,
    /// A std mutex: held to look at a few rooms and tell the broker, so that what is told last is how it is; never across an await.
    rooms: Mutex<HashSet<Arc<str>>>,
}

impl Following {
    /// `None` where no room has a channel of its own to be listened to.
    pub(crate) fn new(bus: &Arc<Bus>, nsp: &Arc<str>) -> Option<Self> {
        let mode = match bus.broker.adapter() {
            Adapter::Classic | Adapter::Sharded(SubscriptionMode::Static) => return None,
            Adapter::Sharded(mode) => mode,
        };
        Some(Self {
            bus: bus.clone(),
            nsp: nsp.clone(),
            mode,
            rooms: Mutex::default(),
        })
    }

    /// Somebody has come into these rooms, or the last one has gone. What holds now is looked up here, in one order for all callers.
    pub(crate) fn follow(&self, changed: &[Arc<str>], space: &SpaceInner) {
        let mut followed = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        for room in changed {
            let (is_here, is_id) = {
                let rooms = space.rooms();
                (rooms.has_room(room), rooms.by_id(room).is_some())
            };
            let wanted = is_here && self.mode.listens_apart(room, is_id);
            if wanted && followed.insert(room.clone()) {
                self.bus.acquire(&self.channel(room));
            } else if !wanted && followed.remove(room) {
                self.bus.release(&self.channel(room));
            }
        }
        if followed.capacity() / 4 > followed.len() {
            let len = followed.len();
            followed.shrink_to(len * 2);
        }
    }

    fn channel(&self, room: &str) -> String {
        private_channel(&self.bus.key, &self.nsp, room)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let rooms = self.rooms.get_mut().unwrap_or_else(PoisonError::into_inner);
        for room in std::mem::take(rooms) {
            self.bus.release(&self.channel(&room));
        }
    }
}
