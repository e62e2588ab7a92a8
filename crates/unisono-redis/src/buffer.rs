//! What waits to be published: bounded in bytes, in messages and in age.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::sleep;
use unisono_cluster::PublishError;

use crate::limits::{PUBLISH_BATCH_BYTES, PUBLISH_BATCH_MESSAGES};

/// How often it is looked whether all is sent.
pub(crate) const FLUSH_POLL: Duration = Duration::from_millis(5);

/// One message on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) channel: Box<str>,
    pub(crate) payload: Bytes,
    queued_ms: u64,
    /// The version of what its publisher wanted to hear by then: it is sent when that is confirmed.
    after: u64,
}

impl Outgoing {
    fn size(&self) -> usize {
        self.channel.len() + self.payload.len()
    }
}

/// The queue between those who publish and the one task that sends.
pub(crate) struct Buffer {
    // A lock, because publishing is synchronous and comes from any thread; it is held to move one message or one batch.
    queue: Mutex<Queue>,
    max_bytes: usize,
    max_messages: usize,
    max_age_ms: u64,
    /// Something was added.
    added: Notify,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Outgoing>,
    bytes: usize,
    /// When it was stopped, while it is: nothing grows older meanwhile.
    held_ms: Option<u64>,
    /// Messages of the batch that is being sent.
    in_flight: usize,
    expired: u64,
}

/// How much is waiting, and how much waited for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) bytes: usize,
    pub(crate) messages: usize,
    pub(crate) in_flight: usize,
    pub(crate) expired: u64,
}

impl Buffer {
    pub(crate) fn new(max_bytes: usize, max_messages: usize, max_age_ms: u64) -> Self {
        Self {
            queue: Mutex::default(),
            max_bytes,
            max_messages,
            max_age_ms,
            added: Notify::new(),
        }
    }

    /// Adds at the end. A message larger than the whole buffer is accepted when nothing else waits. It waits for the subscriptions of
    /// version `after`.
    pub(crate) fn push(
        &self,
        channel: &str,
        payload: Bytes,
        now_ms: u64,
        after: u64,
    ) -> Result<(), PublishError> {
        let message = Outgoing {
            channel: channel.into(),
            payload,
            queued_ms: now_ms,
            after,
        };
        let mut queue = self.lock();
        queue.expire(now_ms, self.max_age_ms);
        let full = queue.messages.len() >= self.max_messages
            || queue.bytes + message.size() > self.max_bytes;
        if full && !queue.messages.is_empty() {
            return Err(PublishError::BufferFull);
        }
        queue.bytes += message.size();
        queue.messages.push_back(message);
        drop(queue);
        self.added.notify_one();
        Ok(())
    }

    /// Takes the next messages to send together, oldest first, up to the first that waits for subscriptions later than those `followed`.
    /// They count as in flight until [`Buffer::batch_done`].
    pub(crate) fn next_batch(&self, now_ms: u64, followed: u64) -> Vec<Outgoing> {
        let mut queue = self.lock();
        queue.expire(now_ms, self.max_age_ms);
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(message) = queue.messages.front() {
            bytes += message.size();
            let is_full = batch.len() >= PUBLISH_BATCH_MESSAGES || bytes > PUBLISH_BATCH_BYTES;
            if message.after > followed || is_full && !batch.is_empty() {
                break;
            }
            batch.extend(queue.pop());
        }
        queue.in_flight = batch.len();
        batch
    }

    pub(crate) fn batch_done(&self) {
        self.lock().in_flight = 0;
    }

    /// Stops the time for what waits. For a bounded while, until [`Buffer::let_go`].
    pub(crate) fn hold(&self, now_ms: u64) {
        let mut queue = self.lock();
        queue.expire(now_ms, self.max_age_ms);
        queue.held_ms = Some(now_ms);
    }

    /// Lets time go on. If what was held `is_sent` now, none of it is too old for having been held.
    pub(crate) fn let_go(&self, now_ms: u64, is_sent: bool) {
        let mut queue = self.lock();
        let Some(held_ms) = queue.held_ms.take().filter(|_| is_sent) else {
            return;
        };
        let waited_ms = now_ms.saturating_sub(held_ms);
        for message in &mut queue.messages {
            message.queued_ms = now_ms.min(message.queued_ms + waited_ms);
        }
    }

    /// Drops what has waited for too long.
    pub(crate) fn expire(&self, now_ms: u64) {
        self.lock().expire(now_ms, self.max_age_ms);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().messages.is_empty()
    }

    pub(crate) fn level(&self) -> Level {
        let queue = self.lock();
        Level {
            bytes: queue.bytes,
            messages: queue.messages.len(),
            in_flight: queue.in_flight,
            expired: queue.expired,
        }
    }

