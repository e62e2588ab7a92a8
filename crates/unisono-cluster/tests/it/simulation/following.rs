//! Which channels of rooms a pod listens to, as `unisono` does it for the sharded adapter.

use std::collections::{BTreeMap, BTreeSet};

use unisono_cluster::sharded::{Followed, private_channel};
use unisono_cluster::{Adapter, Subscription, SubscriptionMode};

use super::bus::Up;
use super::members::ROOMS;
use super::sabotage::Sabotage;
use super::world::World;

/// How long it takes at most, where nothing is wrong, until a room's channel is listened to.
const FOLLOWS_MS: u64 = 50;

#[derive(Debug, Default)]
pub(super) struct Following {
    followed: Followed,
    /// Rooms that somebody is in, and since when.
    rooms: BTreeMap<&'static str, u64>,
    /// Those of these and of others that were left a moment ago.
    channels: BTreeSet<String>,
}

impl Following {
    pub(super) fn subscriptions(&self) -> impl Iterator<Item = Subscription> {
        self.channels.iter().cloned().map(Subscription::Channel)
    }
}

impl World {
    /// Somebody has come into a room of the pod, or gone.
    pub(super) fn follow(&mut self, pod: usize) {
        let mode = match self.adapter {
            Adapter::Classic | Adapter::Sharded(SubscriptionMode::Static) => return,
            Adapter::Sharded(mode) => mode,
        };
        let now_ms = self.now_ms;
        for room in ROOMS {
            let one = &mut self.pods[pod];
            let is_wanted = one.rooms.has_room(room) && mode.listens_apart(room, false);
            let channel = private_channel("socket.io", "/", room);
            let Following {
                followed,
                rooms,
                channels,
            } = &mut one.following;
            if is_wanted && !rooms.contains_key(room) {
                rooms.insert(room, now_ms);
                if followed.acquire(&channel) {
                    channels.insert(channel.clone());
                    self.tell_bus(pod, Up::Subscribe(Subscription::Channel(channel)));
                }
            } else if !is_wanted && rooms.remove(room).is_some() {
                followed.release(&channel, now_ms);
            }
        }
    }

    /// Those that nobody has come back to.
    pub(super) fn leave_rooms(&mut self, pod: usize) {
        let now_ms = self.now_ms;
        let Following {
            followed, channels, ..
        } = &mut self.pods[pod].following;
        let mut gone = followed.expire(now_ms);
        if self.sabotage == Some(Sabotage::LeaveRooms) {
            gone.extend(channels.first().map(|channel| channel.as_str().into()));
        }
        for channel in &gone {
            channels.remove(&**channel);
        }
        for channel in gone {
            let subscription = Subscription::Channel(channel.to_string());
            self.tell_bus(pod, Up::Unsubscribe(subscription));
        }
    }

    fn tell_bus(&mut self, pod: usize, frame: Up) {
        if let Some(index) = self.pods[pod].link.connection {
            self.send_up(index, frame);
        }
    }

    /// Members of a pod where somebody has come into the room a moment ago may get what is published on its channel, and need not.
    pub(super) fn excuse_newcomers(&mut self, from: usize, id: usize, channel: &str) {
        let is_this = |room: &&&str| private_channel("socket.io", "/", room) == channel;
        let Some(room) = ROOMS.iter().find(is_this) else {
            return;
        };
        let listens = |pod: usize| {
            let since_ms = self.pods[pod].following.rooms.get(room);
            since_ms.is_some_and(|since_ms| since_ms + FOLLOWS_MS <= self.now_ms)
        };
        let members = self.record.sent[id].to.keys().copied();
        let newcomers = members.filter(|member| {
            let pod = self.members[*member].pod;
            pod != from && !listens(pod)
        });
        for member in newcomers.collect::<Vec<_>>() {
            self.record.sent[id].to.insert(member, false);
        }
    }
}
