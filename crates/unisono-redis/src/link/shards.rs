//! The connections of a sharded link to a Redis Cluster: one to each master, because a channel lives where its slot is.
//!
//! They live and die together with the link. That is up when every master answers and has confirmed what is wanted of it, and is opened anew
//! when one of them breaks, is silent, or has lost a slot that is listened to: then nobody can say what was missed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, PushKind, RedisError, RedisResult, Value};
use tokio::task::JoinSet;
use tokio::time::sleep;
use unisono_cluster::Adapter;

use super::probes::probes;
use super::session::push_handler;
use super::{Link, MOVED_AWAY};
use crate::buffer::Outgoing;
use crate::cluster::{Cluster, redirection, slot_of};
use crate::config::Address;
use crate::connect::{Role, attempt_options};
use crate::failure::Failure;
use crate::limits::{MAX_REDIRECTIONS, WATCH_EVERY};
use crate::publisher::{Outcome, pipeline};
use crate::trial;

/// The masters of a cluster, as a link found them.
pub(crate) struct Shards {
    adapter: Adapter,
    cluster: Arc<Cluster>,
    /// By address, each once.
    shards: Vec<Shard>,
    // A lock for a table that the link's task changes and its watch reads; never held across a wait.
    listening: Mutex<Listening>,
    /// Somebody owns a slot who was no master when the link was opened.
    is_outdated: AtomicBool,
}

/// The slots of the channels that are listened to: where, and of how many channels. As many as there are slots at most.
type Listening = BTreeMap<u16, (usize, usize)>;

#[derive(Clone)]
struct Shard {
    address: Address,
    bus: MultiplexedConnection,
    /// A channel of ours in one of its slots.
    probe: String,
    /// When a message came from there last, by the link's clock.
    heard_ms: Arc<AtomicU64>,
    /// It has ended a subscription unasked. The client library has taken that for the reply to a command, and each reply from then on for
    /// that to the command behind its own.
    is_out_of_step: Arc<AtomicBool>,
}

/// What became of a part of a batch.
struct Part {
    from: Address,
    /// Of its messages in the batch.
    positions: Vec<usize>,
    replies: RedisResult<Vec<Value>>,
    heard_ms: u64,
}

impl Shards {
    /// Connects to all masters and tries on each what a link does, with why counting is refused if it is. The caller bounds the time.
    pub(super) async fn open(
        link: &Arc<Link>,
        generation: u64,
        cluster: Arc<Cluster>,
    ) -> Result<(Self, Option<Failure>), Failure> {
        let probes = probes(&cluster.slots(), link.gate.probe_channel())?;
        let mut opening = JoinSet::new();
        for (address, probe) in probes {
            opening.spawn(Shard::open(link.clone(), generation, address, probe));
        }
        let (mut shards, mut uncounted) = (Vec::new(), None);
        while let Some(opened) = opening.join_next().await {
            let (shard, failure) = opened.map_err(|error| Failure::new(error.to_string()))??;
            shards.push(shard);
            uncounted = uncounted.or(failure);
        }
        shards.sort_by(|one, other| one.address.cmp(&other.address));
        let probes = shards.iter().enumerate();
        let listening = probes.map(|(at, shard)| (slot_of(shard.probe.as_bytes()), (at, 1)));
        let shards = Self {
            adapter: link.config.adapter,
            cluster,
            listening: Mutex::new(listening.collect()),
            shards,
            is_outdated: AtomicBool::new(false),
        };
        Ok((shards, uncounted))
    }

    /// The connection to one of them.
    pub(super) fn bus(&self, address: &Address) -> Option<MultiplexedConnection> {
        Some(self.shard(address)?.bus.clone())
    }

    /// The moment up to which something came from all of them.
    pub(super) fn heard_ms(&self) -> u64 {
        let heard = self.shards.iter();
        let heard = heard.map(|shard| shard.heard_ms.load(Ordering::Relaxed));
        heard.min().unwrap_or(0)
    }

    /// Publishes to the probe channel of each. What counts is that it is heard.
    pub(super) fn probe(&self) {
        for mut shard in self.shards.iter().cloned() {
            let mut probe = redis::cmd(self.adapter.publish_command());
            probe.arg(&shard.probe).arg("");
            tokio::spawn(async move {
                // Ends within the reply deadline.
                let _ = shard.bus.send_packed_command(&probe).await;
            });
        }
    }

    /// `SSUBSCRIBE` or `SUNSUBSCRIBE` for each of the channels, at the owner of its slot.
    pub(super) async fn each(&self, command: &'static str, channels: &[&str]) -> RedisResult<()> {
        let places = self.places(channels)?;
        let mut parts: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for (&channel, (_, at)) in channels.iter().zip(&places) {
            parts.entry(*at).or_default().push(channel);
        }
        self.send_each(command, parts).await?;
        let mut listening = self.listening();
        for (slot, at) in places {
            let place = listening.entry(slot).or_insert((at, 0));
            place.1 = match command {
                "SSUBSCRIBE" => place.1 + 1,
                _ => place.1.saturating_sub(1),
            };
            if place.1 == 0 {
                listening.remove(&slot);
            }
        }
        Ok(())
    }

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

