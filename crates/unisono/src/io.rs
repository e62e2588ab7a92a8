//! The server itself: built once, mounted into any HTTP server, drained at the end.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use unisono_cluster::{Broker, Ledger, LinkState, LinkStats, NodeName, NodeStats};
use unisono_proto::limits::MAX_NAMESPACE_LEN;

use crate::builder::Builder;
use crate::bus::{Bus, Requests};
use crate::drain::drain;
use crate::dynamic::{Dynamic, Parent};
use crate::guard::guarded;
use crate::http::{SocketIoLayer, SocketIoService};
use crate::namespace::{Name, Namespace, Parts};
use crate::nodes::{Gap, GapHandler, NodeInfo, Nodes};
use crate::requests::Describing;
use crate::server::{Hub, LinkHandler, Server};
use crate::space::{Founder, Space};
use crate::stats::{Counters, Stats};

/// How often overdue echoes are looked for: an ordered emit is late by this much more at most.
const HOUSEKEEPING: Duration = Duration::from_millis(100);

/// A Socket.IO server. Cheap to clone.
///
/// ```
/// use unisono::{Io, Namespace};
///
/// let io = Io::builder()
///     .namespace(Namespace::new("/"))
///     .namespace(Namespace::new("/admin"))
///     .build();
/// // From anywhere, not only from handlers: this reaches nobody yet.
/// let admins = io.of("/admin").expect("it was added above");
/// admins.emit("started", &()).expect("nothing is easy to encode");
/// assert_eq!((admins.local_len(), io.stats().events_sent), (0, 0));
/// ```
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

/// What a Socket.IO server is made of beside the settings of [`Builder`]. Every setting has a default that suits stock clients.
pub type IoBuilder = Builder<SocketIo>;

/// Namespaces and the other nodes: what makes an Engine.IO server one of Socket.IO.
#[derive(Default)]
pub struct SocketIo {
    namespaces: Vec<Parts>,
    broker: Option<(Arc<dyn Broker>, String)>,
    on_link: Option<LinkHandler>,
    on_gap: Option<GapHandler>,
    node_name: Option<String>,
    requests: Requests,
}

impl Io {
    /// Starts with defaults: path `/socket.io/`, both transports, ping 25 s / 20 s, 1,000,000 bytes, own origin only, one node.
    pub fn builder() -> IoBuilder {
        Builder::new(SocketIo::default())
    }

    /// A tower layer: requests under the path are Socket.IO's, all others go to the inner service.
    pub fn layer(&self) -> SocketIoLayer {
        SocketIoLayer::new(self.server.clone())
    }

    /// A tower service that answers everything outside the path with 404.
    pub fn service(&self) -> SocketIoService<crate::http::NotFound> {
        SocketIoService::new(self.server.clone(), crate::http::NotFound)
    }

    /// The namespace of this name, if it was declared, or if it is one of [`Namespace::matching`] and somebody is in it on this node.
    pub fn of(&self, nsp: &str) -> Option<Space> {
        self.server.space(nsp).map(Space)
    }

    /// All namespaces that there are now on this node. Other nodes may have more of [`Namespace::matching`], so to tell the members of all
    /// of them, tell each on each node.
    pub fn spaces(&self) -> Vec<Space> {
        self.server.spaces().map(Space).collect()
    }

    /// How the link to the other nodes is; [`LinkState::Local`] without a broker.
    pub fn link_state(&self) -> LinkState {
        self.server
            .bus
            .as_ref()
            .map_or(LinkState::Local, |bus| bus.broker.state())
    }

    /// Counters of the link; all zero without a broker.
    pub fn link_stats(&self) -> LinkStats {
        self.server
            .bus
            .as_ref()
            .map(|bus| bus.broker.stats())
            .unwrap_or_default()
    }

    /// Counters of each namespace's conversation with the other nodes, in the order of their names.
    pub fn node_stats(&self) -> Vec<(String, NodeStats)> {
        let spaces = self.server.spaces();
        let stats = spaces
            .filter_map(|space| Some((space.name.to_string(), space.port.as_ref()?.node_stats())));
        let mut stats: Vec<_> = stats.collect();
        stats.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        stats
    }

