//! What all connections of one [`Io`](crate::Io) share.

use std::collections::HashMap;
use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;
use unisono_cluster::{Inbox, LinkState};
use unisono_proto::Value;
use unisono_proto::connection;
use unisono_proto::engine::{self, Query, Sid, Transport};

use crate::bucket::Bucket;
use crate::bus::Bus;
use crate::conn::{Conn, Handshake, QueueLimits};
use crate::cors::Cors;
use crate::dynamic::Dynamic;
use crate::engine::Handlers;
use crate::guard::guarded;
use crate::http::{Cookie, Hooks, Opening};
use crate::limits::Limits;
use crate::middleware::Refused;
use crate::outgoing::Outgoing;
use crate::seats::{Seats, is_sparse};
use crate::space::{Founder, SpaceInner};
use crate::stats::Counters;

/// Checked configuration.
#[derive(Debug)]
pub(crate) struct Config {
    /// With a slash in front and none behind.
    pub(crate) path: String,
    /// Whether a slash must follow.
    pub(crate) trailing_slash: bool,
    pub(crate) connection: connection::Config,
    pub(crate) queue: QueueLimits,
    /// `None`: as the time to answer a ping.
    pub(crate) write_timeout: Option<Duration>,
    pub(crate) transports: Vec<Transport>,
    pub(crate) allow_upgrades: bool,
    pub(crate) upgrade_timeout: Duration,
    pub(crate) max_connections: usize,
    pub(crate) limits: Limits,
    pub(crate) max_rooms: usize,
    pub(crate) max_dynamic_namespaces: usize,
    pub(crate) allow_eio3: bool,
    pub(crate) jsonp: bool,
    pub(crate) cors: Cors,
    pub(crate) cookie: Option<Cookie>,
    pub(crate) hooks: Hooks,
}

impl Config {
    /// Milliseconds that a client may take nothing of what waits for it.
    pub(crate) fn write_timeout_ms(&self) -> u64 {
        self.write_timeout
            .map_or(self.connection.ping_timeout_ms, |timeout| {
                timeout.as_millis() as u64
            })
    }

    /// Whether a request's path is ours: `/socket.io/`, and whatever follows.
    pub(crate) fn holds(&self, path: &str) -> bool {
        path.strip_prefix(&*self.path)
            .is_some_and(|rest| rest.starts_with('/') || (rest.is_empty() && !self.trailing_slash))
    }
}

pub(crate) struct Server {
    pub(crate) config: Config,
    spaces: HashMap<String, Arc<SpaceInner>>,
    dynamic: Arc<Dynamic>,
    /// Who gets the messages where they are not Socket.IO's.
    pub(crate) plain: Option<Arc<Handlers>>,
    /// A std mutex: held for one look-up, never across an await.
    sessions: Mutex<HashMap<Sid, Arc<Conn>>>,
    pub(crate) counters: Arc<Counters>,
    /// Sessions by client address, if they are limited.
    pub(crate) seats: Arc<Seats>,
    /// A std mutex: held for a sum, never across an await.
    handshakes: Mutex<Bucket>,
    /// Handshakes that were let in and whose sessions are not open yet.
    pub(crate) opening: AtomicUsize,
    epoch: Instant,
    pub(crate) open: Opening,
    /// The one PING that every connection sends.
    pub(crate) ping: Arc<Outgoing>,
    /// The one PONG that clients of Engine.IO 3 get.
    pub(crate) pong: Arc<Outgoing>,
    pub(crate) draining: AtomicBool,
    /// Told when the last of them has ended.
    pub(crate) empty: Notify,
    pub(crate) bus: Option<Arc<Bus>>,
}

impl Server {
    pub(crate) fn new(
        config: Config,
        spaces: HashMap<String, Arc<SpaceInner>>,
        dynamic: Dynamic,
        counters: Arc<Counters>,
        epoch: Instant,
        bus: Option<Arc<Bus>>,
    ) -> Self {
        Self {
            open: Opening::new(&config),
            config,
            spaces,
            dynamic: Arc::new(dynamic),
            plain: None,
            sessions: Mutex::default(),
            counters,
            seats: Arc::default(),
            handshakes: Mutex::default(),
            opening: AtomicUsize::new(0),
            epoch,
            ping: Outgoing::control(&engine::Packet::Ping("".into())),
            pong: Outgoing::control(&engine::Packet::Pong("".into())),
            draining: AtomicBool::new(false),
            empty: Notify::new(),
            bus,
        }
    }