    /// Whether nothing waits or is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        let level = self.level();
        level.messages + level.in_flight == 0
    }

    /// Returns when nothing waits or is in flight.
    pub(crate) async fn emptied(&self) {
        while !self.is_idle() {
            sleep(FLUSH_POLL).await;
        }
    }

    /// Returns soon after something was added.
    pub(crate) async fn added(&self) {
        self.added.notified().await;
    }

    /// A panic elsewhere cannot leave the queue half changed, so a poisoned lock is used as it is.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn pop(&mut self) -> Option<Outgoing> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.size();
        if self.messages.is_empty() {
            self.messages.shrink_to(PUBLISH_BATCH_MESSAGES);
        }
        Some(message)
    }

    fn expire(&mut self, now_ms: u64, max_age_ms: u64) {
        let now_ms = self.held_ms.unwrap_or(now_ms);
        while self
            .messages
            .front()
            .is_some_and(|message| now_ms.saturating_sub(message.queued_ms) > max_age_ms)
        {
            self.pop();
            self.expired += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(len: usize) -> Bytes {
        Bytes::from(vec![0; len])
    }

    #[test]
    fn keeps_the_order_and_splits_into_batches() {
        let buffer = Buffer::new(8 << 20, 10_000, 1_000);
        for index in 0..PUBLISH_BATCH_MESSAGES + 1 {
            assert_eq!(buffer.push(&index.to_string(), payload(1), 0, 0), Ok(()));
        }
        let first = buffer.next_batch(0, 0);
        assert_eq!(first.len(), PUBLISH_BATCH_MESSAGES);
        assert!(
            first
                .iter()
                .enumerate()
                .all(|(index, message)| *message.channel == index.to_string())
        );
        assert_eq!(buffer.next_batch(0, 0).len(), 1);
        assert!(buffer.next_batch(0, 0).is_empty());
        assert_eq!(
            buffer.push("big", payload(2 * PUBLISH_BATCH_BYTES), 0, 0),
            Ok(())
        );
        assert_eq!(buffer.push("small", payload(1), 0, 0), Ok(()));
        assert_eq!(buffer.next_batch(0, 0).len(), 1, "a large one goes alone");
    }

    #[test]
    fn refuses_beyond_its_limits() {
        let buffer = Buffer::new(100, 3, 1_000);
        assert_eq!(
            buffer.push("c", payload(1_000), 0, 0),
            Ok(()),
            "one message always fits"
        );
        assert_eq!(
            buffer.push("c", payload(1), 0, 0),
            Err(PublishError::BufferFull)
        );
        buffer.next_batch(0, 0);
        for _ in 0..3 {
            assert_eq!(buffer.push("c", payload(1), 0, 0), Ok(()));
        }
        assert_eq!(
            buffer.push("c", payload(1), 0, 0),
            Err(PublishError::BufferFull)
        );
        assert_eq!(
            buffer.level(),
            Level {
                bytes: 6,
                messages: 3,
                in_flight: 1,
                expired: 0
            }
        );
    }

    #[test]
    fn forgets_what_waited_too_long() {
        let buffer = Buffer::new(100, 10, 1_000);
        assert_eq!(buffer.push("old", payload(1), 0, 0), Ok(()));
        assert_eq!(buffer.push("new", payload(1), 900, 0), Ok(()));
        let batch = buffer.next_batch(1_001, 0);
        assert_eq!(
            batch
                .iter()
                .map(|message| &*message.channel)
                .collect::<Vec<_>>(),
            ["new"]
        );
        assert_eq!(
            buffer.level(),
            Level {
                bytes: 0,
                messages: 0,
                in_flight: 1,
                expired: 1
            }
        );
    }

    #[test]
    fn a_message_waits_for_what_its_publisher_wanted_to_hear() {
        let buffer = Buffer::new(100, 10, 1_000);
        assert_eq!(buffer.push("before", payload(1), 0, 3), Ok(()));
        assert_eq!(buffer.push("behind", payload(1), 0, 4), Ok(()));
        assert!(buffer.next_batch(0, 2).is_empty());
        assert_eq!(buffer.next_batch(0, 3).len(), 1);
        assert!(buffer.next_batch(0, 3).is_empty());
        assert_eq!(buffer.level().messages, 1, "it counts where it waits");
        assert!(buffer.next_batch(1_001, 3).is_empty());
        assert_eq!(buffer.level().expired, 1, "and grows older there");
    }

    #[test]
    fn what_is_held_grows_no_older_if_it_is_sent_then() {
        let held = || {
            let buffer = Buffer::new(100, 10, 1_000);
            assert_eq!(buffer.push("old", payload(1), 0, 0), Ok(()));
            buffer.hold(900);
            buffer.expire(1_800);
            assert_eq!(buffer.push("new", payload(1), 1_800, 0), Ok(()));
            assert_eq!(buffer.level().messages, 2);
            buffer
        };
        let sent = held();
        sent.let_go(2_000, true);
        assert_eq!(sent.next_batch(2_000, 0).len(), 2);
        let lost = held();
        lost.let_go(2_000, false);
        assert_eq!(lost.next_batch(2_000, 0).len(), 1);
        assert_eq!(lost.level().expired, 1);
    }
}
