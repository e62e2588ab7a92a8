//! A namespace before the server runs: its name and its handlers.

use std::collections::HashMap;
use std::sync::Arc;

use unisono_proto::Value;
use unisono_proto::socket::RESERVED_EVENTS;

use crate::conn::Handshake;
use crate::error::ConnectError;
use crate::event::{Event, EventError};
use crate::handler::{Erased, Handler, erase};
use crate::requests::ServerSideHandler;
use crate::slow::SlowReaders;
use crate::socket::Socket;
use crate::space::{Decision, Note};

/// A namespace and what happens in it. Handlers are registered here, once, not on each socket: a socket costs its rooms, its ids
/// and its queue, nothing more.
///
/// `S` is state that handlers get as [`State<S>`](crate::State); it is cloned for each handler call, so make it an `Arc`.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// use unisono::{DisconnectReason, Io, Namespace, Socket, Space, State};
///
/// #[derive(Default)]
/// struct Visits(AtomicU64);
///
/// async fn welcome(socket: Socket, State(visits): State<Arc<Visits>>) {
///     let number = visits.0.fetch_add(1, Relaxed) + 1;
///     socket.emit("welcome", &number).ok();
/// }
///
/// async fn goodbye(space: Space, reason: DisconnectReason) {
///     space.emit("somebody left", reason.as_str()).ok();
/// }
///
/// let lobby = Namespace::with_state("/lobby", Arc::<Visits>::default())
///     .on_connect(welcome)
///     .on_disconnect(goodbye);
/// let io = Io::builder().namespace(lobby).build();
/// # drop(io);
/// ```
pub struct Namespace<S = ()> {
    name: Name,
    state: S,
    handlers: Handlers,
}

/// Which namespaces it is.
pub(crate) enum Name {
    One(String),
    Matching(Matcher),
}

pub(crate) type Observer = Box<dyn Fn(&Socket, &Event) + Send + Sync>;

pub(crate) type Matcher = Box<dyn Fn(&str, &Handshake, &Value) -> bool + Send + Sync>;

pub(crate) type NoteHandler = Box<dyn Fn(&Note) -> Decision + Send + Sync>;

#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) connect: Option<Box<dyn Erased>>,
    pub(crate) disconnect: Option<Box<dyn Erased>>,
    pub(crate) middleware: Vec<Box<dyn Erased<Result<(), ConnectError>>>>,
    events: HashMap<String, Box<dyn Erased>>,
    fallback: Option<Box<dyn Erased>>,
    pub(crate) packet_middleware: Vec<Box<dyn Erased<Result<Event, EventError>>>>,
    pub(crate) observer: Option<Observer>,
    pub(crate) error: Option<Box<dyn Erased>>,
    pub(crate) slow_readers: SlowReaders,
    pub(crate) on_note: Option<NoteHandler>,
    pub(crate) server_side: HashMap<String, ServerSideHandler>,
}

impl Handlers {
    /// The handler for an event. Unknown and numeric names are nobody's, unless there is a fallback.
    pub(crate) fn event(&self, args: &[Value]) -> Option<&dyn Erased> {
        let name = args.first().and_then(Value::as_str);
        name.and_then(|name| self.events.get(name))
            .or(self.fallback.as_ref())
            .map(AsRef::as_ref)
    }
}

impl Namespace<()> {
    /// A namespace without state. `name` starts with a slash; `/` is the one that clients join by default.
    pub fn new(name: &str) -> Self {
        Self::with_state(name, ())
    }

    /// Every namespace whose name `matcher` takes, without state; see [`matching_with_state`](Self::matching_with_state).
    ///
    /// ```
    /// use unisono::{Io, Namespace, Socket};
    ///
    /// async fn hello(socket: Socket) {
    ///     // `/org-7`, say: its rooms and members are its own.
    ///     socket.broadcast().emit("joined", socket.namespace()).ok();
    /// }
    ///
    /// let orgs = Namespace::matching(|name, _, _| {
    ///     name.strip_prefix("/org-").is_some_and(|id| id.parse::<u32>().is_ok())
    /// });
    /// let io = Io::builder().namespace(orgs.on_connect(hello)).build();
    /// // It exists while somebody is in it.
    /// assert!(io.of("/org-7").is_none());
    /// ```
    pub fn matching(
        matcher: impl Fn(&str, &Handshake, &Value) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::matching_with_state(matcher, ())
    }
}

