//! What everybody else sees of a connection: a bounded queue of messages, and a few requests to the task that owns it.
//!
//! The task that owns the transport ([`session`](crate::session)) is the only one that reads or writes it. Others push messages
//! here and wake that task; it then drains the whole queue with one vectored write.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use bytes::Bytes;
use tokio::sync::oneshot;
use unisono_proto::connection::CloseReason;
use unisono_proto::engine::{PayloadEncoding, Sid};

use crate::dialect::Dialect;
use crate::outgoing::{Kind, Outgoing};
use crate::session::{Candidate, MAX_SLICES, Payload};
use crate::socket::SocketInner;
use crate::stats::{Counters, Refusal};

/// A queue keeps room for this many messages while it is empty: enough for a burst without allocating, 64 bytes when idle.
const KEPT_CAPACITY: usize = 8;

/// Bytes that the task takes for one write. They count for nothing until the transport has refused them, so a queue and what is taken from
/// it are together never more than the limit and this, or one larger message. Less would cost system calls: at this size a call is
/// mostly the copying of its bytes.
const MAX_BATCH_BYTES: usize = 256 * 1024;

/// How much may wait for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueLimits {
    pub(crate) bytes: usize,
    pub(crate) messages: usize,
}

/// One connection, shared by its task, its sockets and the HTTP requests of its session.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) sid: Sid,
    pub(crate) dialect: Dialect,
    pub(crate) handshake: Handshake,
    pub(crate) limits: QueueLimits,
    pub(crate) counters: Arc<Counters>,
    /// Ended by the application, with all its sockets.
    pub(crate) ended: AtomicBool,
    /// A std mutex: it is held for a push or a swap, never across an await, and two threads rarely want the same connection's.
    mailbox: Mutex<Mailbox>,
}

/// The request that opened the session. Kept as it arrived, in as few bytes as possible.
///
/// Its `Debug` form leaves the query and the headers out: credentials are in them.
#[derive(Default)]
pub struct Handshake {
    /// Path and query of the request.
    pub url: Box<str>,
    /// The request's headers, one `name: value` a line, names in lower case.
    pub(crate) headers: Box<str>,
    /// The peer's address, where the HTTP server passed it on: the client's, or that of the proxy in front.
    pub address: Option<SocketAddr>,
    /// Whom a trusted proxy named. Boxed because it is rare and the address of every client would not be.
    pub(crate) forwarded_for: Option<Box<IpAddr>>,
    /// Milliseconds since the Unix epoch when the session opened.
    pub issued_ms: u64,
}

impl Handshake {
    /// The value of a request header, its name in either case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The client's address: the peer's, or, if the peer is one of the [trusted proxies](crate::Builder::trusted_proxies), the one that it
    /// names in `X-Forwarded-For`. An IPv4 address that came as an IPv6 one is an IPv4 address.
    pub fn client_address(&self) -> Option<IpAddr> {
        let peer = || self.address.map(|peer| peer.ip().to_canonical());
        self.forwarded_for.as_deref().copied().or_else(peer)
    }

    /// The request headers, names in lower case, without those whose values are more than visible ASCII.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers
            .lines()
            .filter_map(|line| line.split_once(": "))
    }

    /// The query string, without its question mark.
    pub fn query(&self) -> &str {
        self.url.split_once('?').map_or("", |(_, query)| query)
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.url.split('?').next();
        f.debug_struct("Handshake")
            .field("path", &path.unwrap_or_default())
            .field("client_address", &self.client_address())
            .finish_non_exhaustive()
    }
}

/// What the task finds when it wakes.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    pub(crate) queue: VecDeque<Arc<Outgoing>>,
    /// Bytes in `queue`.
    pub(crate) bytes: usize,
    /// Bytes of the message that has begun to leave when the transport refused to take more. Zero while the task has nothing in its hands
    /// but what it is about to write.
    pub(crate) begun: usize,
    /// The transport has refused to take more: volatile messages are dropped.
    pub(crate) blocked: bool,
    /// Set once: the connection is to end.
    pub(crate) closing: Option<CloseReason>,
    /// The client does not read: when the connection ends, nothing is waited for.
    pub(crate) cut: bool,
    /// Sockets to end although the connection stays.
    pub(crate) leaving: Vec<Leave>,
    /// Present while the session has a polling transport.
    pub(crate) polling: Option<Box<PollingMail>>,
    /// `Some` while the task sleeps.
    waker: Option<Waker>,
    /// Something has changed since the task last looked.
    changed: bool,
}

/// The application ends one socket.
#[derive(Debug)]
pub(crate) struct Leave {
    /// This very one: by the time the task looks, the client may have left and come back, in Engine.IO 3 even with the same id.
    pub(crate) socket: Weak<SocketInner>,
    /// End the connection too.
    pub(crate) close: bool,
}

/// What HTTP requests bring to a polling session.
#[derive(Debug, Default)]
pub(crate) struct PollingMail {
    /// The waiting GET.
    pub(crate) poll: Option<oneshot::Sender<Payload>>,
    /// The waiting POST.
    pub(crate) post: Option<Post>,
    /// A POST has not been answered yet.
    pub(crate) posting: bool,
    /// A WebSocket is probing; no second one may.
    pub(crate) upgrading: bool,
    /// Answer the waiting GET, or the next, with a noop, so that the client can pause polling.
    pub(crate) release: bool,
    /// More of an answer was taken since the task last looked.
    pub(crate) progress: bool,
    /// The WebSocket that has taken over.
    pub(crate) candidate: Option<Box<Candidate>>,
}

