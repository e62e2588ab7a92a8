//! One set of connections, from their opening to their end.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisResult};
use tokio::task::AbortHandle;
use unisono_cluster::Subscription;

use super::{Connections, Link, Wanted};
use crate::cluster::Cluster;
use crate::connect::options;
use crate::failure::{Deed, Failure};
use crate::limits::SUBSCRIBE_BATCH;
use crate::nodes::Nodes;
use crate::route::{Place, Route};

/// Two connections and what the bus has confirmed. Dropping it closes them.
///
/// Publishes and messages share one connection (RESP3): a confirmation and our own message come in one read, which is a third of the
/// wake-ups of an event less. Commands have their own, so that a script never waits behind publishes.
pub(super) struct Session {
    bus: MultiplexedConnection,
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
    /// Opens the connections and confirms every wanted subscription. The caller bounds the time.
    pub(super) async fn open(
        link: &Arc<Link>,
        route: &mut Route,
        generation: u64,
    ) -> Result<Self, Failure> {
        let Place { address, slots } = route.find().await?;
        let config = &link.config;
        let heard = options().set_push_sender(push_handler(link, generation));
        link.gate.admit(generation);
        let (bus, home) = tokio::try_join!(
            config.connect_named(&address, &heard, "bus"),
            config.connect_named(&address, &heard, "cmd"),
        )?;
        let cluster = slots.map(|slots| Arc::new(Cluster::new(config.clone(), slots)));
        let connections = Connections {
            publisher: bus.clone(),
            commander: Nodes {
                home,
                home_address: address.clone(),
                cluster: cluster.clone(),
            },
            generation,
        };
        let watch = watch(
            link,
            generation,
            route.clone().until_elsewhere(address, cluster),
        );
        let mut session = Self {
            bus,
            connections,
            confirmed: BTreeSet::new(),
            watch,
        };
        session.check(link).await?;
        session.follow(link).await?;
        Ok(session)
    }

    /// Whether Redis lets the link do what it does, on a channel that only we listen to. A right that only requests need is shown if it
    /// is missing; without the others there is no link.
    async fn check(&mut self, link: &Link) -> Result<(), Failure> {
        let (user, probe) = (link.config.user(), link.gate.probe_channel());
        let subscribed = self.bus.subscribe(probe).await;
        subscribed.map_err(|error| Failure::of(&error, user, Deed::SubscribeProbe(probe)))?;
        let published: RedisResult<usize> = redis::cmd("PUBLISH")
            .arg(probe)
            .arg("")
            .query_async(&mut self.bus)
            .await;
        published.map_err(|error| Failure::of(&error, user, Deed::Publish(probe)))?;
        let counted: RedisResult<redis::Value> = redis::cmd("PUBSUB")
            .arg("NUMSUB")
            .arg(probe)
            .query_async(&mut self.bus)
            .await;
        let uncounted = counted
            .err()
            .map(|error| Failure::of(&error, user, Deed::Command("pubsub|numsub")));
        match uncounted {
            Some(failure) if failure.is_refusal => link.note(failure),
            Some(failure) => return Err(failure),
            None => link.note_let(),
        }
        Ok(())
    }

    /// Makes the confirmed subscriptions those that are wanted.
    pub(super) async fn follow(&mut self, link: &Link) -> Result<(), Failure> {
        let Wanted {
            subscriptions: wanted,
            version,
        } = link.wanted();
        let removed: Vec<_> = self.confirmed.difference(&wanted).cloned().collect();
        let added: Vec<_> = wanted.difference(&self.confirmed).cloned().collect();
        for batch in removed.chunks(SUBSCRIBE_BATCH) {
            let (patterns, channels) = split(batch);
            if !patterns.is_empty() {
                self.bus.punsubscribe(patterns).await?;
            }
            if !channels.is_empty() {
                self.bus.unsubscribe(channels).await?;
            }
        }
        for batch in added.chunks(SUBSCRIBE_BATCH) {
            if let Err(error) = self.add(batch).await {
                return Err(self.explain(error, batch, link.config.user()).await);
            }
        }
        self.confirmed = wanted;
        link.followed.send_replace(version);
        Ok(())
    }

    async fn add(&mut self, batch: &[Subscription]) -> RedisResult<()> {
        let (patterns, channels) = split(batch);
        if !patterns.is_empty() {
            self.bus.psubscribe(patterns).await?;
        }
        if !channels.is_empty() {
            self.bus.subscribe(channels).await?;
        }
        Ok(())
    }

    /// Which of them it was: Redis does not say.
    async fn explain(
        &mut self,
        error: redis::RedisError,
        batch: &[Subscription],
        user: &str,
    ) -> Failure {
        let mut failure = Failure::from(error);
        if !failure.is_refusal {
            return failure;
        }
        for one in batch.chunks(1) {
            if let Err(error) = self.add(one).await {
                failure = Failure::of(&error, user, Deed::Subscribe(&one[0]));
                break;
            }
        }
        failure
    }
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
fn push_handler(
    link: &Arc<Link>,
    generation: u64,
) -> impl Fn(PushInfo) -> Result<(), Infallible> + Send + Sync + 'static {
    // Weak: the connection belongs to the link's task, and must not keep the link alive.
    let link = Arc::downgrade(link);
    move |push| {
        if let Some(link) = link.upgrade() {
            match push.kind {
                PushKind::Disconnection => link.lost(generation, None),
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
