//! The server itself: built once, mounted into any HTTP server, drained at the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use unisono_cluster::{Broker, LinkState, LinkStats, Node, NodeStats};
use unisono_proto::connection::{self, CloseReason};
use unisono_proto::engine::Transport;
use unisono_proto::limits::{MAX_PAYLOAD, MAX_PENDING_PAYLOADS};

use crate::conn::QueueLimits;
use crate::cors::Cors;
use crate::http::{SocketIoLayer, SocketIoService};
use crate::namespace::{Namespace, Parts};
use crate::port::Port;
use crate::server::{Config, Hub, LinkHandler, Server};
use crate::space::{Space, SpaceInner};
use crate::stats::{Counters, Stats};

/// How often overdue echoes are looked for: an ordered emit is late by this much more at most.
const HOUSEKEEPING: Duration = Duration::from_millis(100);

/// Connections closed per second while draining: stock clients come back within a second and a half, all at once if they were
/// closed at once; 300 handshakes a second are a few percent of one core of the neighbour that gets them.
const DRAIN_PER_SECOND: f64 = 300.0;

/// How often a drain looks for sessions that were being opened when it began.
const DRAIN_LOOK: Duration = Duration::from_millis(100);

/// A Socket.IO server. Cheap to clone.
#[derive(Clone)]
pub struct Io {
    server: Arc<Server>,
}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io")
            .field("path", &self.server.config.path)
            .finish_non_exhaustive()
    }
}

/// What a server is made of. Every setting has a default that suits stock clients.
#[must_use]
pub struct IoBuilder {
    config: Config,
    namespaces: Vec<Parts>,
    broker: Option<(Arc<dyn Broker>, String)>,
    on_link: Option<LinkHandler>,
}

impl Io {
    /// Starts with defaults: path `/socket.io/`, both transports, ping 25 s / 20 s, 1,000,000 bytes, own origin only, one node.
    pub fn builder() -> IoBuilder {
        IoBuilder {
            config: Config {
                path: "/socket.io/".to_owned(),
                connection: connection::Config::default(),
                // A client that lets a megabyte or four thousand messages pile up does not read.
                queue: QueueLimits {
                    bytes: 1 << 20,
                    messages: 4096,
                },
                transports: vec![Transport::Polling, Transport::WebSocket],
                // As Node's `upgradeTimeout`.
                upgrade_timeout: Duration::from_secs(10),
                // Four times what one pod is meant to carry.
                max_connections: 80_000,
                max_rooms: 1000,
                cors: Cors::default(),
            },
            namespaces: Vec::new(),
            broker: None,
            on_link: None,
        }
    }

    /// A tower layer: requests under the path are Socket.IO's, all others go to the inner service.
    pub fn layer(&self) -> SocketIoLayer {
        SocketIoLayer::new(self.server.clone())
    }

    /// A tower service that answers everything outside the path with 404.
    pub fn service(&self) -> SocketIoService<crate::http::NotFound> {
        SocketIoService::new(self.server.clone(), crate::http::NotFound)
    }

    /// The namespace of this name, if it was declared.
    pub fn of(&self, nsp: &str) -> Option<Space> {
        self.server.space(nsp).cloned().map(Space)
    }

    /// How the link to the other nodes is; [`LinkState::Local`] without a broker.
    pub fn link_state(&self) -> LinkState {
        self.server
            .broker
            .as_ref()
            .map_or(LinkState::Local, |broker| broker.state())
    }

    /// Counters of the link; all zero without a broker.
    pub fn link_stats(&self) -> LinkStats {
        self.server
            .broker
            .as_ref()
            .map(|broker| broker.stats())
            .unwrap_or_default()
    }

    /// Counters of each namespace's conversation with the other nodes.
    pub fn node_stats(&self) -> Vec<(String, NodeStats)> {
        let spaces = self.server.spaces();
        spaces
            .filter_map(|space| Some((space.name.to_string(), space.port.as_ref()?.node_stats())))
            .collect()
    }

    /// Counters of this node.
    pub fn stats(&self) -> Stats {
        self.server.counters.snapshot()
    }

    /// Whether [`drain`](Self::drain) was called.
    pub fn is_draining(&self) -> bool {
        self.server.draining.load(Relaxed)
    }

    /// Ends gracefully: new sessions are refused with 503, open ones are closed one after another, in random order and spread over
    /// time, and disconnect handlers run. The *transport* is closed, no DISCONNECT is sent, so stock clients come back by themselves,
    /// to another node. Returns when nobody is left or `deadline` is over; `true` if nobody was left.
    pub async fn drain(&self, deadline: Duration) -> bool {
        self.server.draining.store(true, Relaxed);
        let end = Instant::now() + deadline;
        let mut sessions = self.server.all_sessions();
        fastrand::shuffle(&mut sessions);
        // Half of the time is for closing, the rest for what is on its way and for handlers.
        let rate =
            (sessions.len() as f64 / (deadline.as_secs_f64() / 2.0).max(0.1)).max(DRAIN_PER_SECOND);
        let start = Instant::now();
        for (index, conn) in sessions.into_iter().enumerate() {
            tokio::time::sleep_until(start + Duration::from_secs_f64(index as f64 / rate)).await;
            conn.close(CloseReason::ServerShuttingDown);
        }
        loop {
            let empty = self.server.empty.notified();
            if self.server.tasks.load(Relaxed) == 0 {
                return true;
            }
            let look_again = (Instant::now() + DRAIN_LOOK).min(end);
            if tokio::time::timeout_at(look_again, empty).await.is_err() && look_again == end {
                return self.server.tasks.load(Relaxed) == 0;
            }
            // Sessions that were being opened when the drain began.
            for conn in self.server.all_sessions() {
                conn.close(CloseReason::ServerShuttingDown);
            }
        }
    }
}

