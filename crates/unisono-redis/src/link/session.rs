//! One set of connections, from their opening to their end.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisError, RedisResult, Value};
use tokio::task::AbortHandle;
use unisono_cluster::{Adapter, Subscription};

use super::{Connections, Link, Refused, Shards, Turn};
use crate::cluster::Cluster;
use crate::config::Address;
use crate::connect::{Role, attempt_options, options};
use crate::failure::{Deed, Failure};
use crate::limits::{SHARD_SUBSCRIBE_BATCH, SUBSCRIBE_BATCH};
use crate::nodes::Nodes;
use crate::route::{Here, Place, Route};
use crate::trial;

/// Two connections and what the bus has confirmed. Dropping it closes them.
///
/// Publishes and messages share one connection (RESP3): a confirmation and our own message come in one read, which is a third of the
/// wake-ups of an event less. Commands have their own, so that a script never waits behind publishes.
pub(super) struct Session {
    bus: MultiplexedConnection,
    adapter: Adapter,
    pub(super) connections: Connections,
    confirmed: BTreeSet<Subscription>,
    /// Looks whether the server is still the right one.
    watch: AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Session {
    /// Opens the connections and tries what they are for. The caller bounds the time, and then [follows](Self::follow).
    pub(super) async fn open(
        link: &Arc<Link>,
        route: &mut Route,
        generation: u64,
    ) -> Result<Self, Failure> {
        let Place { address, slots } = route.find().await?;
        let config = &link.config;
        let cluster = slots.map(|slots| Arc::new(Cluster::new(config.clone(), slots, options())));
        let heard = attempt_options().set_push_sender(push_handler(link, generation));
        link.gate.admit(generation);
        let opening = async {
            match (config.adapter, &cluster) {
                (Adapter::Sharded(_), Some(cluster)) => {
                    open_shards(link, generation, &address, cluster).await
                }
                _ => open_bus(link, &address, &heard).await,
            }
        };
        let ((bus, shards, uncounted), home) =
            tokio::try_join!(opening, config.connect_named(&address, &heard, "cmd"),)?;
        match uncounted {
            Some(failure) => link.note_refused(Refused::Count, failure),
            None => link.refusals.take_back(Refused::Count),
        }
        let connections = Connections {
            publisher: bus.clone(),
            shards: shards.clone(),
            commander: Nodes {
                home: home.clone(),
                home_address: address.clone(),
                cluster: cluster.clone(),
            },
            generation,
        };
        let here = Here {
            address,
            connection: home,
            cluster,
            probe_channel: Some(link.gate.probe_channel().to_owned()),
        };
        let elsewhere = route.clone().until_elsewhere(here);
        let watch = match shards {
            None => watch(link, generation, elsewhere),
            Some(shards) => watch(link, generation, async move {
                tokio::select! {
                    failure = elsewhere => failure,
                    failure = shards.until_strayed() => failure,
                }
            }),
        };
        Ok(Self {
            bus,
            adapter: config.adapter,
            connections,
            confirmed: BTreeSet::new(),
            watch,
        })
    }

    /// Makes the confirmed subscriptions those that are wanted. Redis has the time of one reply for each batch of them.
    pub(super) async fn follow(&mut self, link: &Link, turn: Turn) -> Result<(), Failure> {
        let (mut removed, mut added) = (turn.removed, turn.added);
        removed.retain(|subscription| self.confirmed.remove(subscription));
        added.retain(|subscription| !self.confirmed.contains(subscription));
        self.remove(link, &removed).await?;
        let batch = match self.adapter {
            Adapter::Classic => SUBSCRIBE_BATCH,
            Adapter::Sharded(_) => SHARD_SUBSCRIBE_BATCH,
        };
        for batch in added.chunks(batch) {
            self.add(batch, link.config.user()).await?;
        }
        self.confirmed.extend(added);
        link.followed.send_replace(turn.version);
        Ok(())
    }

    /// All that can be. To hear more than is wanted is no reason to hear nothing, so a refusal is only shown.
    async fn remove(&mut self, link: &Link, removed: &[Subscription]) -> Result<(), Failure> {
        if let Adapter::Sharded(_) = self.adapter {
            for batch in removed.chunks(SHARD_SUBSCRIBE_BATCH) {
                let (_, channels) = split(batch);
                link.leave(&channels);
                let outcomes = self.each("SUNSUBSCRIBE", &channels).await;
                for (channel, outcome) in channels.into_iter().zip(&outcomes) {
                    if outcome.is_err() {
                        link.stay(channel);
                    }
                }
                let left = outcomes.into_iter().collect();
                note_left(link, Refused::Unsubscribe, "sunsubscribe", left)?;
            }
            return Ok(());
        }
        for batch in removed.chunks(SUBSCRIBE_BATCH) {
            let (patterns, channels) = split(batch);
            if !patterns.is_empty() {
                let left = self.bus.punsubscribe(patterns).await;
                note_left(link, Refused::UnsubscribePattern, "punsubscribe", left)?;
            }
            if !channels.is_empty() {
                let left = self.bus.unsubscribe(channels).await;
                note_left(link, Refused::Unsubscribe, "unsubscribe", left)?;
            }
        }
        Ok(())
    }

    /// One command for each shard channel, in one pipeline: two channels in one command may be of two slots of a Redis Cluster. Says what
    /// became of each.
    async fn each(&mut self, command: &'static str, channels: &[&str]) -> Vec<RedisResult<()>> {
        match &self.connections.shards {
            Some(shards) => shards.each(command, channels).await,
            None => each(&mut self.bus, command, channels).await,
        }
    }

    /// All of them, or an error that names one.
    async fn add(&mut self, batch: &[Subscription], user: &str) -> Result<(), Failure> {
        let adapter = self.adapter;
        let failure =
            |error: RedisError, one| Failure::of(&error, user, Deed::Subscribe(adapter, one));
        if let Adapter::Sharded(_) = adapter {
            let (_, channels) = split(batch);
            let outcomes = self.each("SSUBSCRIBE", &channels).await;
            for (one, outcome) in batch.iter().zip(outcomes) {
                outcome.map_err(|error| failure(error, one))?;
            }
            return Ok(());
        }
        let Err(error) = self.add_at_once(batch).await else {
            return Ok(());
        };
        let failed = failure(error, &batch[0]);
        if !failed.is_refusal {
            return Err(failed);
        }
        // Redis does not say which of them it refuses.
        for one in batch {
            let added = self.add_at_once(std::slice::from_ref(one)).await;
            added.map_err(|error| failure(error, one))?;
        }
        Ok(())
    }

    async fn add_at_once(&mut self, batch: &[Subscription]) -> RedisResult<()> {
        let (patterns, channels) = split(batch);
        if !patterns.is_empty() {
            self.bus.psubscribe(patterns).await?;
        }
        if !channels.is_empty() {
            self.bus.subscribe(channels).await?;
        }
        Ok(())
    }
}

/// # Errors
/// What is no refusal.
fn note_left(
    link: &Link,
    refused: Refused,
    command: &'static str,
    left: RedisResult<()>,
) -> Result<(), Failure> {
    let Err(error) = left else {
        link.refusals.take_back(refused);
        return Ok(());
    };
    let failure = Failure::of(&error, link.config.user(), Deed::Command(command));
    if !failure.is_refusal {
        return Err(failure);
    }
    link.note_refused(refused, failure);
    Ok(())
}

/// The same command for each channel, in one pipeline on one connection; what became of each.
pub(super) async fn each(
    bus: &mut MultiplexedConnection,
    command: &'static str,
    channels: &[&str],
) -> Vec<RedisResult<()>> {
    let mut pipeline = redis::pipe();
    for channel in channels {
        pipeline.cmd(command).arg(channel);
    }
    let replies = bus.send_packed_commands(&pipeline, 0, channels.len());
    match replies.await {
        Ok(replies) => {
            let outcomes = replies
                .into_iter()
                .map(|reply| reply.extract_error().map(drop));
            outcomes.collect()
        }
        Err(error) => vec![Err(error); channels.len()],
    }
}

/// The connection for publishes and messages, those to all masters where each has its own, and why counting is refused if it is.
type Opened = (MultiplexedConnection, Option<Arc<Shards>>, Option<Failure>);

/// The connection for publishes and messages, with why counting is refused if it is.
async fn open_bus(
    link: &Link,
    address: &Address,
    options: &AsyncConnectionConfig,
) -> Result<Opened, Failure> {
    let config = &link.config;
    let mut bus = config.connect(address, Role::Server, options).await?;
    let uncounted = trial::attempt(&mut bus, config, "bus", link.gate.probe_channel()).await?;
    Ok((bus, None, uncounted))
}

/// One such connection to every master.
async fn open_shards(
    link: &Arc<Link>,
    generation: u64,
    address: &Address,
    cluster: &Arc<Cluster>,
) -> Result<Opened, Failure> {
    let (shards, uncounted) = Shards::open(link, generation, cluster.clone()).await?;
    let bus = shards.bus(address);
    let bus = bus.ok_or_else(|| Failure::new(format!("{address} serves no slot any more")))?;
    Ok((bus, Some(Arc::new(shards)), uncounted))
}

/// Gives the link up when the server is no longer the right one.
fn watch(
    link: &Arc<Link>,
    generation: u64,
    elsewhere: impl Future<Output = Failure> + Send + 'static,
) -> AbortHandle {
    // Weak, as below.
    let link = Arc::downgrade(link);
    let watching = tokio::spawn(async move {
        let failure = elsewhere.await;
        if let Some(link) = link.upgrade() {
            tracing::info!(reason = failure.text, "redis is elsewhere");
            link.note(failure);
            link.lost(generation, None);
        }
    });
    watching.abort_handle()
}

/// Runs in the task that reads the socket: while the inbox works, nothing more is read, and nothing is queued.
/// Both connections have it, so that the loss of either is noticed at once.
pub(super) fn push_handler(
    link: &Arc<Link>,
    generation: u64,
) -> impl Fn(PushInfo) -> Result<(), Infallible> + Send + Sync + 'static {
    // Weak: the connection belongs to the link's task, and must not keep the link alive.
    let link = Arc::downgrade(link);
    move |push| {
        if let Some(link) = link.upgrade() {
            match push.kind {
                PushKind::Disconnection => link.lost(generation, None),
                PushKind::SUnsubscribe => {
                    if let Some(Value::BulkString(channel)) = push.data.first() {
                        link.left(generation, channel);
                    }
                }
                _ => link.gate.handle_push(generation, push, link.now_ms()),
            }
        }
        Ok(())
    }
}

/// Patterns and channels of a batch.
fn split(batch: &[Subscription]) -> (Vec<&str>, Vec<&str>) {
    let (mut patterns, mut channels) = (Vec::new(), Vec::new());
    for subscription in batch {
        match subscription {
            Subscription::Pattern(pattern) => patterns.push(pattern.as_str()),
            Subscription::Channel(channel) => channels.push(channel.as_str()),
        }
    }
    (patterns, channels)
}