/// A POST whose body has arrived.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) body: Bytes,
    pub(crate) encoding: PayloadEncoding,
    /// `true`: 200 `ok`; dropped or `false`: 400.
    pub(crate) reply: oneshot::Sender<bool>,
}

impl Conn {
    pub(crate) fn new(
        sid: Sid,
        dialect: Dialect,
        handshake: Handshake,
        limits: QueueLimits,
        counters: Arc<Counters>,
        polling: bool,
    ) -> Self {
        let mailbox = Mailbox {
            polling: polling.then(Box::default),
            ..Mailbox::default()
        };
        Self {
            sid,
            dialect,
            handshake,
            limits,
            counters,
            ended: AtomicBool::new(false),
            mailbox: Mutex::new(mailbox),
        }
    }

    pub(crate) fn mailbox(&self) -> MutexGuard<'_, Mailbox> {
        // Nothing panics while it is held; if something did, the queue would still be a queue.
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message and wakes the task. A connection whose queue is full is closed: its reader has stopped.
    pub(crate) fn push(&self, message: Arc<Outgoing>) -> bool {
        let mut mail = self.mailbox();
        if mail.closing.is_some() {
            return false;
        }
        if message.kind() == Kind::Volatile && !mail.is_ready() {
            drop(mail);
            self.counters.volatile_dropped.fetch_add(1, Relaxed);
            return false;
        }
        if mail.supersede(&message) {
            self.counters.slow_replaced.fetch_add(1, Relaxed);
        }
        if !mail.has_room(&message, self.limits) {
            let dropped = mail.make_room(&message, self.limits);
            self.counters
                .slow_dropped
                .fetch_add(dropped as u64, Relaxed);
        }
        if !mail.has_room(&message, self.limits) {
            mail.closing = Some(CloseReason::ForcedClose);
            mail.cut = true;
            mail.drop_queue();
            mail.changed = true;
            let waker = mail.waker.take();
            drop(mail);
            self.counters.refuse(Refusal::SlowReader);
            tracing::info!(sid = ?self.sid, "closing a connection that does not read");
            wake(waker);
            return false;
        }
        mail.bytes += message.len();
        mail.queue.push_back(message);
        mail.changed = true;
        let waker = mail.waker.take();
        drop(mail);
        wake(waker);
        true
    }

    /// Asks the task to end the connection. The first reason stays.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.with(|mail| {
            mail.closing.get_or_insert(reason);
        });
    }

    /// Changes the mailbox and wakes the task.
    pub(crate) fn with<R>(&self, change: impl FnOnce(&mut Mailbox) -> R) -> R {
        let mut mail = self.mailbox();
        let result = change(&mut mail);
        mail.changed = true;
        let waker = mail.waker.take();
        drop(mail);
        wake(waker);
        result
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.mailbox().closing.is_some()
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Mailbox {
    /// Whether a message would leave at once.
    fn is_ready(&self) -> bool {
        !self.blocked
            && self.queue.is_empty()
            && self.polling.as_ref().is_none_or(|p| p.poll.is_some())
    }

    /// Moves what one write takes into the task's hands, where it no longer counts. Mostly that is the whole queue: two pointers are swapped,
    /// both queues keep their small capacity. `true` if there is more.
    pub(crate) fn take_batch(&mut self, hands: &mut VecDeque<Arc<Outgoing>>) -> bool {
        self.begun = 0;
        if self.queue.len() <= MAX_SLICES && self.bytes <= MAX_BATCH_BYTES {
            self.take_all(hands);
            return false;
        }
        let (count, bytes) = self.batch();
        hands.extend(self.queue.drain(..count));
        self.bytes -= bytes;
        !self.queue.is_empty()
    }

    /// Moves the whole queue into the task's hands.
    pub(crate) fn take_all(&mut self, hands: &mut VecDeque<Arc<Outgoing>>) {
        self.bytes = 0;
        if hands.is_empty() {
            std::mem::swap(&mut self.queue, hands);
            if self.queue.capacity() > KEPT_CAPACITY {
                self.queue = VecDeque::new();
            }
        } else {
            hands.append(&mut self.queue);
        }
    }

    /// How many of the waiting messages one write takes, one at least, and their bytes.
    fn batch(&self) -> (usize, usize) {
        let (mut count, mut bytes) = (0, 0);
        for message in self.queue.iter().take(MAX_SLICES) {
            if count > 0 && bytes + message.len() > MAX_BATCH_BYTES {
                break;
            }
            count += 1;
            bytes += message.len();
        }
        (count, bytes)
    }

    /// The transport has refused these. All but the message that may have begun to leave wait where they can be spared; all count again.
    pub(crate) fn put_back(&mut self, hands: &mut VecDeque<Arc<Outgoing>>) {
        self.begun = hands.front().map_or(0, |message| message.len());
        if hands.len() > 1 {
            let mut waiting = hands.split_off(1);
            self.bytes += waiting.iter().map(|message| message.len()).sum::<usize>();
            waiting.append(&mut self.queue);
            self.queue = waiting;
        }
    }

    /// Nobody will read what is queued.
    pub(crate) fn drop_queue(&mut self) {
        self.queue = VecDeque::new();
        self.bytes = 0;
    }

    /// The task looks at everything now; nobody needs to wake it.
    pub(crate) fn look(&mut self) {
        self.changed = false;
        self.waker = None;
    }

    /// The task goes to sleep until somebody changes the mailbox. `false` when somebody already has since it looked.
    pub(crate) fn sleep(&mut self, waker: &Waker) -> bool {
        if self.changed {
            return false;
        }
        if !self.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
        true
    }
}
