//! Whether the others are back: what waited through an outage is for them too.
//!
//! All links come back by themselves, some a second later than others. What the first of them sent at once, nobody would hear. So whoever
//! has something that waited asks Redis how many listen to a channel that all of them listen to.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::Value;
use tokio::time::{sleep, timeout};

use crate::buffer::Outgoing;
use crate::limits::{GATHER_POLL, GATHER_POLL_FIRST};
use crate::link::{Connections, Link};
use crate::nodes::RequestError;

/// How many there are to be on the channel of all, this link included.
#[derive(Default)]
pub(crate) struct Gathering {
    channel: OnceLock<Box<str>>,
    /// As the owner of the broker knows, who has heard of them.
    known: AtomicUsize,
    /// As Redis said last, when something was published there: it knows of those who were there before this one, and from whom nothing has
    /// come yet.
    reached: AtomicUsize,
}

impl Gathering {
    /// The first channel that is named stays.
    pub(crate) fn expect(&self, channel: &str, count: usize) {
        if **self.channel.get_or_init(|| channel.into()) == *channel {
            self.known.store(count, Ordering::Relaxed);
        }
    }

    /// What Redis replied to a batch.
    pub(crate) fn note(&self, batch: &[Outgoing], replies: &[Value]) {
        let Some(channel) = self.channel.get() else {
            return;
        };
        for (message, reply) in batch.iter().zip(replies) {
            if let Value::Int(reached) = reply
                && message.channel == *channel
            {
                let reached = usize::try_from(*reached).unwrap_or(0);
                self.reached.store(reached, Ordering::Relaxed);
            }
        }
    }

    fn expected(&self) -> usize {
        let known = self.known.load(Ordering::Relaxed);
        known.max(self.reached.load(Ordering::Relaxed))
    }

    /// Returns when as many listen as are expected, and says so, or after this time; at once, if there is nobody else, or Redis does not say.
    pub(crate) async fn all_are_back(
        &self,
        link: &Link,
        current: &Connections,
        limit: Duration,
    ) -> bool {
        let are_back = timeout(limit, self.gathered(link, current)).await.is_ok();
        if !are_back {
            let expected = self.expected();
            tracing::info!(
                expected,
                "not all other nodes are back, sending what waited"
            );
        }
        are_back
    }

    async fn gathered(&self, link: &Link, current: &Connections) {
        let Some(channel) = self.channel.get() else {
            return;
        };
        let adapter = link.config.adapter;
        let mut pause = GATHER_POLL_FIRST;
        loop {
            // Anew each time: some may have said goodbye meanwhile.
            let expected = self.expected();
            if expected <= 1 {
                return;
            }
            match current.commander.count_listeners(adapter, channel).await {
                Ok(count) if count >= expected => return,
                // It may not be asked.
                Err(RequestError::Home(error) | RequestError::Elsewhere(error))
                    if error.code().is_some() =>
                {
                    return;
                }
                _ => sleep(pause).await,
            }
            pause = GATHER_POLL.min(pause * 2);
        }
    }
}
