//! The broker that users hold.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use unisono_cluster::broker::check_size;
use unisono_cluster::{
    Adapter, Broker, CountEachFuture, CountError, CountFuture, Inbox, LinkState, LinkStats,
    PublishError, Subscription,
};

use crate::buffer::FLUSH_POLL;
use crate::commander::Commander;
use crate::config::RedisConfig;
use crate::failure::{Deed, Failure};
use crate::limits::REPLY_DEADLINE;
use crate::link::{self, Link, Refused};
use crate::nodes::{RequestError, count_right};
use crate::publisher;

/// The cluster's broker over Redis publish/subscribe. Dropping it closes it.
pub struct RedisBroker {
    link: Arc<Link>,
}

impl RedisBroker {
    /// Starts the link and returns at once, whether Redis is there or not.
    ///
    /// # Panics
    /// Outside a tokio runtime, whose tasks the link runs on.
    pub fn start(config: RedisConfig) -> Self {
        config.choose_tls_provider();
        let link = Arc::new(Link::new(config));
        tokio::spawn(link::run(link.clone()));
        tokio::spawn(publisher::run(link.clone()));
        Self { link }
    }

    /// For scripts and commands on the same Redis.
    pub fn commander(&self) -> Commander {
        Commander::new(self.link.clone())
    }

    /// The state of the link, to await changes of.
    pub fn watch(&self) -> watch::Receiver<LinkState> {
        self.link.state.subscribe()
    }

    /// The server that the link is on, `host:port`; `None` while it is on none. Behind sentinels and in a cluster all nodes should name the
    /// same; those that name another do not hear everything in one order.
    pub fn server(&self) -> Option<String> {
        let connections = self.link.connections.borrow();
        let connections = connections.as_ref()?;
        Some(connections.commander.home_address.to_string())
    }

    /// What went wrong last, without secrets; `None` if nothing ever did.
    pub fn last_error(&self) -> Option<String> {
        self.link.last_error()
    }

    /// What Redis does not let this process do, and the ACL rule that allows it; `None` while it refuses nothing. The link tries on.
    pub fn refusal(&self) -> Option<String> {
        self.link.refusals.shown()
    }

    /// Returns when everything published so far is confirmed, dropped or given up. For a process that is about to end; bound the time.
    pub async fn flush(&self) {
        while !self.link.is_closed() && !self.link.buffer.is_idle() {
            sleep(FLUSH_POLL).await;
        }
    }
}

impl Broker for RedisBroker {
    fn adapter(&self) -> Adapter {
        self.link.config.adapter
    }

    fn attach(&self, inbox: Arc<dyn Inbox>) {
        self.link.gate.attach(inbox, || *self.link.state.borrow());
    }

    fn subscribe(&self, subscription: Subscription) {
        if let (Adapter::Sharded(_), Subscription::Pattern(pattern)) =
            (self.adapter(), &subscription)
        {
            tracing::error!(pattern, "sharded publish/subscribe has no patterns");
            return;
        }
        self.link.subscribe(subscription);
    }

    fn unsubscribe(&self, subscription: &Subscription) {
        self.link.unsubscribe(subscription);
    }

    fn publish(&self, channel: &str, payload: Bytes) -> Result<(), PublishError> {
        let link = &self.link;
        if link.is_closed() {
            return Err(PublishError::Closed);
        }
        let counters = &link.counters;
        if let Err(error) = check_size(&payload) {
            counters.dropped_too_large.fetch_add(1, Ordering::Relaxed);
            return Err(error);
        }
        // Whoever subscribes and then publishes hears it.
        let after = link.last_addition();
        let outcome = link.buffer.push(channel, payload, link.now_ms(), after);
        if outcome.is_err() {
            counters.dropped_buffer_full.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    fn expect_listeners(&self, channel: &str, count: usize) {
        self.link.gathering.expect(channel, count);
    }

    fn count(&self, channel: &str) -> CountFuture {
        let counts = self.count_each(&[channel.to_owned()]);
        Box::pin(async move { counts.await?.first().copied().ok_or(CountError) })
    }

    fn count_each(&self, channels: &[String]) -> CountEachFuture {
        Box::pin(count_each(self.link.clone(), channels.to_vec()))
    }

    fn state(&self) -> LinkState {
        *self.link.state.borrow()
    }

    fn suspect(&self) {
        self.link.suspect();
    }

    fn stats(&self) -> LinkStats {
        self.link.stats()
    }

    fn close(&self) {
        self.link.close();
    }
}

/// `PUBSUB NUMSUB` or `SHARDNUMSUB` on all servers, when what this broker wanted to hear by now is confirmed: otherwise it might count itself or not.
async fn count_each(link: Arc<Link>, channels: Vec<String>) -> Result<Vec<usize>, CountError> {
    if !link.state.borrow().is_up() {
        return Err(CountError);
    }
    let wanted = link.wanted_version();
    let mut followed = link.followed.subscribe();
    let confirmed = timeout(
        REPLY_DEADLINE,
        followed.wait_for(|&version| version >= wanted),
    );
    // The sender is in `link`, which we hold.
    confirmed.await.map_err(|_| CountError)?.ok();
    drop(followed);
    let connections = link.connections.borrow().clone().ok_or(CountError)?;
    // Bounded by the deadlines of the questions: its own server's, the other nodes', and whether those are dead.
    let nodes = &connections.commander;
    match nodes.count_each(link.config.adapter, &channels).await {
        Ok(counts) => {
            link.refusals.take_back(Refused::Count);
            Ok(counts)
        }
        Err(RequestError::Home(error)) if error.is_timeout() => {
            // Nothing probes this connection.
            link.lost(connections.generation, Some(&error));
            Err(CountError)
        }
        Err(error) if error.is_of_connection() => Err(CountError),
        Err(RequestError::Home(error) | RequestError::Elsewhere(error)) => {
            let deed = Deed::Command(count_right(link.config.adapter));
            let failure = Failure::of(&error, link.config.user(), deed);
            link.note_refused(Refused::Count, failure);
            Err(CountError)
        }
        Err(RequestError::Unreachable(_)) => Err(CountError),
    }
}

impl Drop for RedisBroker {
    fn drop(&mut self) {
        self.link.close();
    }
}
