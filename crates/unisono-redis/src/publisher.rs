//! The task that sends what was published, in order, in pipelines.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use redis::Value;
use tokio::sync::watch;

use crate::buffer::Outgoing;
use crate::failure::{Deed, Failure};
use crate::link::{Connections, Link};

/// Sends until the link is closed. One pipeline is in flight at a time; what arrives meanwhile makes the next.
pub(crate) async fn run(link: Arc<Link>) {
    let mut connections = link.connections.subscribe();
    while !link.is_closed() {
        let current = connections.borrow_and_update().clone();
        let Some(current) = current else {
            // The sender is in `link`, which we hold, so this ends with a change.
            let _ = connections.changed().await;
            continue;
        };
        let batch = link.buffer.next_batch(link.now_ms());
        if batch.is_empty() {
            tokio::select! {
                () = link.buffer.added() => {}
                _ = connections.changed() => {}
            }
            continue;
        }
        send(&link, current, &mut connections, &batch).await;
        link.buffer.batch_done();
    }
}

/// A batch that is not confirmed is given up, never repeated: Redis may have it already.
async fn send(
    link: &Link,
    mut current: Connections,
    connections: &mut watch::Receiver<Option<Connections>>,
    batch: &[Outgoing],
) {
    let command = link.config.adapter.publish_command();
    let mut pipeline = redis::pipe();
    for message in batch {
        pipeline
            .cmd(command)
            .arg(&*message.channel)
            .arg(&message.payload[..]);
    }
    let counters = &link.counters;
    let sent_ms = link.now_ms();
    let mut followed = link.followed.subscribe();
    let wanted = link.wanted_version();
    let sending = async {
        // Whoever subscribes and then publishes hears it; nearly always there is nothing to wait for.
        let _ = followed.wait_for(|&version| version >= wanted).await;
        let publisher = &mut current.publisher;
        publisher
            .send_packed_commands(&pipeline, 0, batch.len())
            .await
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
            let refused = note_refused(link, batch, replies);
            counters
                .refused
                .fetch_add(refused as u64, Ordering::Relaxed);
            counters
                .published
                .fetch_add((batch.len() - refused) as u64, Ordering::Relaxed);
        }
        Err(error) => {
            counters
                .unconfirmed
                .fetch_add(batch.len() as u64, Ordering::Relaxed);
            if error.is_timeout() && link.gate.heard_ms() > sent_ms {
                // The confirmation stands behind messages that this node has not got through yet: it is busy, not deaf.
                return;
            }
            link.lost(current.generation, Some(&error));
            // Not on this connection again: the next batch would overtake or follow an unknown.
            let _ = connections.changed().await;
        }
    }
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
