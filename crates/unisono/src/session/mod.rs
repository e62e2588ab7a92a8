//! The task that owns a connection: the only one that reads and writes its transport, decides when it ends, and runs its handlers.
//!
//! It is one future, written by hand: what it holds is what an idle connection costs.

mod connecting;
mod finish;
mod flood;
mod line;
mod packets;
mod plain;
mod polling;
mod probe;
mod scratch;
mod slots;
mod stream;
mod unread;
mod websocket;
mod writing;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;
use unisono_proto::Value;
use unisono_proto::connection::{CloseReason, Connection, Due};
use unisono_proto::engine::Revision;

use crate::conn::Conn;
use crate::limits::Meter;
use crate::outgoing::Outgoing;
use crate::seats::Seat;
use crate::server::Server;
use crate::stats::Refusal;
use connecting::Connecting;
pub(crate) use finish::is_ours;
use plain::Plain;
pub(crate) use polling::Payload;
use polling::Polling;
pub(crate) use probe::{Candidate, probe};
pub(crate) use scratch::with_scratch;
use slots::Slots;
pub(crate) use stream::Stream;
use unread::Unread;
pub(crate) use websocket::{MAX_SLICES, WebSocket};
use writing::NEVER;

/// One Engine.IO session at work.
pub(crate) struct Session {
    server: Arc<Server>,
    conn: Arc<Conn>,
    machine: Connection,
    wire: Wire,
    slots: Slots,
    connecting: Connecting,
    phase: Phase,
    timer: Pin<Box<Sleep>>,
    /// What `timer` is set to.
    armed: u64,
    /// When the session ends unless the client takes something of what waits for it.
    write_deadline: u64,
    /// The machine was told that the session has opened.
    opened: bool,
    /// Not reading, because handlers are behind.
    held_back: bool,
    /// No namespace has been joined yet; counted in `Stats::joining`.
    joining: bool,
    /// A namespace was joined since the transport was last read.
    fresh: bool,
    /// What the client has sent, once it has and if that is limited.
    meter: Option<Box<Meter>>,
    /// Its place among the sessions of its address, if those are limited. Kept until the last handler is done: those who come and go
    /// without end would pile them up.
    seat: Option<Seat>,
}

enum Wire {
    WebSocket(WebSocket),
    Polling(Polling),
    /// The transport is closed; handlers may still run.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The last bytes are on their way, until this moment at most.
    Finishing {
        deadline: u64,
    },
    Done,
}

impl Session {
    /// A session on an upgraded WebSocket. It takes over a timer, if there is one: setting that anew costs less than another.
    pub(crate) fn websocket(
        server: Arc<Server>,
        conn: Arc<Conn>,
        socket: WebSocket,
        timer: Option<Pin<Box<Sleep>>>,
    ) -> Self {
        server.counters.websocket.fetch_add(1, Relaxed);
        Self::new(server, conn, Wire::WebSocket(socket), timer)
    }

    /// A session on long-polling.
    pub(crate) fn polling(server: Arc<Server>, conn: Arc<Conn>) -> Self {
        server.counters.polling.fetch_add(1, Relaxed);
        Self::new(server, conn, Wire::Polling(Polling::default()), None)
    }

    fn new(
        server: Arc<Server>,
        conn: Arc<Conn>,
        wire: Wire,
        timer: Option<Pin<Box<Sleep>>>,
    ) -> Self {
        server.counters.tasks.fetch_add(1, SeqCst);
        let slots = match &server.plain {
            Some(handlers) => Slots::plain(Plain::open(conn.clone(), handlers.clone())),
            None => Slots::default(),
        };
        let joining = !slots.is_plain();
        if joining {
            server.counters.joining.fetch_add(1, Relaxed);
        }
        let config = &server.config.connection;
        let machine = Connection::new(config, conn.dialect.revision, server.now_ms());
        let armed = machine.next_deadline();
        let deadline = server.instant(armed);
        let timer = match timer {
            Some(mut timer) => {
                timer.as_mut().reset(deadline);
                timer
            }
            None => Box::pin(tokio::time::sleep_until(deadline)),
        };
        Self {
            server,
            conn,
            machine,
            wire,
            slots,
            connecting: Connecting::default(),
            phase: Phase::Open,
            timer,
            armed,
            write_deadline: NEVER,
            opened: false,
            held_back: false,
            joining,
            fresh: false,
            meter: None,
            seat: None,
        }
    }

