//! The task that sends what was published, in order, in pipelines.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use redis::{Cmd, Pipeline, Value};
use tokio::sync::watch;

use crate::buffer::Outgoing;
use crate::failure::{Deed, Failure};
use crate::link::{Connections, Link, Shards};

/// Sends until the link is closed. One pipeline is in flight at a time; what arrives meanwhile makes the next.
pub(crate) async fn run(link: Arc<Link>) {
    let mut connections = link.connections.subscribe();
    let mut followed = link.followed.subscribe();
    let mut latest = None;
    // The senders are in `link`, which we hold, so to wait for a change ends with one.
    while !link.is_closed() {
        let are_new = refresh(&mut latest, &mut connections);
        let Some(current) = &mut latest else {
            let _ = connections.changed().await;
            continue;
        };
        if are_new && link.buffer.hold(link.now_ms()) {
            let is_sent = tokio::select! {
                () = link.gathering.all_are_back(&link, current) => true,
                _ = connections.changed() => false,
            };
            link.buffer.let_go(link.now_ms(), is_sent);
            continue;
        }
        let version = *followed.borrow_and_update();
        let batch = link.buffer.next_batch(link.now_ms(), version);
        if batch.is_empty() {
            tokio::select! {
                () = link.buffer.added() => {}
                _ = connections.changed() => {}
                _ = followed.changed() => {}
            }
            continue;
        }
        send(&link, current, &mut connections, &batch).await;
        link.buffer.batch_done();
    }
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

/// A batch that is not confirmed is given up, never repeated: Redis may have it already.
async fn send(
    link: &Link,
    current: &mut Connections,
    connections: &mut watch::Receiver<Option<Connections>>,
    batch: &[Outgoing],
) {
    let counters = &link.counters;
    let sent_ms = link.now_ms();
    let sending = async {
        if let Some(shards) = &current.shards {
            return shards.publish(batch).await;
        }
        let pipeline = pipeline(link.config.adapter.publish_command(), batch.iter());
        let publisher = &mut current.publisher;
        let replies = publisher.send_packed_commands(&pipeline, 0, batch.len());
        replies.await.map_err(|error| (error, link.gate.heard_ms()))
    };
    let replies = tokio::select! {
        replies = sending => replies,
        _ = connections.changed() => {
            // The link was given up under us.
            counters.unconfirmed.fetch_add(batch.len() as u64, Ordering::Relaxed);
            return;
        }
    };
    match replies {
        Ok(replies) => {
            link.gathering.note(batch, &replies);
            let refused = note_refused(link, batch, replies);
            counters
                .refused
                .fetch_add(refused as u64, Ordering::Relaxed);
            counters
                .published
                .fetch_add((batch.len() - refused) as u64, Ordering::Relaxed);
            let is_outdated = |shards: &Arc<Shards>| shards.is_outdated();
            if current.shards.as_ref().is_some_and(is_outdated) {
                link.lost(current.generation, None);
                let _ = connections.changed().await;
            }
        }
        Err((error, heard_ms)) => {
            counters
                .unconfirmed
                .fetch_add(batch.len() as u64, Ordering::Relaxed);
            if error.is_timeout() && heard_ms > sent_ms {
                // The confirmation stands behind messages that this node has not got through yet: it is busy, not deaf.
                return;
            }
            link.lost(current.generation, Some(&error));
            // Not on this connection again: the next batch would overtake or follow an unknown.
            let _ = connections.changed().await;
        }
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
    match errors.into_iter().next() {
        None => link.note_published(),
        Some((message, error)) => {
            tracing::warn!(code = error.code(), refused, "redis refused to publish");
            let deed = Deed::Publish(link.config.adapter, &message.channel);
            link.note_unpublished(Failure::of(&error.into(), link.config.user(), deed));
        }
    }
    refused
}
