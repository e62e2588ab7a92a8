//! Plain Engine.IO: sessions over long-polling and WebSocket that carry texts and bytes, without namespaces, events or rooms.
//!
//! For protocols of one's own that want the handshake, the heartbeat, the upgrade and the limits, and nothing above them. Clients of
//! Socket.IO need [`Io`](crate::Io).
//!
//! ```no_run
//! use unisono::engine::{Engine, EngineSocket, Message};
//!
//! # async fn run() -> std::io::Result<()> {
//! let engine = Engine::builder()
//!     .on_message(async |socket: EngineSocket, message: Message| {
//!         socket.send(message).ok();
//!     })
//!     .build();
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! unisono::serve(listener, engine.service(), std::future::pending()).await
//! # }
//! ```

mod handlers;
mod socket;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

pub(crate) use self::handlers::Handlers;
pub use self::socket::{Closed, EngineSocket, Message};
use crate::builder::Builder;
use crate::drain::drain;
use crate::http::{NotFound, SocketIoLayer, SocketIoService};
use crate::server::Server;
use crate::stats::Stats;

pub use unisono_proto::connection::CloseReason;

/// A server of plain Engine.IO. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    server: Arc<Server>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("path", &self.server.config.path)
            .finish_non_exhaustive()
    }
}

/// What a server of plain Engine.IO is made of beside the settings of [`Builder`]. Every setting has a default that suits stock clients.
pub type EngineBuilder = Builder<EngineIo>;

/// What a server of plain Engine.IO does with what its clients send.
///
/// Of one session, all handlers run one after another, in the order of what they are called for. Messages that come meanwhile wait; when
/// 64 of them or a mebibyte wait, the session stops reading, and TCP passes that on to the client. A handler that panics costs its message
/// (counted as `panic`), not the session.
#[derive(Default)]
pub struct EngineIo {
    handlers: Handlers,
}

impl Engine {
    /// Starts with defaults: path `/engine.io/`, both transports, ping 25 s / 20 s, 1,000,000 bytes, own origin only.
    pub fn builder() -> EngineBuilder {
        Builder::new(EngineIo::default()).path("/engine.io/")
    }

    /// A tower layer: requests under the path are Engine.IO's, all others go to the inner service.
    pub fn layer(&self) -> SocketIoLayer {
        SocketIoLayer::new(self.server.clone())
    }

    /// A tower service that answers everything outside the path with 404.
    pub fn service(&self) -> SocketIoService<NotFound> {
        SocketIoService::new(self.server.clone(), NotFound)
    }

    /// Counters of this server. Messages count as events.
    pub fn stats(&self) -> Stats {
        self.server.counters.snapshot()
    }

    /// Whether [`drain`](Self::drain) was called.
    pub fn is_draining(&self) -> bool {
        self.server.draining.load(Relaxed)
    }

    /// Ends gracefully: new sessions are refused with 503, open ones are closed one after another, in random order and spread over
    /// time, and close handlers run. Returns when nobody is left or `deadline` is over; `true` if nobody was left.
    pub async fn drain(&self, deadline: Duration) -> bool {
        drain(&self.server, deadline).await
    }
}

impl EngineBuilder {
    /// Is called when a session has opened. What it sends is the first that the client gets behind the open packet.
    pub fn on_open<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(EngineSocket) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.protocol.handlers.set_open(handler);
        self
    }

    /// Is called for each message. Without, messages are counted and dropped.
    pub fn on_message<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(EngineSocket, Message) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.protocol.handlers.set_message(handler);
        self
    }

    /// Is called when a session has ended, behind the messages that came before, once. Not when the runtime stops before.
    pub fn on_close<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(EngineSocket, CloseReason) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.protocol.handlers.set_close(handler);
        self
    }

    /// Builds the server.
    pub fn build(mut self) -> Engine {
        // There is nothing to join.
        self.config.connection.connect_timeout_ms = u64::MAX;
        let (config, EngineIo { handlers }) = self.into_parts();
        Engine {
            server: Arc::new(Server::plain(config, handlers)),
        }
    }
}