    /// The other servers of unisono on the bus, by name; empty without a broker. Each announces itself once a second, so one that has just
    /// started, or died, shows a little later. Node.js pods and emitters do not announce themselves.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.server.nodes()
    }

    /// What the other nodes call this one; `None` without a broker.
    pub fn node_name(&self) -> Option<NodeName> {
        self.server.bus.as_ref().map(|bus| bus.nodes.me())
    }

    /// How long a message of this node takes through the bus back to itself, to the millisecond, measured once a second; `None` without a
    /// broker, or before the first has come back.
    pub fn link_lag(&self) -> Option<Duration> {
        self.server.bus.as_ref().and_then(|bus| bus.nodes.lag())
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
    ///
    /// ```no_run
    /// # async fn run(io: unisono::Io, listener: tokio::net::TcpListener) -> std::io::Result<()> {
    /// let service = io.service();
    /// let shutdown = async move {
    ///     tokio::signal::ctrl_c().await.ok();
    ///     if !io.drain(std::time::Duration::from_secs(20)).await {
    ///         eprintln!("{} sockets were cut off", io.stats().sockets);
    ///     }
    /// };
    /// // Accepts connections until the drain is over: whoever comes meanwhile is told to come back.
    /// unisono::serve(listener, service, shutdown).await
    /// # }
    /// ```
    pub async fn drain(&self, deadline: Duration) -> bool {
        drain(&self.server, deadline).await
    }
}

