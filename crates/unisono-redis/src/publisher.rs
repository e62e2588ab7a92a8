//! The task that sends what was published, in order, in pipelines.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::{Cmd, Pipeline, RedisError, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::buffer::Outgoing;
use crate::failure::{Deed, Failure};
use crate::limits::GATHER_DEADLINE;
use crate::link::{Connections, Link, Refused, Shards};

/// Redis' answers to a batch.
#[derive(Default)]
pub(crate) struct Outcome {
    /// In the order of the batch, as far as they are known: a number or an error. Anything else is no answer to a publish.
    pub(crate) replies: Vec<Value>,
    /// Why there is no answer to some of it, and when anything came from there last.
    pub(crate) failures: Vec<(RedisError, u64)>,
}

/// Sends until the link is closed and its last connections are gone. One pipeline is in flight at a time; what arrives meanwhile makes the next.
pub(crate) async fn run(link: Arc<Link>) {
    let mut connections = link.connections.subscribe();
    let mut followed = link.followed.subscribe();
    let mut latest = None;
    let mut patience = Patience::default();
    // The senders are in `link`, which we hold, so to wait for a change ends with one.
    loop {
        let are_new = refresh(&mut latest, &mut connections);
        let Some(current) = &mut latest else {
            if link.is_closed() {
                return;
            }
            let _ = connections.changed().await;
            continue;
        };
        if are_new {
            gather(&link, current, &mut connections, &mut patience).await;
            continue;
        }
        let version = *followed.borrow_and_update();
        let batch = link.buffer.next_batch(link.now_ms(), version);
        if batch.is_empty() {
            patience.renew_if(|| link.buffer.is_empty());
            tokio::select! {
                () = link.buffer.added() => {}
                _ = connections.changed() => {}
                _ = followed.changed() => {}
            }
            continue;
        }
        let is_confirmed = send(&link, current, &mut connections, &batch).await;
        patience.renew_if(|| is_confirmed);
        link.buffer.batch_done();
    }
}

/// How long the others have been waited for since something was sent last: one time for all links in which nothing could be, so that one
/// that is lost again and again does not keep what waits until it is too old.
#[derive(Default)]
struct Patience {
    spent: Duration,
}

impl Patience {
    fn left(&self) -> Duration {
        GATHER_DEADLINE.saturating_sub(self.spent)
    }

    fn renew_if(&mut self, is_over: impl FnOnce() -> bool) {
        if !self.spent.is_zero() && is_over() {
            self.spent = Duration::ZERO;
        }
    }
}

/// On a new link, keeps what waits, and what is published meanwhile, until the others are back.
async fn gather(
    link: &Link,
    current: &Connections,
    connections: &mut watch::Receiver<Option<Connections>>,
    patience: &mut Patience,
) {
    let (since, since_ms) = (Instant::now(), link.now_ms());
    link.buffer.hold(since_ms);
    let (is_held, are_back) = tokio::select! {
        are_back = link.gathering.all_are_back(link, current, patience.left()) => (true, are_back),
        _ = connections.changed() => (false, false),
    };
    link.buffer.let_go(link.now_ms(), is_held);
    patience.spent += since.elapsed();
    patience.renew_if(|| are_back);
}

/// Takes over the connections that there are now, if they are others, and says so: to clone them for each message is a part of what it costs.
fn refresh(
    latest: &mut Option<Connections>,
    connections: &mut watch::Receiver<Option<Connections>>,
) -> bool {
    let now = connections.borrow_and_update();
    let generation = |of: &Option<Connections>| of.as_ref().map(|of| of.generation);
    let are_new = generation(&now) != generation(latest);
    if are_new {
        *latest = now.clone();
    }
    are_new
}

/// Says whether all of the batch is answered. What is not is given up, never repeated: Redis may have it already.
async fn send(
    link: &Link,
    current: &mut Connections,
    connections: &mut watch::Receiver<Option<Connections>>,
    batch: &[Outgoing],
) -> bool {
    let counters = &link.counters;
    let sent_ms = link.now_ms();
    let outcome = tokio::select! {
        outcome = publish(link, current, batch) => outcome,
        // The link was given up under us.
        _ = connections.changed() => {
            counters.unconfirmed.fetch_add(batch.len() as u64, Ordering::Relaxed);
            return false;
        }
    };
    let Outcome { replies, failures } = outcome;
    link.gathering.note(batch, &replies);
    let is_number = |reply: &&Value| matches!(reply, Value::Int(_));
    let published = replies.iter().filter(is_number).count();
    let refused = note_refused(link, batch, replies);
    let unconfirmed = batch.len().saturating_sub(published + refused);
    if published == batch.len() {
        link.refusals.take_back(Refused::Publish);
    }
    for (counter, count) in [
        (&counters.published, published),
        (&counters.refused, refused),
        (&counters.unconfirmed, unconfirmed),
    ] {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
    // An answer that comes late behind messages which this node has not got through yet: it is busy, not deaf.
    let is_busy =
        |(error, heard_ms): &&(RedisError, u64)| error.is_timeout() && *heard_ms > sent_ms;
    let failure = failures.iter().find(|failure| !is_busy(failure));
    let is_broken = unconfirmed > 0 && (failure.is_some() || failures.is_empty());
    let is_outdated = |shards: &Arc<Shards>| shards.is_outdated();
    if is_broken || current.shards.as_ref().is_some_and(is_outdated) {
        link.lost(current.generation, failure.map(|(error, _)| error));
        // Not on this connection again: the next batch would overtake or follow an unknown.
        let _ = connections.changed().await;
    }
    unconfirmed == 0
}

async fn publish(link: &Link, current: &mut Connections, batch: &[Outgoing]) -> Outcome {
    if let Some(shards) = &current.shards {
        return shards.publish(batch).await;
    }
    let pipeline = pipeline(link.config.adapter.publish_command(), batch.iter());
    let publisher = &mut current.publisher;
    let replies = publisher.send_packed_commands(&pipeline, 0, batch.len());
    match replies.await {
        Ok(replies) => Outcome {
            replies,
            failures: Vec::new(),
        },
        Err(error) => Outcome {
            replies: Vec::new(),
            failures: vec![(error, link.gate.heard_ms())],
        },
    }
}

/// Each with room for what it says: growing step by step costs more than the words.
pub(crate) fn pipeline<'a>(
    command: &str,
    batch: impl ExactSizeIterator<Item = &'a Outgoing>,
) -> Pipeline {
    const WORDS: usize = 3;
    let mut pipeline = Pipeline::with_capacity(batch.len());
    for message in batch {
        let bytes = command.len() + message.channel.len() + message.payload.len();
        let mut publish = Cmd::with_capacity(WORDS, bytes);
        publish
            .arg(command)
            .arg(&*message.channel)
            .arg(&message.payload[..]);
        pipeline.add_command(publish);
    }
    pipeline
}

/// How many messages Redis refused; says why.
fn note_refused(link: &Link, batch: &[Outgoing], replies: Vec<Value>) -> usize {
    let errors: Vec<_> = batch
        .iter()
        .zip(replies)
        .filter_map(|(message, reply)| match reply {
            Value::ServerError(error) => Some((message, error)),
            _ => None,
        })
        .collect();
    let refused = errors.len();
    if let Some((message, error)) = errors.into_iter().next() {
        tracing::warn!(code = error.code(), refused, "redis refused to publish");
        let deed = Deed::Publish(link.config.adapter, &message.channel);
        let failure = Failure::of(&error.into(), link.config.user(), deed);
        link.note_refused(Refused::Publish, failure);
    }
    refused
}