impl IoBuilder {
    /// The path under which clients connect. Default `/socket.io/`.
    pub fn path(mut self, path: &str) -> Self {
        self.config.path = match path.trim_matches('/') {
            "" => "/".to_owned(),
            path => format!("/{path}/"),
        };
        self
    }

    /// Time between a pong and the next ping. Default 25 s.
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.config.connection.ping_interval_ms = interval.as_millis() as u64;
        self
    }

    /// Time that a client has to answer a ping. Default 20 s.
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.config.connection.ping_timeout_ms = timeout.as_millis() as u64;
        self
    }

    /// Time that a client has to join its first namespace. Default 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connection.connect_timeout_ms = timeout.as_millis() as u64;
        self
    }

    /// Largest message from a client in bytes, on either transport. Default 1,000,000.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.config.connection.max_payload = bytes;
        self.config.connection.max_pending = MAX_PENDING_PAYLOADS * bytes;
        // A message of that size must fit the queue of whoever it is passed on to, and leave room for what waits beside it.
        self.config.queue.bytes = self
            .config
            .queue
            .bytes
            .max(bytes.max(MAX_PAYLOAD) + (1 << 20));
        self
    }

    /// What may wait for one client before it is closed as slow. Default 1 MiB or 4,096 messages, whichever comes first.
    pub fn queue_limits(mut self, bytes: usize, messages: usize) -> Self {
        self.config.queue = QueueLimits { bytes, messages };
        self
    }

    /// Sessions on this node; further handshakes get 503. Default 80,000.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.config.max_connections = connections;
        self
    }

    /// Rooms that one socket may be in, beside that of its own id. Default 1,000: a room costs a node some 250 bytes, and clients often
    /// choose what they join.
    pub fn max_rooms(mut self, rooms: usize) -> Self {
        self.config.max_rooms = rooms;
        self
    }

    /// The transports offered. Default both; with WebSocket alone no stickiness is needed anywhere.
    pub fn transports(mut self, transports: &[Transport]) -> Self {
        self.config.transports = transports.to_vec();
        self
    }

    /// Which web pages may connect. Default: pages of the server's own origin.
    pub fn cors(mut self, cors: Cors) -> Self {
        self.config.cors = cors;
        self
    }

    /// Adds a namespace. Clients that ask for one that was not added get CONNECT_ERROR `Invalid namespace`.
    pub fn namespace<S: Clone + Send + Sync + 'static>(mut self, namespace: Namespace<S>) -> Self {
        self.namespaces.push(namespace.into_parts());
        self
    }

    /// Joins the other nodes: everything emitted to rooms crosses to them. `key` is the channel prefix, `socket.io` by default with
    /// Node's adapter; all nodes need the same.
    pub fn broker(mut self, broker: Arc<dyn Broker>, key: &str) -> Self {
        self.broker = Some((broker, key.to_owned()));
        self
    }

    /// Is told about every change of the link to the other nodes. Must not wait.
    pub fn on_link(mut self, handler: impl Fn(LinkState) + Send + Sync + 'static) -> Self {
        self.on_link = Some(Box::new(handler));
        self
    }

    /// Builds the server. With a broker it must be called within a tokio runtime: a task looks after overdue echoes.
    pub fn build(self) -> Io {
        let counters = Arc::new(Counters::default());
        let epoch = Instant::now();
        let mut spaces = HashMap::new();
        for parts in self.namespaces {
            let port = self.broker.as_ref().map(|(broker, key)| {
                let node = Node::new(crate::ids::new_uid(), key.as_str(), parts.name.as_str());
                Port::new(broker.clone(), node, epoch.into_std())
            });
            let name = parts.name.clone();
            spaces.insert(
                name,
                Arc::new(SpaceInner::new(
                    parts,
                    counters.clone(),
                    port,
                    self.config.max_rooms,
                )),
            );
        }
        let broker = self.broker.map(|(broker, _)| broker);
        let server = Arc::new(Server::new(self.config, spaces, counters, epoch, broker));
        if let Some(broker) = &server.broker {
            broker.attach(Arc::new(Hub::new(&server, self.on_link)));
            for space in server.spaces() {
                if let Some(port) = &space.port {
                    port.subscribe();
                }
            }
            tokio::spawn(housekeep(Arc::downgrade(&server)));
        }
        Io { server }
    }
}

async fn housekeep(server: std::sync::Weak<Server>) {
    let mut ticks = interval(HOUSEKEEPING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(server) = server.upgrade() else {
            return;
        };
        server.housekeep();
    }
}
