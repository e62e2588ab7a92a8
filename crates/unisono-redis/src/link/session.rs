//! One set of connections, from their opening to their end.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisResult, Value};
use tokio::task::AbortHandle;
use unisono_cluster::{Adapter, Subscription};

use super::{Connections, Link, Refused, Shards, Turn};
use crate::cluster::Cluster;
use crate::config::Address;
use crate::connect::{Role, attempt_options, options};
use crate::failure::{Deed, Failure};
use crate::limits::{MAX_UNLEFT, SUBSCRIBE_BATCH};
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
    /// Not wanted any more, and there still, because Redis refused to end them.
    unleft: BTreeSet<Subscription>,
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
            unleft: BTreeSet::new(),
            watch,
        })
    }

    /// Makes the confirmed subscriptions those that are wanted. Redis has the time of one reply for each batch of them.
    pub(super) async fn follow(&mut self, link: &Link, turn: Turn) -> Result<(), Failure> {
        let (mut removed, mut added) = (turn.removed, turn.added);
        removed.retain(|subscription| self.confirmed.remove(subscription));
        added.retain(|subscription| is_asked_for(self.adapter, subscription));
        for subscription in &added {
            // It is there still.
            if let Some(subscription) = self.unleft.take(subscription) {
                self.confirmed.insert(subscription);
            }
        }
        added.retain(|subscription| !self.confirmed.contains(subscription));
        if !removed.is_empty() {
            self.remove(link, removed).await?;
        }
        for batch in added.chunks(SUBSCRIBE_BATCH) {
            let outcomes = self.each(Verb::Subscribe, batch).await;
            for (one, outcome) in batch.iter().zip(outcomes) {
                let deed = Deed::Subscribe(self.adapter, one);
                outcome.map_err(|error| Failure::of(&error, link.config.user(), deed))?;
            }
        }
        self.confirmed.extend(added);
        link.followed.send_replace(turn.version);
        Ok(())
    }

    /// All that can be. To hear more than is wanted is no reason to hear nothing, so a refusal is only shown.
    async fn remove(&mut self, link: &Link, removed: Vec<Subscription>) -> Result<(), Failure> {
        let mut refusal = self.leave(link, removed).await?;
        if refusal.is_none() {
            // Redis may let us by now. If it does not, that costs one batch.
            let again = self.unleft.iter().take(SUBSCRIBE_BATCH).cloned().collect();
            refusal = self.leave(link, again).await?;
        }
        match refusal {
            Some(refusal) => link.note_refused(Refused::Unsubscribe, refusal),
            None if self.unleft.is_empty() => link.refusals.take_back(Refused::Unsubscribe),
            None => {}
        }
        Ok(())
    }

    /// Ends all of these that Redis lets us end, and gives the first refusal.
    async fn leave(
        &mut self,
        link: &Link,
        removed: Vec<Subscription>,
    ) -> Result<Option<Failure>, Failure> {
        let mut refusal = None;
        for batch in removed.chunks(SUBSCRIBE_BATCH) {
            if self.is_sharded() {
                link.leave(batch.iter().map(name));
            }
            let outcomes = self.each(Verb::Unsubscribe, batch).await;
            for (one, outcome) in batch.iter().zip(outcomes) {
                let Err(error) = outcome else {
                    self.unleft.remove(one);
                    continue;
                };
                let deed = Deed::Command(right_to_leave(self.adapter, one));
                let failure = Failure::of(&error, link.config.user(), deed);
                if !failure.is_refusal {
                    return Err(failure);
                }
                refusal.get_or_insert(failure);
                if self.is_sharded() {
                    link.stay(name(one));
                }
                if self.unleft.len() < MAX_UNLEFT {
                    self.unleft.insert(one.clone());
                }
            }
        }
        Ok(refusal)
    }

    /// One command for each, in one pipeline; what became of each. Redis refuses a command for several as a whole, and shard channels in one
    /// must be of one slot.
    async fn each(&mut self, verb: Verb, batch: &[Subscription]) -> Vec<RedisResult<()>> {
        if let Some(shards) = &self.connections.shards {
            let channels: Vec<_> = batch.iter().map(name).collect();
            return shards.each(verb, &channels).await;
        }
        let commands = batch.iter();
        let commands = commands.map(|one| (verb.command(self.adapter, one), name(one)));
        each(&mut self.bus, commands).await
    }

    fn is_sharded(&self) -> bool {
        matches!(self.adapter, Adapter::Sharded(_))
    }
}

/// What is asked of Redis for a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Subscribe,
    Unsubscribe,
}

impl Verb {
    fn command(self, adapter: Adapter, subscription: &Subscription) -> &'static str {
        match (adapter, subscription, self) {
            (Adapter::Sharded(_), _, _) => self.shard_command(),
            (Adapter::Classic, Subscription::Pattern(_), Self::Subscribe) => "PSUBSCRIBE",
            (Adapter::Classic, Subscription::Pattern(_), Self::Unsubscribe) => "PUNSUBSCRIBE",
            (Adapter::Classic, Subscription::Channel(_), Self::Subscribe) => "SUBSCRIBE",
            (Adapter::Classic, Subscription::Channel(_), Self::Unsubscribe) => "UNSUBSCRIBE",
        }
    }

    pub(super) fn shard_command(self) -> &'static str {
        match self {
            Self::Subscribe => "SSUBSCRIBE",
            Self::Unsubscribe => "SUNSUBSCRIBE",
        }
    }
}

fn right_to_leave(adapter: Adapter, subscription: &Subscription) -> &'static str {
    match (adapter, subscription) {
        (Adapter::Sharded(_), _) => "sunsubscribe",
        (Adapter::Classic, Subscription::Pattern(_)) => "punsubscribe",
        (Adapter::Classic, Subscription::Channel(_)) => "unsubscribe",
    }
}

/// Sharded publish/subscribe has no patterns.
fn is_asked_for(adapter: Adapter, subscription: &Subscription) -> bool {
    adapter == Adapter::Classic || matches!(subscription, Subscription::Channel(_))
}

fn name(subscription: &Subscription) -> &str {
    match subscription {
        Subscription::Pattern(name) | Subscription::Channel(name) => name,
    }
}

/// These commands for these channels, in one pipeline on one connection; what became of each.
pub(super) async fn each(
    bus: &mut MultiplexedConnection,
    commands: impl ExactSizeIterator<Item = (&'static str, &str)>,
) -> Vec<RedisResult<()>> {
    let count = commands.len();
    let mut pipeline = redis::pipe();
    for (command, channel) in commands {
        pipeline.cmd(command).arg(channel);
    }
    let replies = bus.send_packed_commands(&pipeline, 0, count);
    match replies.await {
        Ok(replies) => {
            let outcomes = replies
                .into_iter()
                .map(|reply| reply.extract_error().map(drop));
            outcomes.collect()
        }
        Err(error) => vec![Err(error); count],
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
