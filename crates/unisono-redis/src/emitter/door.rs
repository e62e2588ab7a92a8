//! The one connection of an emitter and its clones.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisError};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use unisono_cluster::{Adapter, Emission};

use crate::commander::{CommandError, CommandErrorKind};
use crate::config::RedisConfig;
use crate::failure::Failure;
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
    redis: MultiplexedConnection,
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
        let mut connection = match timeout_at(deadline, self.connection()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(failure)) => return Err(unavailable(failure.into())),
            Err(_) => return Err(unavailable(late())),
        };
        let mut command = redis::cmd(self.config.adapter.publish_command());
        command.arg(&emission.channel).arg(&emission.payload[..]);
        let reply = timeout_at(deadline, command.query_async(&mut connection.redis)).await;
        let (kind, source) = match reply {
            Ok(Ok(subscriptions)) => {
                self.note(nsp, subscriptions);
                return Ok(subscriptions);
            }
            Ok(Err(error)) if error.is_unrecoverable_error() => {
                (CommandErrorKind::Disconnected, Some(error))
            }
            Ok(Err(error)) => {
                return Err(CommandError::new(CommandErrorKind::Refused, Some(error)));
            }
            Err(_) => (CommandErrorKind::Timeout, None),
        };
        connection.is_lost.store(true, Ordering::Release);
        Err(CommandError::new(kind, source))
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
        let Place { address, .. } = match route.find().await {
            Ok(place) => place,
            Err(failure) => {
                route.failed(&failure);
                return Err(failure);
            }
        };
        let opened = self.config.connect_named(&address, &options, "emit").await;
        let redis = opened.inspect_err(|failure| route.failed(failure))?;
        route.arrived();
        let here = Here {
            address,
            connection: redis.clone(),
            cluster: None,
            probe_channel: None,
        };
        let (elsewhere, noticed) = (route.clone().until_elsewhere(here), is_lost.clone());
        let watch = tokio::spawn(async move {
            elsewhere.await;
            noticed.store(true, Ordering::Release);
        });
        Ok(Connection {
            redis,
            is_lost,
            _watch: Arc::new(AbortOnDrop(watch.abort_handle())),
        })
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
