//! How a connection leaves HTTP: the request says what comes after it, and the connection's task goes on as that.
//!
//! [`serve`](crate::serve()) works this way: no second task, no message between tasks, and hyper's memory is given back before the
//! WebSocket begins. Under any other HTTP server the stream comes out of hyper's own upgrade.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use http::Request;
use tokio::time::Sleep;
use unisono_proto::ws::{self, Role};

use super::entry::Pass;
use crate::conn::Conn;
use crate::server::Server;
use crate::session::{Session, Stream, WebSocket, probe};

/// What takes a connection over after HTTP.
pub(crate) struct Successor {
    server: Arc<Server>,
    conn: Arc<Conn>,
    kind: Kind,
}

pub(super) enum Kind {
    /// A session of its own; the open packet is its first frame.
    Session(Pass),
    /// A WebSocket for a session that is polling.
    Probe,
}

/// A connection's life, one stage after the other in the same task. An enum of boxes rather than an async function: what a stage
/// needed is given back when it ends, and an idle WebSocket holds its session and nothing else.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every connection that lives long is a session: a box would cost it an allocation more"
)]
pub(crate) enum Life {
    /// HTTP requests. What comes after them, if anything.
    Http(Pin<Box<dyn Future<Output = Option<Life>> + Send>>),
    /// A WebSocket session.
    Session(Session),
    /// A WebSocket that probes. Rare and short.
    Probe(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl Future for Life {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut *self {
                Self::Http(http) => match ready!(http.as_mut().poll(cx)) {
                    Some(next) => *self = next,
                    None => return Poll::Ready(()),
                },
                Self::Session(session) => return Pin::new(session).poll(cx),
                Self::Probe(probe) => return probe.as_mut().poll(cx),
            }
        }
    }
}

impl Successor {
    /// Goes on with the stream, what was read from it beyond the request, and what is still to be written to it; with a timer that HTTP has no use for
    /// any more, if there is one.
    pub(crate) fn begin(
        self,
        stream: Stream,
        unread: Vec<u8>,
        mut unwritten: Vec<u8>,
        timer: Option<Pin<Box<Sleep>>>,
    ) -> Life {
        let Self { server, conn, kind } = self;
        if let Kind::Session(_) = kind {
            server.open.push_frame(conn.sid, &mut unwritten);
        }
        let decoder = ws::Decoder::new(Role::Server, server.config.connection.max_payload);
        let socket = WebSocket::new(stream, decoder, conn.dialect, unread, unwritten);
        match kind {
            Kind::Session(mut pass) => {
                server.remember(&conn);
                let seat = pass.take_seat();
                Life::Session(Session::websocket(server, conn, socket, timer).seated(seat))
            }
            Kind::Probe => Life::Probe(Box::pin(probe(server, conn, socket))),
        }
    }

    /// The client went away before the switch.
    pub(crate) fn abandon(self) {
        if let (Kind::Probe, Some(polling)) = (self.kind, &mut self.conn.mailbox().polling) {
            polling.upgrading = false;
        }
    }
}

/// A request extension: where the request leaves its successor.
#[derive(Clone, Default)]
pub(crate) struct Handover(Arc<Shared>);

#[derive(Default)]
struct Shared {
    successor: Mutex<Option<Successor>>,
    /// The stream did not take all that HTTP wrote.
    blocked: AtomicBool,
    /// A poll waits.
    waits: AtomicBool,
    /// The client has closed its side.
    ended: AtomicBool,
}

/// Says for as long as it is held that the connection's request is a poll that waits: the client's end is its end at once.
pub(super) struct Waiting(Handover);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.waits.store(false, Relaxed);
    }
}

impl Handover {
    fn successor(&self) -> MutexGuard<'_, Option<Successor>> {
        self.0
            .successor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take(&self) -> Option<Successor> {
        self.successor().take()
    }

    /// Whether a request has left its successor.
    pub(crate) fn has_successor(&self) -> bool {
        self.successor().is_some()
    }

    /// Whether HTTP still has something to write.
    pub(crate) fn is_blocked(&self) -> bool {
        self.0.blocked.load(Relaxed)
    }

    pub(super) fn set_blocked(&self, blocked: bool) {
        self.0.blocked.store(blocked, Relaxed);
    }

    /// `None` if the client has closed its side already.
    pub(super) fn wait(self) -> Option<Waiting> {
        if self.0.ended.load(Relaxed) {
            return None;
        }
        self.0.waits.store(true, Relaxed);
        Some(Waiting(self))
    }

    /// The client has closed its side: whether that is the end of a poll.
    pub(super) fn ends_poll(&self) -> bool {
        self.0.ended.store(true, Relaxed);
        self.0.waits.load(Relaxed)
    }

    fn leave(&self, successor: Successor) {
        *self.successor() = Some(successor);
    }
}

/// Lets the request's connection go on as a WebSocket once the 101 is out.
pub(super) fn hand_over<B>(
    server: &Arc<Server>,
    conn: Arc<Conn>,
    kind: Kind,
    request: &mut Request<B>,
) {
    let successor = Successor {
        server: server.clone(),
        conn,
        kind,
    };
    if let Some(handover) = request.extensions().get::<Handover>() {
        handover.leave(successor);
        return;
    }
    let upgraded = hyper::upgrade::on(request);
    tokio::spawn(async move {
        match upgraded.await {
            Ok(upgraded) => {
                let (stream, unread) = Stream::from_upgraded(upgraded);
                // A task of its own: this one's memory is given back.
                tokio::spawn(successor.begin(stream, unread, Vec::new(), None));
            }
            Err(_) => successor.abandon(),
        }
    });
}
