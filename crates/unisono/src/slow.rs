//! Clients that do not read as fast as they are told: what becomes of what waits for them.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use unisono_proto::Value;

use crate::conn::{Mailbox, QueueLimits};
use crate::outgoing::Outgoing;

/// How many of the messages that wait for a client are looked through for an earlier one with the same key, the newest first. Keyed events
/// alone never make a queue longer than there are keys; this bounds the work where they are mixed with many others, whose place an
/// older one then keeps.
const MAX_LOOKED_THROUGH: usize = 256;

/// What happens to a namespace's events that wait for a client which does not read, once
/// [its queue](crate::Builder::queue_limits) is full.
///
/// Only plain events that have not begun to leave are ever dropped, whole, with their attachments. Never dropped are answers to CONNECT,
/// acknowledgements, events that ask for one, DISCONNECT, and what keeps the connection alive. If the queue is still full then, the client
/// is closed. Whatever the policy, a client that takes nothing at all for [some time](crate::Builder::write_timeout) is closed.
///
/// The policy is the node's: it holds for events from handlers here, from other nodes and from emitters alike.
///
/// ```
/// use unisono::{Namespace, SlowReaders, Value};
///
/// // Positions: whoever falls behind wants to know where everybody is, not where they were.
/// let positions = SlowReaders::keep_latest(|event, args| {
///     let user = args.first()?.get("userId")?.as_str()?;
///     (event == "position").then(|| user.to_owned())
/// });
/// let map = Namespace::new("/map").slow_readers(positions);
/// let ticker = Namespace::new("/ticker").slow_readers(SlowReaders::DropOldest);
/// # let _ = (map, ticker);
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum SlowReaders {
    /// The client is closed. It comes back by itself, and finds out what it has missed.
    #[default]
    Close,
    /// The events that have waited longest are dropped, as many as it takes, to make room for whatever comes, of this namespace or another. For events that are worth less the older they are.
    DropOldest,
    /// An event takes the place of an earlier one with the same key that still waits, whether the queue is full or not, and be it for a
    /// moment only: of several emitted at once even the fastest client gets one. The earlier is dropped, the new one goes to the end. Events without a key are as under [`SlowReaders::Close`]. For states, of which only the newest
    /// matters. Made by [`SlowReaders::keep_latest`].
    KeepLatest(KeyOf),
}

/// Finds an event's key.
#[derive(Clone)]
pub struct KeyOf {
    find: Arc<FindKey>,
    /// Random for each policy, so that nobody can choose keys that collide.
    hasher: RandomState,
}

type FindKey = dyn Fn(&str, &[Value]) -> Option<String> + Send + Sync;

impl SlowReaders {
    /// [`SlowReaders::KeepLatest`] with this key. `key` is called for each event on each node, on the origin of an ordered one twice, with its
    /// name and its arguments; it must not wait. `None`: the event has no key.
    pub fn keep_latest(
        key: impl Fn(&str, &[Value]) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self::KeepLatest(KeyOf {
            find: Arc::new(key),
            hasher: RandomState::new(),
        })
    }

    /// What may become of this event of `nsp` while it waits; `args` begins with its name.
    pub(crate) fn spares(&self, nsp: &str, args: &[Value]) -> Spare {
        match self {
            Self::Close => Spare::No,
            Self::DropOldest => Spare::Oldest,
            Self::KeepLatest(key_of) => {
                let Some((name, args)) = args.split_first() else {
                    return Spare::No;
                };
                let find = || (key_of.find)(name.as_str().unwrap_or_default(), args);
                // A key that cannot be found is none; the event goes out all the same.
                let key = catch_unwind(AssertUnwindSafe(find)).unwrap_or_else(|_| {
                    tracing::error!("the key function of a namespace panicked");
                    None
                });
                key.map_or(Spare::No, |key| {
                    Spare::Older(key_of.hasher.hash_one((nsp, key)))
                })
            }
        }
    }
}

impl fmt::Debug for SlowReaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Close => "Close",
            Self::DropOldest => "DropOldest",
            Self::KeepLatest(_) => "KeepLatest",
        })
    }
}

impl fmt::Debug for KeyOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyOf")
    }
}

/// Whether a message that waits can be done without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Spare {
    /// It cannot.
    #[default]
    No,
    /// It can when the queue is full.
    Oldest,
    /// It can when one with the same key comes. It is a hash of 64 bits of namespace and key, random for each policy: that two of a queue's keys are
    /// taken for one happens less often than once in 10^12 full queues.
    Older(u64),
}

impl Mailbox {
    /// Takes out an earlier message that `message` stands for as well.
    pub(crate) fn supersede(&mut self, message: &Outgoing) -> bool {
        let Spare::Older(_) = message.spare() else {
            return false;
        };
        let newest_first = self.queue.iter().rev().take(MAX_LOOKED_THROUGH);
        let earlier = newest_first
            .enumerate()
            .find(|(_, waiting)| waiting.spare() == message.spare())
            .map(|(back, _)| self.queue.len() - 1 - back);
        let found = earlier.and_then(|index| self.queue.remove(index));
        if let Some(dropped) = &found {
            self.bytes -= dropped.len();
        }
        found.is_some()
    }

    /// Whether `message` may wait. One always may, however large: `max_payload` bounds what clients send, not what the application does.
    pub(crate) fn has_room(&self, message: &Outgoing, limits: QueueLimits) -> bool {
        let begun = usize::from(self.begun > 0);
        let messages = self.queue.len() + begun;
        messages == 0
            || (messages < limits.messages
                && self.bytes + self.begun + message.len() <= limits.bytes)
    }

    /// Drops what has waited longest and can be done without, until there is room for `message`. How many were dropped.
    pub(crate) fn make_room(&mut self, message: &Outgoing, limits: QueueLimits) -> usize {
        let mut dropped = 0;
        let mut index = 0;
        while !self.has_room(message, limits) {
            let Some(waiting) = self.queue.get(index) else {
                break;
            };
            if waiting.spare() == Spare::Oldest {
                self.bytes -= waiting.len();
                self.queue.remove(index);
                dropped += 1;
            } else {
                index += 1;
            }
        }
        dropped
    }
}
