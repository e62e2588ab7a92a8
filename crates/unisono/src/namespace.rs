//! A namespace before the server runs: its name and its handlers.

use std::collections::HashMap;

use unisono_proto::Value;

use crate::conn::Handshake;
use crate::error::ConnectError;
use crate::handler::{Erased, Handler, erase};
use crate::space::{Decision, Note};

/// A namespace and what happens in it. Handlers are registered here, once, not on each socket: a socket costs its rooms, its ids
/// and its queue, nothing more.
///
/// `S` is state that handlers get as [`State<S>`](crate::State); it is cloned for each handler call, so make it an `Arc`.
pub struct Namespace<S = ()> {
    name: String,
    state: S,
    handlers: Handlers,
    on_note: Option<NoteHandler>,
}

pub(crate) type NoteHandler = Box<dyn Fn(&Note) -> Decision + Send + Sync>;

#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) connect: Option<Box<dyn Erased>>,
    pub(crate) disconnect: Option<Box<dyn Erased>>,
    admit: Option<Admit>,
    events: HashMap<String, Box<dyn Erased>>,
    any: Option<Box<dyn Erased>>,
}

type Admit = Box<dyn Fn(&Handshake, &Value) -> Result<(), ConnectError> + Send + Sync>;

impl Handlers {
    /// Whether a client with this handshake and `auth` may join.
    pub(crate) fn admit(&self, handshake: &Handshake, auth: &Value) -> Result<(), ConnectError> {
        self.admit
            .as_ref()
            .map_or(Ok(()), |admit| admit(handshake, auth))
    }

    /// The handler for an event. Unknown and numeric names are nobody's, unless there is a catch-all.
    pub(crate) fn event(&self, args: &[Value]) -> Option<&dyn Erased> {
        let name = args.first().and_then(Value::as_str);
        name.and_then(|name| self.events.get(name))
            .or(self.any.as_ref())
            .map(AsRef::as_ref)
    }
}

impl Namespace<()> {
    /// A namespace without state. `name` starts with a slash; `/` is the one that clients join by default.
    pub fn new(name: &str) -> Self {
        Self::with_state(name, ())
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
            name,
            state,
            handlers: Handlers::default(),
            on_note: None,
        }
    }

    /// Decides who may join, from the request that opened the connection and the `auth` object that the client sent. Whoever may not gets
    /// CONNECT_ERROR and never was in the namespace. Must not wait: look things up before, or in `on_connect`.
    #[must_use]
    pub fn admit(
        mut self,
        admit: impl Fn(&Handshake, &Value) -> Result<(), ConnectError> + Send + Sync + 'static,
    ) -> Self {
        self.handlers.admit = Some(Box::new(admit));
        self
    }

    /// Runs when a client has joined, before any of its events is handled.
    #[must_use]
    pub fn on_connect<T: 'static>(mut self, handler: impl Handler<T, S>) -> Self {
        self.handlers.connect = Some(erase(handler, self.state.clone()));
        self
    }

    /// Runs for every event of this name. A later handler for the same name replaces the earlier one.
    #[must_use]
    pub fn on<T: 'static>(mut self, event: &str, handler: impl Handler<T, S>) -> Self {
        self.handlers
            .events
            .insert(event.to_owned(), erase(handler, self.state.clone()));
        self
    }

    /// Runs for every event that has no handler of its own.
    #[must_use]
    pub fn on_any<T: 'static>(mut self, handler: impl Handler<T, S>) -> Self {
        self.handlers.any = Some(erase(handler, self.state.clone()));
        self
    }

    /// Runs once when a client has gone, after its events. The socket is in no room any more.
    #[must_use]
    pub fn on_disconnect<T: 'static>(mut self, handler: impl Handler<T, S>) -> Self {
        self.handlers.disconnect = Some(erase(handler, self.state.clone()));
        self
    }

    /// Runs on every node for each ordered broadcast that carries a note, in delivery order, just before the node's own members get
    /// the broadcast, and decides whether they do: a change that comes late, after a newer one was told, can be kept from them. It runs
    /// under the namespace's delivery lock, so it must not wait, nor call [`Space::conduct`](crate::Space::conduct).
    #[must_use]
    pub fn on_note(mut self, handler: impl Fn(&Note) -> Decision + Send + Sync + 'static) -> Self {
        self.on_note = Some(Box::new(handler));
        self
    }

    pub(crate) fn into_parts(self) -> Parts {
        Parts {
            name: self.name,
            handlers: self.handlers,
            on_note: self.on_note,
        }
    }
}

/// A namespace without its state's type.
pub(crate) struct Parts {
    pub(crate) name: String,
    pub(crate) handlers: Handlers,
    pub(crate) on_note: Option<NoteHandler>,
}
