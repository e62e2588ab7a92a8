//! The seam between the cluster's logic and what carries its messages.
//!
//! [`Broker`] is what a node needs of a publish/subscribe system; [`Inbox`] is where its messages go. The in-memory twin is
//! [`MemoryBroker`](crate::MemoryBroker); one conformance suite runs on every implementation.
//!
//! # The contract
//!
//! **Delivery** is at most once per matching subscription: a message published while the link is not [`LinkState::Subscribed`] (or
//! [`LinkState::Local`]) may be missed, and a broker never delivers one twice on purpose. A channel that matches both a pattern and a
//! literal subscription of the same broker is delivered once for each, as Redis does. Nothing is delivered from before the subscription.
//!
//! **Adapter.** A broker carries the messages of one [`Adapter`], which it names; nodes on it speak that one, so the two cannot be mixed up.
//! One of the sharded adapter has no patterns: [`Subscription::Pattern`] is ignored there, and logged as an error.
//!
//! **Order.** All messages that pass through one broker system have one total order, across channels and publishers, and every inbox sees
//! its part of it in that order. The messages of one publisher appear in the order of its [`Broker::publish`] calls. What is published after a
//! [`Broker::subscribe`] of the same broker comes back if it matches, while the link is up. Calls of an inbox never overlap. Of the sharded
//! adapter all this holds for each channel by itself: whatever must have one order goes on one channel, as everything ordered does in a
//! namespace. (On a single Redis it holds across channels too.)
//!
//! **Echo.** A publisher that is subscribed receives its own messages, at their place in the total order. An ordered emit relies on that.
//!
//! **Failure** is never an error of a past call: `publish` accepts into a bounded buffer and returns; what could not be sent is counted in
//! [`LinkStats`], what may have been missed shows as a change of [`LinkState`]. The link heals by itself and re-issues every subscription.
//! What waited for it is sent when those who [are to listen](Broker::expect_listeners) do again, or after a bounded while.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::adapter::Adapter;
use crate::limits::MAX_BUS_MESSAGE_BYTES;

/// What carries messages between nodes. See the [module documentation](self) for the contract.
///
/// No method blocks or waits (but see [`Broker::count`]); all may be called from any thread, also from inside [`Inbox`] methods.
pub trait Broker: Send + Sync + 'static {
    /// Whose messages it carries.
    fn adapter(&self) -> Adapter;

    /// Who gets the messages. Called once, before anything else; later calls are ignored.
    fn attach(&self, inbox: Arc<dyn Inbox>);

    /// Asks for messages. Idempotent; remembered, and re-issued after every reconnect. Takes effect soon.
    fn subscribe(&self, subscription: Subscription);

    /// Ends a subscription; messages already on their way may still arrive.
    fn unsubscribe(&self, subscription: &Subscription);

    /// Accepts a message for publication.
    ///
    /// # Errors
    /// See [`PublishError`]: the message was not accepted and will not be sent; the drop is counted in [`LinkStats`].
    fn publish(&self, channel: &str, payload: Bytes) -> Result<(), PublishError>;

    /// Says how many are to listen to a channel, this broker included, when all is well. One that keeps through an outage what could not be
    /// sent, sends it when as many are back there, or after a bounded while. The first channel that is named is the only one; the number
    /// may change at any time. By default nothing comes of it.
    fn expect_listeners(&self, _channel: &str, _count: usize) {}

    /// How many connections are subscribed to the channel of exactly this name, over the whole bus; patterns are not counted. This broker's
    /// own subscriptions of before the call are. The call itself does not wait, the future does, for a bounded time.
    ///
    /// # Errors
    /// The future gives [`CountError`] when the bus does not say.
    fn count(&self, channel: &str) -> CountFuture;

    /// The same for several channels at one moment, in their order. By default they are counted one after another.
    ///
    /// # Errors
    /// As [`Broker::count`].
    fn count_each(&self, channels: &[String]) -> CountEachFuture {
        let counts: Vec<_> = channels.iter().map(|channel| self.count(channel)).collect();
        Box::pin(async move {
            let mut all = Vec::with_capacity(counts.len());
            for count in counts {
                all.push(count.await?);
            }
            Ok(all)
        })
    }

    /// How the link is now.
    fn state(&self) -> LinkState;

    /// Somebody saw an ordered publish not come back: the link goes [`LinkState::Deaf`] and heals. Ignored unless it is subscribed.
    fn suspect(&self);

    /// Counters since the start.
    fn stats(&self) -> LinkStats;

    /// Ends the link for good: nothing is delivered or accepted afterwards. What was published before may still go out. Idempotent.
    fn close(&self);
}

