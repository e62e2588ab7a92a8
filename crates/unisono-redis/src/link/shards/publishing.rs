//! What is published to the masters of a cluster: each message to the owner of its channel's slot.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use redis::{ErrorKind, RedisError, RedisResult, Value};
use tokio::task::JoinSet;

use super::super::MOVED_AWAY;
use super::Shards;
use crate::buffer::Outgoing;
use crate::cluster::{redirection, slot_of};
use crate::config::Address;
use crate::limits::MAX_REDIRECTIONS;
use crate::publisher::{Outcome, pipeline};

/// What became of a part of a batch.
struct Part {
    from: Address,
    /// Of its messages in the batch.
    positions: Vec<usize>,
    replies: RedisResult<Vec<Value>>,
    heard_ms: u64,
}

impl Shards {
    /// Sends each message of a batch to the owner of its channel, and once more where one says that it is another by now, which is to say
    /// that it was not published.
    pub(crate) async fn publish(&self, batch: &[Outgoing]) -> Outcome {
        let mut outcome = Outcome {
            replies: vec![Value::Nil; batch.len()],
            failures: Vec::new(),
        };
        let mut left: Vec<_> = (0..batch.len()).collect();
        // A slot that moves needs two rounds; more are a cluster that disagrees.
        for _ in 0..=MAX_REDIRECTIONS {
            // What became of those is not known from here on, whatever was said before.
            left.iter().for_each(|&at| outcome.replies[at] = Value::Nil);
            let mut sending = self.send_all(batch, std::mem::take(&mut left));
            while let Some(part) = sending.join_next().await {
                let Ok(part) = part else { continue };
                match part.replies {
                    Ok(answers) => {
                        for (&at, reply) in part.positions.iter().zip(answers) {
                            if self.is_moved(&reply, &part.from) {
                                left.push(at);
                            }
                            outcome.replies[at] = reply;
                        }
                    }
                    Err(error) => outcome.failures.push((error, part.heard_ms)),
                }
            }
            if left.is_empty() {
                break;
            }
            // As they were published.
            left.sort_unstable();
        }
        outcome
    }

    /// One pipeline for each owner of some of the messages.
    fn send_all(&self, batch: &[Outgoing], positions: Vec<usize>) -> JoinSet<Part> {
        let mut parts: BTreeMap<Address, Vec<usize>> = BTreeMap::new();
        for at in positions {
            let owner = self.cluster.owner(slot_of(batch[at].channel.as_bytes()));
            // Of a slot that nobody serves any of them says so.
            let owner = owner.unwrap_or_else(|| self.shards[0].address.clone());
            parts.entry(owner).or_default().push(at);
        }
        let mut sending = JoinSet::new();
        for (from, positions) in parts {
            let messages = positions.iter().map(|&at| &batch[at]);
            let pipeline = pipeline(self.adapter.publish_command(), messages);
            let (shard, cluster) = (self.shard(&from).cloned(), self.cluster.clone());
            if shard.is_none() {
                self.is_outdated.store(true, Ordering::Release);
            }
            sending.spawn(async move {
                let heard = shard.as_ref().map(|shard| shard.heard_ms.clone());
                let out_of_step = shard.as_ref().map(|shard| shard.is_out_of_step.clone());
                let sending = async {
                    let mut bus = match shard {
                        Some(shard) => shard.bus,
                        None => cluster.connection(&from).await?,
                    };
                    let replies = bus.send_packed_commands(&pipeline, 0, positions.len());
                    let replies = replies.await?;
                    match out_of_step {
                        Some(flag) if flag.load(Ordering::Acquire) => {
                            Err((ErrorKind::Io, MOVED_AWAY).into())
                        }
                        _ => Ok(replies),
                    }
                };
                Part {
                    replies: sending.await,
                    heard_ms: heard.map_or(0, |heard| heard.load(Ordering::Relaxed)),
                    from,
                    positions,
                }
            });
        }
        sending
    }

    fn is_moved(&self, reply: &Value, from: &Address) -> bool {
        let Value::ServerError(error) = reply else {
            return false;
        };
        if error.code() != "MOVED" {
            return false;
        }
        let error = RedisError::from(error.clone());
        let Some((owner, slot)) = error
            .redirect_node()
            .and_then(|(text, slot)| Some((redirection(text, from)?, slot)))
        else {
            return false;
        };
        self.cluster.note_move(slot, owner);
        true
    }
}