impl IoBuilder {
    /// Time that a client has to join its first namespace. Default 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connection.connect_timeout_ms = timeout.as_millis() as u64;
        self
    }

    /// Rooms that one socket may be in, beside that of its own id. Default 1,000: a room costs a node some 250 bytes, and clients often
    /// choose what they join.
    pub fn max_rooms(mut self, rooms: usize) -> Self {
        self.config.max_rooms = rooms;
        self
    }

    /// Namespaces of [`Namespace::matching`] that may exist on this node at a time; whoever would open one more gets CONNECT_ERROR.
    /// Default 1,000: clients choose the names, and each is a pattern that the bus compares with every message. A thousand take Redis 65 µs
    /// of each, where none take 1 µs.
    pub fn max_dynamic_namespaces(mut self, namespaces: usize) -> Self {
        self.config.max_dynamic_namespaces = namespaces;
        self
    }

    /// Adds a namespace. Clients that ask for one that was not added get CONNECT_ERROR `Invalid namespace`.
    ///
    /// # Panics
    /// A namespace of this name was added before, or no client could ever join it: a comma ends a name on the wire, and 512 bytes are the
    /// longest.
    pub fn namespace<S: Clone + Send + Sync + 'static>(mut self, namespace: Namespace<S>) -> Self {
        let parts = namespace.into_parts();
        if let Name::One(name) = &parts.name {
            assert!(
                !name.contains(',') && name.len() <= MAX_NAMESPACE_LEN,
                "no client can join `{name}`: choose a name without a comma, of {MAX_NAMESPACE_LEN} bytes at most"
            );
            let is_it = |other: &Parts| matches!(&other.name, Name::One(other) if other == name);
            assert!(
                !self.protocol.namespaces.iter().any(is_it),
                "there are two namespaces `{name}`: put their handlers into one"
            );
        }
        self.protocol.namespaces.push(parts);
        self
    }

    /// Joins the other nodes: everything emitted to rooms crosses to them. Which adapter of Node.js they speak is the broker's to say
    /// ([`Broker::adapter`]). `key` is the channel prefix, `socket.io` by default with
    /// Node's adapter; all nodes need the same.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    /// use unisono::{Io, Namespace};
    /// use unisono_redis::{RedisBroker, RedisConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// // Returns at once, and joins when Redis is there.
    /// let broker = RedisBroker::start(RedisConfig::parse("redis://localhost:6379")?);
    /// let io = Io::builder()
    ///     .namespace(Namespace::new("/"))
    ///     .broker(Arc::new(broker), "socket.io")
    ///     .on_link(|state| println!("the other nodes: {state:?}"))
    ///     .build();
    /// # drop(io);
    /// # Ok(())
    /// # }
    /// ```
    pub fn broker(mut self, broker: Arc<dyn Broker>, key: &str) -> Self {
        self.protocol.broker = Some((broker, key.to_owned()));
        self
    }

    /// How long the other nodes are waited for when they are asked something (Node's `requestsTimeout`). Who has not answered by then is
    /// counted as missing; what the others said is there. Default 5 s, at most a day.
    pub fn requests_timeout(mut self, timeout: Duration) -> Self {
        self.protocol.requests.timeout = timeout;
        self
    }

    /// Answers the requests of other nodes on a channel that only the node that asked listens to (Node's
    /// `publishOnSpecificResponseChannel`), rather than on one that all hear. Nodes understand each other whatever they are set to. Default
    /// off, as for Node; on saves work where many nodes ask much.
    pub fn publish_on_specific_response_channel(mut self, publish: bool) -> Self {
        self.protocol.requests.private_answers = publish;
        self
    }

    /// Is told about every change of the link to the other nodes. Must not wait. If it panics (counted as `panic`), that change is lost on it.
    pub fn on_link(mut self, handler: impl Fn(LinkState) + Send + Sync + 'static) -> Self {
        self.protocol.on_link = Some(Box::new(handler));
        self
    }

    /// What the other nodes call this one, in [`Io::nodes`] and where it does not answer: the name of the pod, say. It need not be unique,
    /// and is cut off behind 253 bytes. Default: an id that is made at each start.
    pub fn node_name(mut self, name: &str) -> Self {
        self.protocol.node_name = Some(name.to_owned());
        self
    }

    /// Is told of messages that another node published and this one will never receive, each time before anything that follows them is
    /// delivered. After the link was away it is told so within a second of its return, or of the return of that node's. What was
    /// published before both nodes knew of each other does not count, nor what a node published between the loss of our link and its own
    /// end. Must not wait.
    ///
    /// ```
    /// use unisono::{Io, Namespace};
    ///
    /// # drop(
    /// Io::builder()
    ///     .namespace(Namespace::new("/"))
    ///     .on_gap(|gap| println!("{} messages in {} are lost: read the state again", gap.lost, gap.nsp))
    /// # );
    /// ```
    pub fn on_gap(mut self, handler: impl Fn(&Gap) + Send + Sync + 'static) -> Self {
        self.protocol.on_gap = Some(Box::new(handler));
        self
    }

    /// Builds the server. With a broker it must be called within a tokio runtime: a task looks after overdue echoes.
    ///
    /// # Panics
    /// With a broker outside of a tokio runtime.
    pub fn build(self) -> Io {
        let counters = Arc::new(Counters::default());
        let epoch = Instant::now();
        let (config, protocol) = self.into_parts();
        let SocketIo {
            namespaces,
            broker,
            on_link,
            on_gap,
            node_name,
            requests,
        } = protocol;
        let on_gap = on_gap.map(|on_gap| {
            let counters = counters.clone();
            let told = move |gap: &Gap| {
                guarded(&counters, "the handler of gaps", || on_gap(gap));
            };
            Box::new(told) as GapHandler
        });
        let bus = broker.map(|(broker, key)| {
            let asks_as = crate::ids::new_uid(broker.adapter());
            Arc::new(Bus {
                nodes: Nodes::new(&key, &asks_as, node_name.as_deref(), on_gap),
                broker,
                key,
                asks_as,
                requests,
                runtime: Handle::current(),
                ledger: Ledger::default(),
                describing: Describing::default(),
                epoch,
                followed: Mutex::default(),
            })
        });
        let founder = Founder {
            counters: counters.clone(),
            bus: bus.clone(),
            max_rooms: config.max_rooms,
        };
        let (mut spaces, mut parents) = (HashMap::new(), Vec::new());
        for Parts { name, handlers } in namespaces {
            match name {
                Name::One(name) => {
                    let space = founder.found(name.as_str().into(), handlers, None);
                    spaces.insert(name, Arc::new(space));
                }
                Name::Matching(matcher) => parents.push(Parent { matcher, handlers }),
            }
        }
        let dynamic = Dynamic::new(parents, founder, config.max_dynamic_namespaces);
        let server = Server::new(config, spaces, dynamic, counters, epoch, bus);
        let server = Arc::new(server);
        if let Some(bus) = &server.bus {
            bus.acquire(&bus.nodes.channel);
            bus.broker.attach(Arc::new(Hub::new(&server, on_link)));
            for space in server.spaces() {
                bus.listen(&space.name, true);
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
