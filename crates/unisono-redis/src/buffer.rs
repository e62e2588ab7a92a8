//! What waits to be published: bounded in bytes, in messages and in age.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use unisono_cluster::PublishError;

use crate::limits::{PUBLISH_BATCH_BYTES, PUBLISH_BATCH_MESSAGES};

/// One message on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) channel: Box<str>,
    pub(crate) payload: Bytes,
    queued_ms: u64,
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

    /// Adds at the end. A message larger than the whole buffer is accepted when nothing else waits.
    pub(crate) fn push(
        &self,
        channel: &str,
        payload: Bytes,
        now_ms: u64,
    ) -> Result<(), PublishError> {
        let message = Outgoing {
            channel: channel.into(),
            payload,
            queued_ms: now_ms,
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

    /// Takes the next messages to send together, oldest first; they count as in flight until [`Buffer::batch_done`].
    pub(crate) fn next_batch(&self, now_ms: u64) -> Vec<Outgoing> {
        let mut queue = self.lock();
        queue.expire(now_ms, self.max_age_ms);
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(message) = queue.messages.front() {
            bytes += message.size();
            if !batch.is_empty()
                && (batch.len() >= PUBLISH_BATCH_MESSAGES || bytes > PUBLISH_BATCH_BYTES)
            {
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

    /// Drops what has waited for too long.
    pub(crate) fn expire(&self, now_ms: u64) {
        self.lock().expire(now_ms, self.max_age_ms);
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
            assert_eq!(buffer.push(&index.to_string(), payload(1), 0), Ok(()));
        }
        let first = buffer.next_batch(0);
        assert_eq!(first.len(), PUBLISH_BATCH_MESSAGES);
        assert!(
            first
                .iter()
                .enumerate()
                .all(|(index, message)| *message.channel == index.to_string())
        );
        assert_eq!(buffer.next_batch(0).len(), 1);
        assert!(buffer.next_batch(0).is_empty());
        assert_eq!(
            buffer.push("big", payload(2 * PUBLISH_BATCH_BYTES), 0),
            Ok(())
        );
        assert_eq!(buffer.push("small", payload(1), 0), Ok(()));
        assert_eq!(buffer.next_batch(0).len(), 1, "a large one goes alone");
    }

    #[test]
    fn refuses_beyond_its_limits() {
        let buffer = Buffer::new(100, 3, 1_000);
        assert_eq!(
            buffer.push("c", payload(1_000), 0),
            Ok(()),
            "one message always fits"
        );
        assert_eq!(
            buffer.push("c", payload(1), 0),
            Err(PublishError::BufferFull)
        );
        buffer.next_batch(0);
        for _ in 0..3 {
            assert_eq!(buffer.push("c", payload(1), 0), Ok(()));
        }
        assert_eq!(
            buffer.push("c", payload(1), 0),
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
        assert_eq!(buffer.push("old", payload(1), 0), Ok(()));
        assert_eq!(buffer.push("new", payload(1), 900), Ok(()));
        let batch = buffer.next_batch(1_001);
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
}