    /// The index of the callback that a polling request asks for, where that is served.
    pub(crate) fn callback<'q>(&self, query: &'q Query<'_>) -> Option<&'q str> {
        query.j.as_deref().filter(|_| self.config.jsonp)
    }

    /// The same without namespaces, for plain Engine.IO.
    pub(crate) fn plain(config: Config, handlers: Handlers) -> Self {
        let counters = Arc::new(Counters::default());
        let epoch = Instant::now();
        let founder = Founder {
            counters: counters.clone(),
            bus: None,
            max_rooms: 0,
        };
        let dynamic = Dynamic::new(Vec::new(), founder, 0);
        let mut server = Self::new(config, HashMap::new(), dynamic, counters, epoch, None);
        server.plain = Some(Arc::new(handlers));
        server
    }

    /// Milliseconds since the server was built: the time of every connection's machine.
    pub(crate) fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    pub(crate) fn instant(&self, ms: u64) -> Instant {
        self.epoch + Duration::from_millis(ms)
    }

    /// The namespace that a client asks to join, if there is one or may be one.
    pub(crate) fn find(
        &self,
        nsp: &str,
        handshake: &Handshake,
        auth: &Value,
    ) -> Result<Arc<SpaceInner>, Refused> {
        match self.spaces.get(nsp) {
            Some(space) => Ok(space.clone()),
            None => self.dynamic.find(nsp, handshake, auth),
        }
    }

    /// The namespace of this name, if it was declared or somebody is in it.
    pub(crate) fn space(&self, nsp: &str) -> Option<Arc<SpaceInner>> {
        let declared = self.spaces.get(nsp).cloned();
        declared.or_else(|| self.dynamic.living(nsp))
    }

    /// All that there are now.
    pub(crate) fn spaces(&self) -> impl Iterator<Item = Arc<SpaceInner>> {
        self.spaces.values().cloned().chain(self.dynamic.all())
    }

    fn receive(&self, channel: &str, payload: &[u8]) {
        if self.receive_beat(channel, payload) {
            return;
        }
        for space in self.spaces.values() {
            space.receive(channel, payload);
        }
        if let Some(space) = self.dynamic.of_channel(channel) {
            space.receive(channel, payload);
        }
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
        if is_sparse(sessions.capacity(), sessions.len()) {
            sessions.shrink_to_fit();
        }
        drop(sessions);
        drop(gone);
    }

    /// Sessions that will be open, are, or have handlers at work: those who come and go without end must not pile these up.
    pub(crate) fn session_count(&self) -> usize {
        // The first becomes the second, so in this order none is missed.
        self.opening.load(SeqCst) + self.counters.tasks.load(SeqCst)
    }

    /// Whether one more handshake comes within the rate.
    pub(crate) fn admit_handshake(&self) -> bool {
        let Some(rate) = self.config.limits.handshakes else {
            return true;
        };
        let now_ms = self.now_ms();
        let bucket = self.handshakes.lock();
        let mut bucket = bucket.unwrap_or_else(PoisonError::into_inner);
        bucket.take(rate, 1, now_ms)
    }

    fn follow_link(&self, is_up: bool) {
        if let Some(bus) = &self.bus {
            bus.nodes.set_link(is_up, self.now_ms());
            self.announce();
        }
    }

    pub(crate) fn all_sessions(&self) -> Vec<Arc<Conn>> {
        self.sessions().values().cloned().collect()
    }

    /// Called a few times a second: delivers ordered messages whose echo is overdue, ends requests whose time is over, leaves rooms that
    /// nobody has been in for a while, looks after the other nodes.
    pub(crate) fn housekeep(&self) {
        if let Some(bus) = &self.bus {
            bus.leave_channels();
        }
        for space in self.spaces() {
            space.deliver_overdue();
            if let Some(port) = &space.port {
                port.expire_requests();
            }
        }
        self.tend_nodes();
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

impl Drop for Server {
    /// Whoever listens to requests is counted, and waited for.
    fn drop(&mut self) {
        let Some(bus) = &self.bus else { return };
        self.say_goodbye();
        for space in self.spaces.values() {
            bus.listen(&space.name, false);
        }
        bus.leave_all_channels();
    }
}

impl Inbox for Hub {
    fn message(&self, channel: &str, payload: Bytes) {
        let Some(server) = self.server.upgrade() else {
            return;
        };
        server.receive(channel, &payload);
    }

    fn link(&self, state: LinkState) {
        let Some(server) = self.server.upgrade() else {
            return;
        };
        server.follow_link(state.is_up());
        if let Some(on_link) = &self.on_link {
            guarded(&server.counters, "the link's handler", || on_link(state));
        }
    }
}
