//! What all connections of one [`Io`](crate::Io) share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;
use unisono_cluster::{Broker, Inbox, LinkState};
use unisono_proto::connection;
use unisono_proto::engine::{self, Sid, Transport};

use crate::conn::{Conn, QueueLimits};
use crate::cors::Cors;
use crate::outgoing::Outgoing;
use crate::space::SpaceInner;
use crate::stats::Counters;

/// Checked configuration.
#[derive(Debug)]
pub(crate) struct Config {
    /// With slashes at both ends.
    pub(crate) path: String,
    pub(crate) connection: connection::Config,
    pub(crate) queue: QueueLimits,
    pub(crate) transports: Vec<Transport>,
    pub(crate) upgrade_timeout: Duration,
    pub(crate) max_connections: usize,
    pub(crate) max_rooms: usize,
    pub(crate) cors: Cors,
}

pub(crate) struct Server {
    pub(crate) config: Config,
    spaces: HashMap<String, Arc<SpaceInner>>,
    /// A std mutex: held for one look-up, never across an await.
    sessions: Mutex<HashMap<Sid, Arc<Conn>>>,
    pub(crate) counters: Arc<Counters>,
    epoch: Instant,
    /// The one PING that every connection sends.
    pub(crate) ping: Arc<Outgoing>,
    pub(crate) draining: AtomicBool,
    /// Sessions whose task still runs: beyond the open ones, those whose handlers have not finished.
    pub(crate) tasks: AtomicUsize,
    /// Told when the last of them has ended.
    pub(crate) empty: Notify,
    pub(crate) broker: Option<Arc<dyn Broker>>,
}

impl Server {
    pub(crate) fn new(
        config: Config,
        spaces: HashMap<String, Arc<SpaceInner>>,
        counters: Arc<Counters>,
        epoch: Instant,
        broker: Option<Arc<dyn Broker>>,
    ) -> Self {
        Self {
            config,
            spaces,
            sessions: Mutex::default(),
            counters,
            epoch,
            ping: Outgoing::control(&engine::Packet::Ping("".into())),
            draining: AtomicBool::new(false),
            tasks: AtomicUsize::new(0),
            empty: Notify::new(),
            broker,
        }
    }

    /// Milliseconds since the server was built: the time of every connection's machine.
    pub(crate) fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    pub(crate) fn instant(&self, ms: u64) -> Instant {
        self.epoch + Duration::from_millis(ms)
    }

    pub(crate) fn space(&self, nsp: &str) -> Option<&Arc<SpaceInner>> {
        self.spaces.get(nsp)
    }

    pub(crate) fn spaces(&self) -> impl Iterator<Item = &Arc<SpaceInner>> {
        self.spaces.values()
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<Sid, Arc<Conn>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn session(&self, sid: &Sid) -> Option<Arc<Conn>> {
        self.sessions().get(sid).cloned()
    }

    pub(crate) fn remember(&self, conn: &Arc<Conn>) {
        self.sessions().insert(conn.sid, conn.clone());
        self.counters.handshakes.fetch_add(1, Relaxed);
    }

    pub(crate) fn forget(&self, sid: Sid) {
        let mut sessions = self.sessions();
        let gone = sessions.remove(&sid);
        // After a flood the table gives its memory back.
        if sessions.capacity() > 1024 && sessions.len() < sessions.capacity() / 8 {
            sessions.shrink_to_fit();
        }
        drop(sessions);
        drop(gone);
    }

    pub(crate) fn session_count(&self) -> usize {
        self.sessions().len()
    }

    pub(crate) fn all_sessions(&self) -> Vec<Arc<Conn>> {
        self.sessions().values().cloned().collect()
    }

    /// Called a few times a second: delivers ordered messages whose echo is overdue.
    pub(crate) fn housekeep(&self) {
        for space in self.spaces() {
            space.deliver_overdue();
        }
    }
}

/// The broker's way in.
pub(crate) struct Hub {
    server: std::sync::Weak<Server>,
    on_link: Option<LinkHandler>,
}

pub(crate) type LinkHandler = Box<dyn Fn(LinkState) + Send + Sync>;

impl Hub {
    pub(crate) fn new(server: &Arc<Server>, on_link: Option<LinkHandler>) -> Self {
        Self {
            server: Arc::downgrade(server),
            on_link,
        }
    }
}

impl Inbox for Hub {
    fn message(&self, channel: &str, payload: Bytes) {
        let Some(server) = self.server.upgrade() else {
            return;
        };
        for space in server.spaces() {
            space.receive(channel, &payload);
        }
    }

    fn link(&self, state: LinkState) {
        if let Some(on_link) = &self.on_link {
            on_link(state);
        }
    }
}
