//! The in-memory bus: several nodes in one process, or the whole cluster when there is only one.
//!
//! Same contract as Redis ([`crate::broker`]): one total order, echo included, nothing from before a subscription. There is no thread:
//! whoever publishes delivers. A publish from inside an inbox, or while another thread is delivering, is queued behind what is already
//! there and delivered by whoever is at it.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;

use crate::adapter::Adapter;
use crate::broker::{
    Broker, CountError, CountFuture, Inbox, LinkState, LinkStats, PublishError, Subscription,
    check_size,
};
use crate::glob;
use crate::limits::MAX_MEMORY_QUEUE;

/// What an empty queue keeps of its memory, in messages.
const IDLE_QUEUE_CAPACITY: usize = 256;

/// A bus inside this process. Clones are the same bus.
#[derive(Clone, Default)]
pub struct MemoryBus {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    adapter: Adapter,
    // A lock, in a crate that otherwise has none: the bus is the one thing its nodes share, the total order is the order in which they
    // take this lock, and it is never held while an inbox runs.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    endpoints: Vec<Weak<Endpoint>>,
    queue: VecDeque<Delivery>,
    delivering: bool,
}

/// One message and who was subscribed when it was published: an endpoint appears once per matching subscription.
struct Delivery {
    channel: Arc<str>,
    payload: Bytes,
    to: Vec<Arc<Endpoint>>,
}

#[derive(Default)]
struct Endpoint {
    book: Mutex<Book>,
    published: AtomicU64,
    received: AtomicU64,
    dropped_too_large: AtomicU64,
    dropped_buffer_full: AtomicU64,
}

/// What an endpoint listens to; locked for a look or a change only.
#[derive(Default)]
struct Book {
    inbox: Option<Arc<dyn Inbox>>,
    /// Looked up by name: a node listens to thousands where rooms have their own.
    channels: HashSet<String>,
    /// Each is tried: one for each namespace.
    patterns: HashSet<String>,
    closed: bool,
}

impl MemoryBus {
    /// A bus without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same for nodes that speak that adapter. Order and delivery are the same: what differs is what the nodes put on it.
    pub fn speaking(adapter: Adapter) -> Self {
        Self {
            shared: Arc::new(Shared {
                adapter,
                ..Shared::default()
            }),
        }
    }

    /// Adds a node to the bus.
    pub fn broker(&self) -> MemoryBroker {
        let endpoint = Arc::new(Endpoint::default());
        let mut state = lock(&self.shared.state);
        state
            .endpoints
            .retain(|endpoint| endpoint.strong_count() > 0);
        state.endpoints.push(Arc::downgrade(&endpoint));
        MemoryBroker {
            bus: self.clone(),
            endpoint,
        }
    }

    /// Puts a message in its place in the total order, then delivers until the queue is empty unless somebody is at it already.
    fn publish(&self, channel: &str, payload: Bytes) -> Result<(), PublishError> {
        let mut state = lock(&self.shared.state);
        if state.queue.len() >= MAX_MEMORY_QUEUE {
            return Err(PublishError::BufferFull);
        }
        let to = state.endpoints.iter().filter_map(Weak::upgrade);
        let to = to
            .flat_map(|endpoint| std::iter::repeat_n(endpoint.clone(), endpoint.matching(channel)))
            .collect();
        state.queue.push_back(Delivery {
            channel: Arc::from(channel),
            payload,
            to,
        });
        let nobody_at_it = !std::mem::replace(&mut state.delivering, true);
        drop(state);
        if nobody_at_it {
            self.deliver();
        }
        Ok(())
    }

    fn count(&self, channel: &str) -> usize {
        let state = lock(&self.shared.state);
        let endpoints = state.endpoints.iter().filter_map(Weak::upgrade);
        let listening =
            endpoints.filter(|endpoint| lock(&endpoint.book).channels.contains(channel));
        listening.count()
    }

