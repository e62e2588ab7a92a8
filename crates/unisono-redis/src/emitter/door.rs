//! The one connection of an emitter and its clones.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisError};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use unisono_cluster::{Adapter, Emission};

use crate::cluster::Cluster;
use crate::commander::{CommandError, CommandErrorKind};
use crate::config::RedisConfig;
use crate::failure::Failure;
use crate::nodes::{Nodes, Request};
use crate::route::{Here, Place, Route};

/// Where what is emitted goes out.
pub(super) struct Door {
    config: RedisConfig,
    key: String,
    deadline: Duration,
    // Held while connecting, so that many callers make one connection; each gives up at its own deadline.
    current: Mutex<Current>,
    /// Nobody got the last message. Told once, not for each.
    is_unheard: AtomicBool,
}

struct Current {
    route: Route,
    connection: Option<Connection>,
}

#[derive(Clone)]
struct Connection {
    nodes: Nodes,
    /// Broken, or not to be trusted any more.
    is_lost: Arc<AtomicBool>,
    /// Looks whether the server is still the right one, until nobody has this connection any more.
    _watch: Arc<AbortOnDrop>,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Door {
    pub(super) fn new(config: RedisConfig, key: String, deadline: Duration) -> Self {
        Self {
            current: Mutex::new(Current {
                route: Route::new(config.clone()),
                connection: None,
            }),
            config,
            key,
            deadline,
            is_unheard: AtomicBool::new(false),
        }
    }

    pub(super) fn with_deadline(&self, deadline: Duration) -> Self {
        Self::new(self.config.clone(), self.key.clone(), deadline)
    }

    pub(super) fn adapter(&self) -> Adapter {
        self.config.adapter
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Publishes once, and says how many subscriptions got it.
    pub(super) async fn publish(
        &self,
        nsp: &str,
        emission: &Emission,
    ) -> Result<u64, CommandError> {
        let deadline = Instant::now() + self.deadline;
        let connection = match timeout_at(deadline, self.connection()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(failure)) => return Err(unavailable(failure.into())),
            Err(_) => return Err(unavailable(late())),
        };
        let mut command = redis::cmd(self.config.adapter.publish_command());
        command.arg(&emission.channel).arg(&emission.payload[..]);
        let request = Request {
            command: &command,
            script: None,
        };
        let mut at = None;
        let reply = timeout_at(deadline, connection.nodes.run(&request, &mut at)).await;
        let error = match reply.ok().transpose().map_err(CommandError::from) {
            Ok(Some(reply)) => {
                let subscriptions = redis::from_redis_value(reply);
                let subscriptions = subscriptions.map_err(|error| refused(error.into()))?;
                self.note(nsp, subscriptions);
                return Ok(subscriptions);
            }
            Ok(None) => CommandError::new(CommandErrorKind::Timeout, None),
            Err(error) => error,
        };
        if error.is_outcome_unknown() {
            match at {
                None => connection.is_lost.store(true, Ordering::Release),
                // Another node of the cluster.
                Some(node) => connection.nodes.give_up(&node),
            }
        }
        Err(error)
    }

    async fn connection(&self) -> Result<Connection, Failure> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &current.connection
            && !connection.is_lost.load(Ordering::Acquire)
        {
            return Ok(connection.clone());
        }
        current.connection = None;
        let connection = self.connect(&mut current.route).await?;
        current.connection = Some(connection.clone());
        Ok(connection)
    }

    async fn connect(&self, route: &mut Route) -> Result<Connection, Failure> {
        self.config.choose_tls_provider();
        let is_lost = Arc::new(AtomicBool::new(false));
        let noticed = is_lost.clone();
        // The caller's deadline holds for all of it.
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    noticed.store(true, Ordering::Release);
                }
                Ok::<_, Infallible>(())
            });
        let Place { address, slots } = match route.find().await {
            Ok(place) => place,
            Err(failure) => {
                route.failed(&failure);
                return Err(failure);
            }
        };
        let opened = self.config.connect_named(&address, &options, "emit").await;
        let redis = opened.inspect_err(|failure| route.failed(failure))?;
        route.arrived();
        // A classic message reaches the subscribers of every node, from any of them.
        let cluster = slots
            .filter(|_| matches!(self.config.adapter, Adapter::Sharded(_)))
            .map(|slots| Cluster::new(self.config.clone(), slots, self.options_elsewhere()))
            .map(Arc::new);
        let nodes = Nodes {
            home: redis.clone(),
            home_address: address.clone(),
            cluster: cluster.clone(),
        };
        let here = Here {
            address,
            connection: redis,
            cluster,
            probe_channel: None,
        };
        let (elsewhere, noticed) = (route.clone().until_elsewhere(here), is_lost.clone());
        let watch = tokio::spawn(async move {
            elsewhere.await;
            noticed.store(true, Ordering::Release);
        });
        Ok(Connection {
            nodes,
            is_lost,
            _watch: Arc::new(AbortOnDrop(watch.abort_handle())),
        })
    }

    /// Such a connection may outlast the caller that wants it.
    fn options_elsewhere(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.deadline))
            .set_response_timeout(Some(self.deadline))
    }

    fn note(&self, nsp: &str, subscriptions: u64) {
        let is_unheard = subscriptions == 0;
        if self.is_unheard.swap(is_unheard, Ordering::Relaxed) != is_unheard && is_unheard {
            tracing::warn!(
                key = self.key,
                namespace = nsp,
                "emitted, but nobody listens: is the key that of the nodes, and do they serve the namespace?"
            );
        }
    }
}

fn unavailable(source: RedisError) -> CommandError {
    CommandError::new(CommandErrorKind::Unavailable, Some(source))
}

fn late() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "no connection in time").into()
}

fn refused(source: RedisError) -> CommandError {
    CommandError::new(CommandErrorKind::Refused, Some(source))
}