    /// A client of Engine.IO 3 is let into the main namespace without having asked. Where there is none it is not told so: whoever wants
    /// another would take that for an answer.
    fn open(&mut self) {
        if std::mem::replace(&mut self.opened, true) || self.conn.dialect.revision == Revision::V4 {
            return;
        }
        let main = self.server.find("/", &self.conn.handshake, &Value::Null);
        if main.is_ok() {
            let handled = self.machine.handle_opened();
            self.apply(handled, 0);
        }
    }

    /// Handlers are behind: nothing is read until they have caught up. `true` if that is new, and the timer with it.
    fn hold_back(&mut self) -> bool {
        let is_new = !std::mem::replace(&mut self.held_back, true);
        if is_new {
            self.machine.handle_reading_held_back(self.server.now_ms());
        }
        is_new
    }

    /// There is room for what is read.
    fn read_on(&mut self) {
        if std::mem::take(&mut self.held_back) {
            self.machine.handle_reading_resumed(self.server.now_ms());
        }
    }

    /// Keeps the session's place until it and its handlers are done.
    pub(crate) fn seated(mut self, seat: Option<Seat>) -> Self {
        self.seat = seat;
        self
    }

    /// Ends the session. The sockets leave their rooms at once; what was already queued still goes out if the transport works.
    fn end(&mut self, reason: CloseReason) {
        // A peer that has closed the stream is not there to be told.
        let last = (reason != CloseReason::TransportClose).then(|| Outgoing::close_frame(None));
        self.end_with(reason, last);
    }

    /// The same with the WebSocket's last frame, if it is to have one.
    fn end_with(&mut self, reason: CloseReason, last: Option<Arc<Outgoing>>) {
        if self.phase != Phase::Open {
            return;
        }
        tracing::debug!(sid = ?self.conn.sid, reason = reason.as_str(), "connection closed");
        self.conn.close(reason);
        self.joined();
        self.connecting.clear();
        self.slots.leave_all(reason);
        self.begin_finish(reason, last);
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) {
        while let Some(next) = self.deadline() {
            if next < self.armed {
                self.arm(next);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return;
            }
            let now = self.server.now_ms();
            match self.phase {
                // A client that fetches nothing fetches no ping either: that is the reason then, as for Node.
                Phase::Open if self.machine.next_deadline() <= now => self.handle_due(now),
                Phase::Open if self.write_deadline <= now => self.give_up_writing(cx, now),
                Phase::Open => {}
                Phase::Finishing { deadline } if deadline <= now => self.finished(),
                Phase::Finishing { .. } | Phase::Done => {}
            }
            if let Some(next) = self.deadline() {
                self.arm(next);
            }
        }
    }

    /// When there is something to do although nothing comes.
    fn deadline(&self) -> Option<u64> {
        match self.phase {
            Phase::Open => Some(self.machine.next_deadline().min(self.write_deadline)),
            Phase::Finishing { deadline } => Some(deadline),
            Phase::Done => None,
        }
    }

    fn arm(&mut self, at: u64) {
        self.armed = at;
        let at = self.server.instant(at);
        self.timer.as_mut().reset(at);
    }

    fn handle_due(&mut self, now: u64) {
        match self.machine.handle_timeout(now) {
            Due::Nothing => {}
            Due::Ping => {
                self.conn.push(self.server.ping.clone());
            }
            Due::Pong => self.pong(""),
            // A pong may be waiting unread, because it is us who do not read.
            Due::Close(CloseReason::PingTimeout) if self.held_back => {
                self.machine.handle_reading_resumed(now);
            }
            Due::Close(reason) => {
                if reason == CloseReason::ForcedClose {
                    self.server.counters.refuse(Refusal::ConnectTimeout);
                }
                self.end(reason);
            }
        }
    }