    fn deliver(&self) {
        /// Lets somebody else deliver should an inbox panic.
        struct Turn<'a>(&'a Mutex<State>);
        impl Drop for Turn<'_> {
            fn drop(&mut self) {
                lock(self.0).delivering = false;
            }
        }
        let turn = Turn(&self.shared.state);
        while let Some(delivery) = self.next_delivery() {
            for endpoint in &delivery.to {
                endpoint.deliver(&delivery.channel, &delivery.payload);
            }
        }
        // Finding the queue empty has ended the turn, and the next one may have begun since.
        std::mem::forget(turn);
    }

    /// Ends the turn in the same step that finds nothing left, so that no message can slip in between.
    fn next_delivery(&self) -> Option<Delivery> {
        let mut state = lock(&self.shared.state);
        let next = state.queue.pop_front();
        state.delivering = next.is_some();
        if next.is_none() && state.queue.capacity() > IDLE_QUEUE_CAPACITY {
            state.queue.shrink_to(IDLE_QUEUE_CAPACITY);
        }
        next
    }
}

impl Endpoint {
    fn matching(&self, channel: &str) -> usize {
        let book = lock(&self.book);
        let patterns = book.patterns.iter();
        let hits = patterns.filter(|pattern| glob::matches(pattern, channel));
        hits.count() + usize::from(book.channels.contains(channel))
    }

    fn deliver(&self, channel: &str, payload: &Bytes) {
        let inbox = {
            let book = lock(&self.book);
            if book.closed {
                None
            } else {
                book.inbox.clone()
            }
        };
        if let Some(inbox) = inbox {
            self.received.fetch_add(1, Ordering::Relaxed);
            inbox.message(channel, payload.clone());
        }
    }
}

/// One node's end of a [`MemoryBus`].
pub struct MemoryBroker {
    bus: MemoryBus,
    endpoint: Arc<Endpoint>,
}

impl Broker for MemoryBroker {
    fn adapter(&self) -> Adapter {
        self.bus.shared.adapter
    }

    fn attach(&self, inbox: Arc<dyn Inbox>) {
        {
            let mut book = lock(&self.endpoint.book);
            if book.inbox.is_some() {
                return;
            }
            book.inbox = Some(inbox.clone());
        }
        // Nothing is subscribed yet, so no message can overlap with this call.
        inbox.link(LinkState::Local);
    }

    fn subscribe(&self, subscription: Subscription) {
        let mut book = lock(&self.endpoint.book);
        match subscription {
            Subscription::Channel(name) => book.channels.insert(name),
            Subscription::Pattern(pattern) => book.patterns.insert(pattern),
        };
    }

    fn unsubscribe(&self, subscription: &Subscription) {
        let mut book = lock(&self.endpoint.book);
        match subscription {
            Subscription::Channel(name) => book.channels.remove(name),
            Subscription::Pattern(pattern) => book.patterns.remove(pattern),
        };
    }

    fn publish(&self, channel: &str, payload: Bytes) -> Result<(), PublishError> {
        if lock(&self.endpoint.book).closed {
            return Err(PublishError::Closed);
        }
        let outcome = check_size(&payload).and_then(|()| self.bus.publish(channel, payload));
        let counter = match outcome {
            Ok(()) => &self.endpoint.published,
            Err(PublishError::TooLarge { .. }) => &self.endpoint.dropped_too_large,
            Err(_) => &self.endpoint.dropped_buffer_full,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        outcome
    }

    fn count(&self, channel: &str) -> CountFuture {
        let count = if lock(&self.endpoint.book).closed {
            Err(CountError)
        } else {
            Ok(self.bus.count(channel))
        };
        Box::pin(std::future::ready(count))
    }

    fn state(&self) -> LinkState {
        if lock(&self.endpoint.book).closed {
            LinkState::Down
        } else {
            LinkState::Local
        }
    }

    /// Nothing to heal: a message that did not come back is still in the queue of this process.
    fn suspect(&self) {}

    fn stats(&self) -> LinkStats {
        LinkStats {
            published: self.endpoint.published.load(Ordering::Relaxed),
            received: self.endpoint.received.load(Ordering::Relaxed),
            dropped_too_large: self.endpoint.dropped_too_large.load(Ordering::Relaxed),
            dropped_buffer_full: self.endpoint.dropped_buffer_full.load(Ordering::Relaxed),
            buffered_messages: lock(&self.bus.shared.state).queue.len() as u64,
            ..LinkStats::default()
        }
    }

    fn close(&self) {
        let mut book = lock(&self.endpoint.book);
        book.closed = true;
        book.channels.clear();
        book.patterns.clear();
        book.inbox = None;
    }
}

/// A panic elsewhere leaves this data consistent (each change is one step), so a poisoned lock is used as it is.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