/// The answer of [`Broker::count`], to be awaited.
pub type CountFuture = Pin<Box<dyn Future<Output = Result<usize, CountError>> + Send>>;

/// The answer of [`Broker::count_each`], to be awaited.
pub type CountEachFuture = Pin<Box<dyn Future<Output = Result<Vec<usize>, CountError>> + Send>>;

/// The bus does not say how many listen: the link is away or closed, or it did not answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bus does not say how many nodes there are: the link is away or slow")]
pub struct CountError;

/// Where a broker puts what it receives. Its methods are called one at a time, in the order of the bus.
///
/// They run on the broker's reader: whatever takes long here delays every message behind it.
pub trait Inbox: Send + Sync {
    /// A message arrived. `payload` is any bytes whatsoever.
    fn message(&self, channel: &str, payload: Bytes);

    /// The link changed. Messages between two changes were received in the earlier state, except that subscriptions that are already
    /// confirmed deliver while others are still awaited, hence before [`LinkState::Subscribed`].
    fn link(&self, state: LinkState);
}

/// What to listen to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subscription {
    /// All channels whose name matches the glob (`*`, `?`, `[a-z]`, `[^…]`, backslash escapes), as Redis' `PSUBSCRIBE`.
    Pattern(String),
    /// The channel of exactly that name.
    Channel(String),
}

/// How the link to the other nodes is. [`is_up`](Self::is_up) sums it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkState {
    /// Started, and no attempt to connect has ended yet.
    Connecting,
    /// Every subscription is confirmed and messages are coming through.
    Subscribed,
    /// Connected, but messages do not come through; being healed.
    Deaf,
    /// Not connected; trying again.
    Down,
    /// There are no other nodes to link to: everything stays in this process and always works.
    Local,
}

impl LinkState {
    /// True when messages come through.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Subscribed | Self::Local)
    }

    /// The name used in logs and metrics: `connecting`, `subscribed`, `deaf`, `down`, `local`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Subscribed => "subscribed",
            Self::Deaf => "deaf",
            Self::Down => "down",
            Self::Local => "local",
        }
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a message was not accepted for publication.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Our caller's misuse: larger than [`MAX_BUS_MESSAGE_BYTES`].
    #[error(
        "message of {bytes} bytes exceeds the bus limit of {MAX_BUS_MESSAGE_BYTES}: send less, or a reference to it"
    )]
    TooLarge {
        /// Size of the refused payload.
        bytes: usize,
    },
    /// The link is away or slow and its buffer is full.
    #[error(
        "the publish buffer is full because the link to other nodes is away or slow: local delivery is unaffected"
    )]
    BufferFull,
    /// [`Broker::close`] was called.
    #[error("the broker is closed")]
    Closed,
}

/// Counters of a link since its start, and the level of its buffer. A broker of your own begins with the default, which is all zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStats {
    /// Messages handed to the bus and confirmed by it, probes excluded.
    pub published: u64,
    /// Messages handed to the inbox.
    pub received: u64,
    /// Times the link was subscribed again after having been lost.
    pub reconnects: u64,
    /// Attempts to connect that failed.
    pub connects_failed: u64,
    /// Probes that did not come back in time.
    pub probes_failed: u64,
    /// Dropped: larger than the bus limit.
    pub dropped_too_large: u64,
    /// Dropped: the buffer was full.
    pub dropped_buffer_full: u64,
    /// Dropped: waited in the buffer for longer than its age limit.
    pub dropped_expired: u64,
    /// Sent, but the link broke before the bus confirmed: delivered or not, never sent twice.
    pub unconfirmed: u64,
    /// Refused by the bus with an error (permissions, read-only replica).
    pub refused: u64,
    /// Bytes waiting in the publish buffer now.
    pub buffered_bytes: u64,
    /// Messages waiting in the publish buffer now.
    pub buffered_messages: u64,
}

/// Checks the size of a payload, the first thing every broker does.
///
/// # Errors
/// [`PublishError::TooLarge`].
pub fn check_size(payload: &[u8]) -> Result<(), PublishError> {
    if payload.len() > MAX_BUS_MESSAGE_BYTES {
        return Err(PublishError::TooLarge {
            bytes: payload.len(),
        });
    }
    Ok(())
}
