//! The connections of a sharded link to a Redis Cluster: one to each master, because a channel lives where its slot is.
//!
//! They live and die together with the link. That is up when every master answers and has confirmed what is wanted of it, and is opened anew
//! when one of them breaks, is silent, or has lost a slot that is listened to: then nobody can say what was missed.

mod publishing;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{PushKind, RedisResult};
use tokio::task::JoinSet;
use tokio::time::sleep;
use unisono_cluster::Adapter;

use super::Link;
use super::probes::probes;
use super::session::{Verb, each, push_handler};
use crate::cluster::{Cluster, slot_of};
use crate::config::Address;
use crate::connect::{Role, attempt_options};
use crate::failure::Failure;
use crate::limits::WATCH_EVERY;
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

    /// `SSUBSCRIBE` or `SUNSUBSCRIBE` for each of the channels, at the owner of its slot; what became of each.
    pub(super) async fn each(&self, verb: Verb, channels: &[&str]) -> Vec<RedisResult<()>> {
        let places = match self.places(channels) {
            Ok(places) => places,
            Err(error) => return vec![Err(error); channels.len()],
        };
        let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (position, (_, at)) in places.iter().enumerate() {
            parts.entry(*at).or_default().push(position);
        }
        let mut outcomes = vec![Ok(()); channels.len()];
        for (positions, replies) in self.send_each(verb, channels, parts).await {
            for (position, outcome) in positions.into_iter().zip(replies) {
                outcomes[position] = outcome;
            }
        }
        let mut listening = self.listening();
        for ((slot, at), _) in places
            .into_iter()
            .zip(&outcomes)
            .filter(|(_, done)| done.is_ok())
        {
            let place = listening.entry(slot).or_insert((at, 0));
            place.1 = match verb {
                Verb::Subscribe => place.1 + 1,
                Verb::Unsubscribe => place.1.saturating_sub(1),
            };
            if place.1 == 0 {
                listening.remove(&slot);
            }
        }
        outcomes
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

    /// One pipeline for each shard, all at the same time.
    async fn send_each(
        &self,
        verb: Verb,
        channels: &[&str],
        parts: BTreeMap<usize, Vec<usize>>,
    ) -> Vec<(Vec<usize>, Vec<RedisResult<()>>)> {
        let sending = parts.into_iter().map(async |(at, positions)| {
            let mut bus = self.shards[at].bus.clone();
            let commands = positions.iter();
            let commands = commands.map(|&position| (verb.shard_command(), channels[position]));
            let outcomes = each(&mut bus, commands).await;
            (positions, outcomes)
        });
        join_all(sending).await
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
