//! One pod: what its handlers share, how it starts, and how it ends.

mod health;
mod pod;
mod watch;

use std::sync::Arc;
use std::time::Duration;

pub use health::Health;
pub use pod::{Backing, Pod, StartError};
use unisono_cluster::{Broker, LinkState};
use unisono_redis::RedisBroker;
use watch::watch_link;

use crate::auth::Guard;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::session::Sessions;

/// What the handlers of a pod share. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    config: Config,
    guard: Guard,
    sessions: Sessions,
    metrics: Arc<Metrics>,
    health: Health,
    link: Link,
}

/// The link to the other pods.
#[derive(Clone)]
pub(crate) enum Link {
    /// Through Redis.
    Redis(Arc<RedisBroker>),
    /// Within this process.
    InProcess(Arc<dyn Broker>),
}

impl Link {
    fn broker(&self) -> Arc<dyn Broker> {
        match self {
            Self::Redis(broker) => broker.clone(),
            Self::InProcess(broker) => broker.clone(),
        }
    }

    /// Waits until everything published is sent, but no longer than `limit`.
    async fn flush(&self, limit: Duration) {
        if let Self::Redis(broker) = self {
            // Whether it was done or given up, the pod ends.
            let _ = tokio::time::timeout(limit, broker.flush()).await;
        }
    }

    /// What went wrong last, without secrets.
    fn last_error(&self) -> Option<String> {
        match self {
            Self::Redis(broker) => broker.last_error(),
            Self::InProcess(_) => None,
        }
    }
}

impl App {
    pub(crate) fn new(
        config: Config,
        sessions: Sessions,
        metrics: Arc<Metrics>,
        link: Link,
    ) -> Self {
        Self(Arc::new(Inner {
            guard: Guard::new(&config.auth),
            config,
            sessions,
            metrics,
            health: Health::default(),
            link,
        }))
    }

    /// The configuration the pod runs with.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Name of this pod.
    pub fn pod_name(&self) -> &str {
        &self.0.config.pod_name
    }

    /// Checks the tokens of handshakes.
    pub fn guard(&self) -> &Guard {
        &self.0.guard
    }

    /// The sessions of this pod.
    pub fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// What this pod counts itself.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Whether the pod is ready, and whether it drains.
    pub fn health(&self) -> &Health {
        &self.0.health
    }

    /// Whether changes do not reach the other pods although they should: the link is away, or
    /// Redis refuses something. `link` is its state as the caller has seen it: what is shown of
    /// one moment must not contradict itself.
    pub fn is_degraded(&self, link: LinkState) -> bool {
        let refused = || self.metrics().refused_sessions() > 0 || self.refusal().is_some();
        !link.is_up() || refused()
    }

    /// What Redis does not let this pod do, with the ACL rule that allows it. `None` while it
    /// refuses nothing.
    pub fn refusal(&self) -> Option<String> {
        let link = match &self.0.link {
            Link::Redis(broker) => broker.refusal(),
            Link::InProcess(_) => None,
        };
        link.or_else(|| self.health().refusal())
    }

    /// The Redis server that the link is on, `host:port`; `None` while it is on none.
    pub fn redis_server(&self) -> Option<String> {
        match &self.0.link {
            Link::Redis(broker) => broker.server(),
            Link::InProcess(_) => None,
        }
    }

    /// The link to the other pods.
    pub fn link(&self) -> &dyn Broker {
        match &self.0.link {
            Link::Redis(broker) => broker.as_ref(),
            Link::InProcess(broker) => broker.as_ref(),
        }
    }
}
