//! One set of connections, from their opening to their end.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisResult};
use unisono_cluster::Subscription;

use super::{Connections, Link, Wanted};
use crate::limits::{REPLY_DEADLINE, SUBSCRIBE_BATCH};

/// Two connections and what the bus has confirmed. Dropping it closes them.
///
/// Publishes and messages share one connection (RESP3): a confirmation and our own message come in one read, which is a third of the
/// wake-ups of an event less. Commands have their own, so that a script never waits behind publishes.
pub(super) struct Session {
    bus: MultiplexedConnection,
    pub(super) connections: Connections,
    confirmed: BTreeSet<Subscription>,
}

impl Session {
    /// Opens the connections and confirms every wanted subscription. The caller bounds the time.
    pub(super) async fn open(link: &Arc<Link>, generation: u64) -> RedisResult<Self> {
        let client = link.config.client()?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(REPLY_DEADLINE))
            .set_response_timeout(Some(REPLY_DEADLINE))
            .set_push_sender(push_handler(link, generation));
        link.gate.admit(generation);
        let (bus, commander) = tokio::try_join!(
            connect(&client, &config, &link.config.client_name, "bus"),
            connect(&client, &config, &link.config.client_name, "cmd"),
        )?;
        let connections = Connections {
            publisher: bus.clone(),
            commander,
            generation,
        };
        let mut session = Self {
            bus,
            connections,
            confirmed: BTreeSet::new(),
        };
        session.bus.subscribe(link.gate.probe_channel()).await?;
        session.follow(link).await?;
        Ok(session)
    }

    /// Makes the confirmed subscriptions those that are wanted.
    pub(super) async fn follow(&mut self, link: &Link) -> RedisResult<()> {
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
            let (patterns, channels) = split(batch);
            if !patterns.is_empty() {
                self.bus.psubscribe(patterns).await?;
            }
            if !channels.is_empty() {
                self.bus.subscribe(channels).await?;
            }
        }
        self.confirmed = wanted;
        link.followed.send_replace(version);
        Ok(())
    }
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

/// Opens a connection that tells its name.
pub(crate) async fn connect(
    client: &redis::Client,
    config: &AsyncConnectionConfig,
    client_name: &str,
    role: &str,
) -> RedisResult<MultiplexedConnection> {
    let mut connection = client
        .get_multiplexed_async_connection_with_config(config)
        .await?;
    // The name only helps whoever reads `CLIENT LIST`; a Redis that refuses it (by its access rules) serves us all the same.
    let mut naming = redis::cmd("CLIENT");
    naming.arg("SETNAME").arg(format!("{client_name}-{role}"));
    match connection.send_packed_command(&naming).await {
        Err(error) if error.is_unrecoverable_error() => Err(error),
        _ => Ok(connection),
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