impl<S: Clone + Send + Sync + 'static> Namespace<S> {
    /// A namespace whose handlers share `state`. Nodes that are joined find each other by channels made of the name: one with `#`, `*`, `?`,
    /// `[`, `]` or a backslash in it gets messages twice or not at all from Node.js pods; choose plain names.
    pub fn with_state(name: &str, state: S) -> Self {
        let name = if name.starts_with('/') {
            name.to_owned()
        } else {
            format!("/{name}")
        };
        Self {
            name: Name::One(name),
            state,
            handlers: Handlers::default(),
        }
    }

    /// Every namespace whose name `matcher` takes. It is asked for each client, with the name, the request that opened the connection
    /// and the `auth` object, before any middleware, and must not wait. Namespaces that were declared by name come first, then the first
    /// matcher that takes the name. Names with glob characters, `#` or control characters in them are refused.
    ///
    /// Each name is a namespace of its own, with these handlers and this state. It exists from the moment when the first client has
    /// passed the middleware until nobody is in it and the application holds no handle to it (a [`Socket`] or a
    /// [`Space`](crate::Space)). What other nodes say to it reaches this node from the moment when the bus has confirmed the subscription,
    /// a round trip after the first client was let in. How many there may be at a time is bounded by
    /// [`max_dynamic_namespaces`](crate::IoBuilder::max_dynamic_namespaces).
    pub fn matching_with_state(
        matcher: impl Fn(&str, &Handshake, &Value) -> bool + Send + Sync + 'static,
        state: S,
    ) -> Self {
        Self {
            name: Name::Matching(Box::new(matcher)),
            state,
            handlers: Handlers::default(),
        }
    }

    /// Runs when a client asks to join, before it is in: an async function with the usual arguments, among them
    /// [`Auth<T>`](crate::Auth) and the [`Socket`] that it is about to become. Several run in the order of their
    /// registration; the first error ends it: the client gets CONNECT_ERROR (`{"message", "data"}`) and never was in the namespace. An
    /// `auth` that cannot be read as the `T` of `Auth<T>` is an error too.
    ///
    /// A middleware may attach data to the socket and put it into rooms, which take effect when the client joins. It may wait: other
    /// namespaces and the heartbeat of the connection go on. It is dropped where it waits when the connection ends, and a client that is
    /// not in after the connect time-out is refused; in its first namespace its connection is closed, for that time began with it. Without middleware every client is let in at once.
    ///
    /// ```
    /// use unisono::{Auth, ConnectError, Namespace, Socket, Value};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Credentials {
    ///     token: String,
    /// }
    ///
    /// async fn authenticate(socket: Socket, Auth(who): Auth<Credentials>) -> Result<(), ConnectError> {
    ///     // Ask a database here, or another service.
    ///     match who.token.strip_prefix("user-") {
    ///         Some(user) => {
    ///             socket.set_data(user.to_owned());
    ///             Ok(())
    ///         }
    ///         None => Err(ConnectError::new("not authorised").with_data(Value::from(401))),
    ///     }
    /// }
    ///
    /// let namespace = Namespace::new("/").middleware(authenticate);
    /// # drop(namespace);
    /// ```
    #[must_use]
    pub fn middleware<T: 'static>(
        mut self,
        middleware: impl Handler<T, S, Result<(), ConnectError>>,
    ) -> Self {
        self.handlers
            .middleware
            .push(erase(middleware, self.state.clone()));
        self
    }

    /// Runs when a client has joined, before any of its events is handled.
    #[must_use]
    pub fn on_connect<T: 'static>(mut self, handler: impl Handler<T, S>) -> Self {
        self.handlers.connect = Some(erase(handler, self.state.clone()));
        self
    }

    /// Runs for every event of this name. A later handler for the same name replaces the earlier one.
    ///
    /// # Panics
    /// The name is one that Socket.IO keeps for itself, such as `disconnect`: clients cannot send it, so the handler would never run.
    #[must_use]
    pub fn on<T: 'static>(mut self, event: &str, handler: impl Handler<T, S>) -> Self {
        assert!(
            !RESERVED_EVENTS.contains(&event),
            "`{event}` is reserved by Socket.IO; there are on_connect and on_disconnect"
        );
        self.handlers
            .events
            .insert(event.to_owned(), erase(handler, self.state.clone()));
        self
    }

    /// Runs for every event that has no handler of its own.
    #[must_use]
    pub fn on_fallback<T: 'static>(mut self, handler: impl Handler<T, S>) -> Self {
        self.handlers.fallback = Some(erase(handler, self.state.clone()));
        self
    }

    /// Sees every event when its turn comes, before middleware and handler: for logs and counts. Must not wait.
    #[must_use]
    pub fn on_any(mut self, observer: impl Fn(&Socket, &Event) + Send + Sync + 'static) -> Self {
        self.handlers.observer = Some(Box::new(observer));
        self
    }

    /// Runs for every event before its handler, in the socket's order: an async function with the usual arguments that takes the
    /// [`Event`] and gives it back, changed or not. Several run in the order of their registration. An error drops the event: it is
    /// counted and told to [`on_error`](Self::on_error); the client hears nothing unless the middleware takes an
    /// [`Ack`](crate::Ack) and answers.
    ///
    /// ```
    /// use unisono::{Event, EventError, Namespace, Socket};
    ///
    /// async fn admins_only(socket: Socket, event: Event) -> Result<Event, EventError> {
    ///     match event.name() {
    ///         Some("delete") if !socket.is_in("admins") => Err(EventError::new("not an admin")),
    ///         _ => Ok(event),
    ///     }
    /// }
    ///
    /// async fn complain(socket: Socket, error: EventError) {
    ///     println!("{}: {error}", socket.id());
    /// }
    ///
    /// # drop(
    /// Namespace::new("/").packet_middleware(admins_only).on_error(complain)
    /// # );
    /// ```
    #[must_use]
    pub fn packet_middleware<T: 'static>(
        mut self,
        middleware: impl Handler<T, S, Result<Event, EventError>>,
    ) -> Self {
        let middleware = erase(middleware, self.state.clone());
        self.handlers.packet_middleware.push(middleware);
        self
    }

    /// Runs when an event does not reach its handler: a packet middleware dropped it, or its arguments do not fit. Takes the
    /// [`EventError`].
    #[must_use]
    pub fn on_error<T: 'static>(mut self, handler: impl Handler<T, S>) -> Self {
        self.handlers.error = Some(erase(handler, self.state.clone()));
        self
    }

    /// Runs once when a client has gone, after its events. The socket is in no room any more. Not when the runtime stops before.
    #[must_use]
    pub fn on_disconnect<T: 'static>(mut self, handler: impl Handler<T, S>) -> Self {
        self.handlers.disconnect = Some(erase(handler, self.state.clone()));
        self
    }

    /// What becomes of events that wait for a client which does not read. Default: [`SlowReaders::Close`].
    #[must_use]
    pub fn slow_readers(mut self, policy: SlowReaders) -> Self {
        self.handlers.slow_readers = policy;
        self
    }

    /// Runs on every node for each ordered broadcast that carries a note, in delivery order, just before the node's own members get
    /// the broadcast, and decides whether they do: a change that comes late, after a newer one was told, can be kept from them. It runs
    /// under the namespace's delivery lock, so it must not wait, nor call [`Space::conduct`](crate::Space::conduct). If it panics (counted as
    /// `panic`), the node's members do not get the broadcast.
    #[must_use]
    pub fn on_note(mut self, handler: impl Fn(&Note) -> Decision + Send + Sync + 'static) -> Self {
        self.handlers.on_note = Some(Box::new(handler));
        self
    }

    pub(crate) fn set_server_side(&mut self, event: &str, handler: ServerSideHandler) {
        self.handlers.server_side.insert(event.to_owned(), handler);
    }

    pub(crate) fn into_parts(self) -> Parts {
        Parts {
            name: self.name,
            handlers: self.handlers.into(),
        }
    }
}

/// A namespace without its state's type.
pub(crate) struct Parts {
    pub(crate) name: Name,
    pub(crate) handlers: Arc<Handlers>,
}