    /// Reads, or serves requests, as far as the transport goes. `true` when there may be more to do at once.
    fn poll_wire(&mut self, cx: &mut Context<'_>) -> bool {
        if std::mem::take(&mut self.fresh) {
            self.machine.settle();
        }
        match (&mut self.wire, self.phase) {
            (_, Phase::Done) | (Wire::Gone, _) => false,
            (_, Phase::Finishing { .. }) => {
                self.poll_finish(cx);
                false
            }
            (Wire::WebSocket(_), Phase::Open) => self.poll_websocket_read(cx),
            (Wire::Polling(_), Phase::Open) => self.poll_polling(),
        }
    }

    fn poll_websocket_read(&mut self, cx: &mut Context<'_>) -> bool {
        if self.slots.is_full() {
            return self.hold_back();
        }
        self.read_on();
        let Wire::WebSocket(socket) = &mut self.wire else {
            return false;
        };
        if !socket.unread.is_empty() {
            let mut unread = std::mem::take(&mut socket.unread);
            let left = self.decode(unread.rest());
            unread.keep_last(left);
            self.keep_unread(unread);
            return true;
        }
        with_scratch(|buffer| {
            let Wire::WebSocket(socket) = &mut self.wire else {
                return false;
            };
            match socket.poll_read(cx, buffer) {
                Poll::Pending => return false,
                Poll::Ready(Ok(0)) => self.end(CloseReason::TransportClose),
                Poll::Ready(Ok(n)) => {
                    if self.admit_bytes(n) {
                        let left = self.decode(&mut buffer[..n]);
                        self.keep_unread(buffer[n - left..n].to_vec().into());
                    }
                }
                Poll::Ready(Err(_)) => self.end(CloseReason::TransportError),
            }
            true
        })
    }

    /// Keeps what the handlers had no room for.
    fn keep_unread(&mut self, unread: Unread) {
        if let Wire::WebSocket(socket) = &mut self.wire {
            socket.unread = unread;
        }
    }
}

impl Future for Session {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.open();
        let mut steps = 0;
        loop {
            this.poll_outgoing(cx);
            this.poll_timer(cx);
            this.poll_connecting(cx);
            this.slots.poll(cx, &this.server.counters);
            if this.poll_wire(cx) {
                steps += 1;
                if steps < MAX_STEPS {
                    continue;
                }
                give_way(cx);
                return Poll::Pending;
            }
            if this.phase == Phase::Done && this.slots.is_empty() {
                return Poll::Ready(());
            }
            // A handler that caught up may have made room for reading.
            if this.phase == Phase::Open && this.held_back && !this.slots.is_full() {
                continue;
            }
            if this.sleep(cx) {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // When the runtime stops: nobody may find a session without its task.
        if self.phase != Phase::Done {
            self.conn.close(CloseReason::ServerShuttingDown);
            self.joined();
            self.leave_wire();
            self.server.forget(self.conn.sid);
            self.slots.leave_all(CloseReason::ServerShuttingDown);
        }
        if self.server.counters.tasks.fetch_sub(1, SeqCst) == 1 {
            self.server.empty.notify_waiters();
        }
    }
}

/// Wakes this task again after the runtime has looked for what has arrived on other connections. A plain wake would come before that, for
/// dozens of turns in a row.
pub(super) fn give_way(cx: &mut Context<'_>) {
    let turn = pin!(tokio::task::yield_now());
    // It has registered the waker, which is all that is wanted of it.
    let _ = turn.poll(cx);
}

/// Steps in a row before other connections get their turn. A step is one read of at most 16 KiB, which may hold thousands of empty
/// frames, or a few hundred packets of a POST: a peer that sends as fast as it can keeps a thread busy for about a millisecond at a time.
pub(super) const MAX_STEPS: usize = 4;

/// How long a closing transport may take to carry its last bytes, to a client that is behind too. Longer only helps a peer that has stopped
/// reading.
pub(super) const LINGER: Duration = Duration::from_secs(2);