    /// Whether the link must be opened anew, to be connected to all masters that there are now.
    pub(crate) fn is_outdated(&self) -> bool {
        self.is_outdated.load(Ordering::Acquire)
    }

    /// Ends, with the reason, when a slot that is listened to belongs to somebody else. As a rule its former owner says so; one that is cut
    /// off from the others cannot.
    pub(super) async fn until_strayed(self: Arc<Self>) -> Failure {
        let mut suspicion = None;
        loop {
            sleep(WATCH_EVERY).await;
            let strayed = self.strayed();
            // Nodes do not learn of a move at the same moment.
            if let Some((slot, owner)) = &strayed
                && strayed == suspicion
            {
                return Failure::new(format!("slot {slot} of the cluster is at {owner} now"));
            }
            suspicion = strayed;
        }
    }

    fn strayed(&self) -> Option<(u16, Address)> {
        let listening = self.listening();
        listening.iter().find_map(|(&slot, &(at, _))| {
            let owner = self.cluster.owner(slot)?;
            (owner != self.shards[at].address).then_some((slot, owner))
        })
    }

    /// The slot of each channel, and at which of the shards it is listened to or is to be.
    fn places(&self, channels: &[&str]) -> RedisResult<Vec<(u16, usize)>> {
        let listening = self.listening();
        let places = channels.iter().map(|channel| {
            let slot = slot_of(channel.as_bytes());
            let at = match listening.get(&slot) {
                Some(&(at, _)) => at,
                None => self.position_of_owner(slot)?,
            };
            Ok((slot, at))
        });
        places.collect()
    }

    fn position_of_owner(&self, slot: u16) -> RedisResult<usize> {
        let owner = self.cluster.owner(slot);
        let position = owner.as_ref().and_then(|owner| self.position(owner));
        position.ok_or_else(|| {
            let text = match owner {
                Some(owner) => format!("slot {slot} of the cluster has moved to {owner}"),
                None => format!("nobody serves slot {slot} of the cluster"),
            };
            Failure::new(text).into()
        })
    }

    /// One command for each channel, in one pipeline for each shard: channels in one command must be of one slot.
    async fn send_each(
        &self,
        command: &'static str,
        parts: BTreeMap<usize, Vec<&str>>,
    ) -> RedisResult<()> {
        let mut sending = JoinSet::new();
        for (at, channels) in parts {
            let mut pipeline = redis::pipe();
            for channel in &channels {
                pipeline.cmd(command).arg(channel);
            }
            let (mut bus, count) = (self.shards[at].bus.clone(), channels.len());
            sending.spawn(async move { bus.send_packed_commands(&pipeline, 0, count).await });
        }
        while let Some(replies) = sending.join_next().await {
            let replies = replies.map_err(|error| Failure::new(error.to_string()))?;
            for reply in replies? {
                reply.extract_error()?;
            }
        }
        Ok(())
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

    fn shard(&self, address: &Address) -> Option<&Shard> {
        Some(&self.shards[self.position(address)?])
    }

    fn position(&self, address: &Address) -> Option<usize> {
        self.shards
            .binary_search_by(|shard| shard.address.cmp(address))
            .ok()
    }

    /// A panic elsewhere cannot leave it half changed.
    fn listening(&self) -> MutexGuard<'_, Listening> {
        self.listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    async fn open(
        link: Arc<Link>,
        generation: u64,
        address: Address,
        probe: String,
    ) -> Result<(Self, Option<Failure>), Failure> {
        let (heard_ms, is_out_of_step) = <(Arc<AtomicU64>, Arc<AtomicBool>)>::default();
        let (handle, heard, flag) = (
            push_handler(&link, generation),
            heard_ms.clone(),
            is_out_of_step.clone(),
        );
        // Weak, as in the handler.
        let owner = Arc::downgrade(&link);
        let options = attempt_options().set_push_sender(move |push: redis::PushInfo| {
            let kind = push.kind.clone();
            let handled = handle(push);
            if let Some(link) = owner.upgrade() {
                match kind {
                    PushKind::SMessage => heard.store(link.now_ms(), Ordering::Relaxed),
                    // Before the reply for which it is taken.
                    PushKind::SUnsubscribe if link.is_lost(generation) => {
                        flag.store(true, Ordering::Release);
                    }
                    _ => {}
                }
            }
            handled
        });
        let config = &link.config;
        let mut bus = config.connect(&address, Role::Server, &options).await?;
        let tried = trial::attempt(&mut bus, config, "bus", &probe).await;
        let uncounted = tried.map_err(|failure| Failure {
            text: format!("{address}: {}", failure.text),
            ..failure
        })?;
        let shard = Self {
            address,
            bus,
            probe,
            heard_ms,
            is_out_of_step,
        };
        Ok((shard, uncounted))
    }
}
