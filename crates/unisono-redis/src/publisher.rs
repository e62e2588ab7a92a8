//! The task that sends what was published, in order, in pipelines.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use redis::Value;
use tokio::sync::watch;

use crate::buffer::Outgoing;
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
    let mut pipeline = redis::pipe();
    for message in batch {
        pipeline
            .cmd("PUBLISH")
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
            let errors: Vec<_> = replies
                .iter()
                .filter(|reply| matches!(reply, Value::ServerError(_)))
                .collect();
            if let Some(Value::ServerError(error)) = errors.first() {
                tracing::warn!(
                    code = error.code(),
                    refused = errors.len(),
                    "redis refused to publish"
                );
            }
            counters
                .refused
                .fetch_add(errors.len() as u64, Ordering::Relaxed);
            counters
                .published
                .fetch_add((batch.len() - errors.len()) as u64, Ordering::Relaxed);
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
