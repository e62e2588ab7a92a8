//! A pod from its configuration to its end.

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use unisono::{Cors, Io, IoBuilder};
use unisono_cluster::{Broker, MemoryBus};
use unisono_redis::RedisBroker;

use super::{App, Link, watch_link};
use crate::config::{Config, Limits, RedisSettings, names};
use crate::metrics::Metrics;
use crate::session::{SessionId, Sessions};
use crate::store::{MemoryStore, RedisStore, SharedSessions, Store};
use crate::{events, http};

/// Interval of the heartbeat, as the front-end knows it from the Node.js server.
const PING_INTERVAL: Duration = Duration::from_secs(25);
/// How long a client may be silent after a ping; mobile clients need the minute.
const PING_TIMEOUT: Duration = Duration::from_secs(60);

/// How long, after the drain, each of these may take: publishing what is still buffered, and
/// answering requests that are under way. The manifests leave more than that.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What joins this pod with others.
pub enum Backing {
    /// As configured: Redis, or nothing.
    Configured,
    /// Other pods of this process.
    InProcess {
        /// Carries the messages.
        bus: MemoryBus,
        /// Keeps the sessions.
        sessions: SharedSessions,
    },
    /// What somebody else has made.
    Given {
        /// Carries the messages.
        link: Arc<dyn Broker>,
        /// Keeps the sessions and publishes what it commits.
        store: Arc<dyn Store>,
    },
}

/// Why a pod does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be bound: another process has it, or it is not ours.
    #[error("cannot listen on {address}; is another process listening there?")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// A pod that listens.
pub struct Pod {
    app: App,
    io: Io,
    clients: TcpListener,
    admin: TcpListener,
    client_address: SocketAddr,
    admin_address: SocketAddr,
    tasks: Vec<AbortHandle>,
}

impl Pod {
    /// Binds both ports and starts to look for the other pods. Does not wait for Redis.
    ///
    /// # Errors
    /// [`StartError::Bind`].
    pub async fn start(config: Config, backing: Backing) -> Result<Self, StartError> {
        let (clients, client_address) = bind((config.host, config.port).into()).await?;
        let (admin, admin_address) = bind_admin(&config).await?;
        let (link, store) = join(config.redis.as_ref(), backing);
        let metrics = Arc::new(Metrics::default());
        let sessions = Sessions::new(store, link.broker(), metrics.clone());
        let app = App::new(config, sessions.clone(), metrics, link.clone());
        let io = io(&app, link.broker());
        let space = io.of("/").expect("the namespace was given to the builder");
        sessions.attach(space);
        // The default session has no members to keep it: its room is everybody.
        let _ = sessions.open(&SessionId::Default).await;
        let keeper = sessions.clone();
        let tasks = vec![
            tokio::spawn(async move { keeper.keep().await }).abort_handle(),
            tokio::spawn(watch_link(app.clone())).abort_handle(),
        ];
        Ok(Self {
            app,
            io,
            clients,
            admin,
            client_address,
            admin_address,
            tasks,
        })
    }

    /// What the handlers share.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// The Socket.IO server of the pod.
    pub fn io(&self) -> &Io {
        &self.io
    }

    /// Where clients connect.
    pub fn client_address(&self) -> SocketAddr {
        self.client_address
    }

    /// Where probes and metrics are.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Serves until `shutdown`, then drains for at most the configured time.
    ///
    /// Dropping the future ends the pod at once, which is what a second signal does.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let router = http::client_router(self.app.clone(), self.io.clone());
        let admin_router = http::admin_router(self.app.clone(), self.io.clone());
        let clients = unisono::serve(self.clients, router, told(stopped.clone()));
        let admin = axum::serve(self.admin, admin_router).with_graceful_shutdown(told(stopped));
        let pod = self.app.pod_name();
        tracing::info!(pod, clients = %self.client_address, admin = %self.admin_address, "listening");
        let ending = async {
            shutdown.await;
            self.app.health().set_draining();
            let deadline = self.app.config().drain;
            tracing::info!(pod, seconds = deadline.as_secs(), "draining");
            self.io.drain(deadline).await;
            self.app.0.link.flush(LAST_WORDS).await;
            stop.send_replace(true);
        };
        let mut serving = pin!(async { tokio::join!(clients, async { admin.await }) });
        tokio::select! {
            () = ending => {
                // Requests that hang are not waited for.
                let _ = tokio::time::timeout(LAST_WORDS, &mut serving).await;
            }
            _ = &mut serving => {}
        }
        self.app.link().close();
        for task in &self.tasks {
            task.abort();
        }
        tracing::info!(pod, "ended");
    }
}

/// Two pods on one machine differ in [`names::PORT`] alone, as two servers of Node.js do. Whoever asks for a port gets it or nothing.
async fn bind_admin(config: &Config) -> Result<(TcpListener, SocketAddr), StartError> {
    let asked = bind((config.host, config.admin_port).into()).await;
    match &asked {
        Err(StartError::Bind { address, source })
            if config.any_admin_port && source.kind() == ErrorKind::AddrInUse =>
        {
            let (listener, taken) = bind((config.host, 0).into()).await?;
            tracing::warn!(
                "{address} is taken, probes and metrics are at {taken}; set {} to choose",
                names::ADMIN_PORT
            );
            Ok((listener, taken))
        }
        _ => asked,
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// The link to the other pods, and the store they share.
fn join(redis: Option<&RedisSettings>, backing: Backing) -> (Link, Arc<dyn Store>) {
    if let (Backing::Configured, Some(redis)) = (&backing, redis) {
        let broker = RedisBroker::start(redis.config.clone());
        let store = RedisStore::new(broker.commander(), &redis.key);
        return (Link::Redis(Arc::new(broker)), Arc::new(store));
    }
    let (bus, sessions) = match backing {
        Backing::Configured => (MemoryBus::new(), SharedSessions::default()),
        Backing::InProcess { bus, sessions } => (bus, sessions),
        Backing::Given { link, store } => return (Link::InProcess(link), store),
    };
    let broker = Arc::new(bus.broker());
    let store = MemoryStore::new(sessions, broker.clone());
    (Link::InProcess(broker), Arc::new(store))
}

fn io(app: &App, link: Arc<dyn Broker>) -> Io {
    let config = app.config();
    let sessions = app.sessions().clone();
    let key = config
        .redis
        .as_ref()
        .map_or(names::DEFAULT_REDIS_KEY, |redis| redis.key.as_str());
    limited(Io::builder(), &config.limits)
        .path("/socket.io/")
        .ping_interval(PING_INTERVAL)
        .ping_timeout(PING_TIMEOUT)
        .max_payload(config.max_payload_bytes)
        // Old apps in the field carry Socket.IO 2.
        .allow_eio3(true)
        .cors(Cors::new(config.origins.clone()).credentials(true))
        .broker(link, key)
        .node_name(&config.pod_name)
        .on_gap(move |_| sessions.suspect_all())
        .namespace(events::namespace(app.clone()))
        .build()
}

fn limited(mut io: IoBuilder, limits: &Limits) -> IoBuilder {
    if let Some(rate) = limits.handshakes {
        io = io.handshake_rate(rate.per_second, rate.burst);
    }
    if let Some(rate) = limits.events {
        io = io.event_rate(rate.per_second, rate.burst);
    }
    if let Some(rate) = limits.bytes {
        io = io.byte_rate(rate.per_second, rate.burst);
    }
    if let Some(connections) = limits.connections_per_address {
        io = io.connections_per_address(connections);
    }
    io.trusted_proxies(limits.trusted_proxies.iter().copied())
}

async fn told(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is an end as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
