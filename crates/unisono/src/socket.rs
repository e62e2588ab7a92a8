//! One client in one namespace.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use serde::Serialize;
use unisono_cluster::rooms::Slot;
use unisono_proto::Value;
use unisono_proto::connection::CloseReason;
use unisono_proto::engine::{Revision, Sid};
use unisono_proto::socket::{self, Packet};
use unisono_proto::value::to_args;

use crate::ack::{AckError, PendingAcks, Waiting};
use crate::broadcast::Broadcast;
use crate::conn::{Conn, Handshake, Leave};
use crate::data::Belongings;
use crate::error::EmitError;
use crate::outgoing::{Kind, Outgoing};
use crate::slow::Spare;
use crate::space::{Space, SpaceInner};

/// A handle to one client in one namespace. Cheap to clone; a handle to a client that has gone does nothing.
///
/// It is in the room of its own id, and in those that it is put into:
///
/// ```
/// use unisono::{Data, RoomError, Socket};
///
/// async fn enter(socket: Socket, Data(game): Data<String>) {
///     if let Err(RoomError::TooMany) = socket.join(&game) {
///         socket.emit("refused", "leave another game first").ok();
///         return;
///     }
///     socket.emit("entered", &socket.rooms()).ok(); // to this client
///     socket.to(&game).emit("newcomer", socket.id()).ok(); // to the others in the game, on every node
/// }
/// # drop(unisono::Namespace::new("/").on("enter", enter));
/// ```
#[derive(Clone)]
pub struct Socket(pub(crate) Arc<SocketInner>);

pub(crate) struct SocketInner {
    pub(crate) id: SocketId,
    space: Arc<SpaceInner>,
    conn: Arc<Conn>,
    /// Where the rooms keep it; empty before it is in the namespace.
    slot: OnceLock<Slot>,
    auth: Value,
    pub(crate) acks: PendingAcks,
    belongings: Belongings,
    /// Left its namespace. The connection may go on, with another socket in the same namespace.
    gone: AtomicBool,
    /// Ended by the application, which then gets no more of its events.
    ended: AtomicBool,
}

/// The Socket.IO id.
#[derive(Clone, Debug)]
pub(crate) enum SocketId {
    /// 20 characters: random, or in the main namespace of an Engine.IO 3 client the session's own.
    Sid(Sid),
    /// `<namespace>#<session id>`, as clients of Engine.IO 3 make it up themselves.
    Scoped(Box<str>),
}

// The second form costs the first nothing: what 20 characters take anyway, rounded up.
const _: () = assert!(size_of::<SocketId>() <= 24);

impl SocketId {
    fn new(conn: &Conn, nsp: &str) -> Self {
        match (conn.dialect.revision, nsp) {
            // The session's id is its secret, so it is not reused.
            (Revision::V4, _) => Self::Sid(crate::ids::new_sid()),
            // The client calls itself that, whatever we do.
            (Revision::V3, "/") => Self::Sid(conn.sid),
            (Revision::V3, nsp) => Self::Scoped(format!("{nsp}#{}", conn.sid).into()),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Sid(sid) => sid.as_str(),
            Self::Scoped(id) => id,
        }
    }

    fn for_logs(&self, revision: Revision) -> &str {
        let id = self.as_str();
        match revision {
            Revision::V4 => id,
            // It ends with the session's id. Four of its characters tell it from others and open nothing.
            Revision::V3 => &id[..id.len() - Sid::LEN + 4],
        }
    }
}

impl std::fmt::Debug for SocketInner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.id.for_logs(self.conn.dialect.revision))
            .field("nsp", &self.space.name)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Socket {
    /// A client that wants to join a namespace and is not in yet.
    pub(crate) fn new(space: Arc<SpaceInner>, conn: Arc<Conn>, auth: Value) -> Self {
        Self(Arc::new(SocketInner {
            id: SocketId::new(&conn, &space.name),
            space,
            conn,
            slot: OnceLock::new(),
            auth,
            acks: PendingAcks::default(),
            belongings: Belongings::default(),
            gone: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }))
    }

    /// Lets the client in: CONNECT is answered first, so that nothing the client gets stands before it. Called once, by the task that
    /// owns the connection.
    pub(crate) fn enter(&self) {
        let told = match (self.revision(), &self.0.id) {
            (Revision::V4, SocketId::Sid(sid)) => Some(*sid),
            _ => None,
        };
        if let Ok(answer) = Outgoing::connected(&self.0.space.name, told) {
            self.0.conn.push(answer);
        }
        // Held until the slot is set: whoever joins a room meanwhile waits here, then sees the slot.
        let mut kept = self.0.belongings.lock();
        let early = kept
            .as_mut()
            .map(|kept| std::mem::take(&mut kept.early_rooms));
        let slot = self.0.space.enter(self, &early.unwrap_or_default());
        // Only the connection's task sets it.
        let _ = self.0.slot.set(slot);
        drop(kept);
        self.0.space.counters.sockets.fetch_add(1, Relaxed);
    }

    /// Takes the client out of all rooms, which a disconnect handler may want to know. Called once, by the task that owns the connection.
    pub(crate) fn detach(&self, reason: CloseReason) -> Vec<String> {
        self.0.gone.store(true, Relaxed);
        let slot = self.0.slot.get();
        let left = slot.map_or_else(Vec::new, |&slot| self.0.space.exit(slot));
        self.0.acks.close();
        self.0.space.counters.sockets.fetch_sub(1, Relaxed);
        self.0.space.counters.disconnected(reason);
        left
    }

    /// Whether this is the very one, not another of the same id.
    pub(crate) fn is(&self, other: &Weak<SocketInner>) -> bool {
        Arc::as_ptr(&self.0) == other.as_ptr()
    }

    pub(crate) fn space(&self) -> &Arc<SpaceInner> {
        &self.0.space
    }

    /// Where its namespace keeps it, once it is in.
    pub(crate) fn slot(&self) -> Option<Slot> {
        self.0.slot.get().copied()
    }

    pub(crate) fn belongings(&self) -> &Belongings {
        &self.0.belongings
    }

    pub(crate) fn conn(&self) -> &Arc<Conn> {
        &self.0.conn
    }

    pub(crate) fn resolve_ack(&self, id: u64, args: Vec<Value>, bytes: usize) {
        self.0.acks.resolve(id, args, bytes);
    }

    /// The Socket.IO id. Every socket is in the room of this name. 20 characters, not the session's secret; but of an Engine.IO 3 client
    /// it is the session's own id in `/`, and `/chat#` in front of that in `/chat`: do not show those to other clients.
    pub fn id(&self) -> &str {
        self.0.id.as_str()
    }

    /// The id as logs may have it: the [`id`](Self::id), but of an Engine.IO 3 client, whose id opens its session, only the beginning. `Debug`
    /// shows this too.
    pub fn log_id(&self) -> &str {
        self.0.id.for_logs(self.revision())
    }

    /// The revision of Engine.IO that the client speaks; 3 only with [`IoBuilder::allow_eio3`](crate::IoBuilder::allow_eio3).
    pub fn revision(&self) -> Revision {
        self.0.conn.dialect.revision
    }

    /// The namespace's name.
    pub fn namespace(&self) -> &str {
        &self.0.space.name
    }

    /// The request that opened the connection.
    pub fn handshake(&self) -> &Handshake {
        &self.0.conn.handshake
    }

    /// The `auth` object that the client sent with CONNECT; `Null` if it sent none.
    pub fn auth(&self) -> &Value {
        &self.0.auth
    }

    /// Whether the client is still there, as far as this node knows, and was not told to go.
    pub fn is_connected(&self) -> bool {
        !self.is_ended() && !self.0.conn.is_closed() && self.0.space.holds(self)
    }

    /// Sends an event to this client. A tuple becomes several arguments, `()` none.
    ///
    /// # Errors
    /// The event cannot be written as a Socket.IO packet, or the client is not in the namespace yet. A client that has gone is no error.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> Result<(), EmitError> {
        self.send(event, None, data, Kind::Reliable)
    }

    /// Like [`emit`](Self::emit), but dropped when the client cannot take it at once.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn emit_volatile<T: Serialize + ?Sized>(
        &self,
        event: &str,
        data: &T,
    ) -> Result<(), EmitError> {
        self.send(event, None, data, Kind::Volatile)
    }

    /// Sends an event and waits for the client's answer. May be awaited in a handler of the same socket, as long as the client does not
    /// send more than 64 events before its answer: those wait for this handler, and then nothing more is read.
    /// What asks a busy client belongs into a task of its own.
    ///
    /// ```
    /// use std::time::Duration;
    /// use unisono::{AckError, Socket};
    ///
    /// async fn ask(socket: Socket) {
    ///     match socket.emit_with_ack("ready?", &(), Duration::from_secs(5)).await {
    ///         Ok(answer) => println!("{:?}", answer.first()),
    ///         Err(AckError::Timeout) => socket.disconnect(),
    ///         Err(error) => println!("{error}"),
    ///     }
    /// }
    /// # drop(unisono::Namespace::new("/").on_connect(ask));
    /// ```
    ///
    /// # Errors
    /// [`AckError::Timeout`], [`AckError::Disconnected`]: no answer, or the client has gone. [`AckError::TooMany`]: it owes 1,024 answers
    /// already. [`AckError::Emit`]: the event cannot be written, or the client is not in the namespace yet.
    pub fn emit_with_ack<T: Serialize + ?Sized>(
        &self,
        event: &str,
        data: &T,
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<Value>, AckError>> + Send + 'static {
        let sent = Waiting::new(self).and_then(|waiting| {
            self.send(event, Some(waiting.id), data, Kind::Reliable)?;
            Ok(waiting)
        });
        async move { sent?.answer(timeout).await }
    }

    /// A broadcast to the members of `room` on all nodes, but not to this socket.
    pub fn to(&self, room: &str) -> Broadcast {
        self.broadcast().to(room)
    }

    /// A broadcast to everybody in the namespace on all nodes, but not to this socket.
    pub fn broadcast(&self) -> Broadcast {
        Space(self.0.space.clone()).broadcast().except(self.id())
    }

    /// Ends this socket with a DISCONNECT packet: stock clients do *not* reconnect by themselves after it. Events of the client that wait for
    /// their handlers are dropped.
    pub fn disconnect(&self) {
        self.end(false);
    }

    /// Like [`disconnect`](Self::disconnect), and ends the connection under it with all its namespaces.
    pub fn disconnect_and_close(&self) {
        self.end(true);
    }

    fn end(&self, close: bool) {
        self.0.ended.store(true, Relaxed);
        if close {
            self.0.conn.ended.store(true, Relaxed);
        }
        let socket = Arc::downgrade(&self.0);
        let leave = Leave { socket, close };
        self.0.conn.with(|mail| mail.leaving.push(leave));
    }

    fn send<T: Serialize + ?Sized>(
        &self,
        event: &str,
        id: Option<u64>,
        data: &T,
        kind: Kind,
    ) -> Result<(), EmitError> {
        let args = event_args(event, data)?;
        // CONNECT is the first that a client gets; whoever has gone has been in.
        if self.0.slot.get().is_none() {
            return Err(EmitError::NotJoined);
        }
        // The client may have come back meanwhile, as another socket of the same namespace.
        if self.is_gone() {
            return Ok(());
        }
        let space = &self.0.space;
        let spare = match id {
            Some(_) => Spare::No,
            None => space.handlers.slow_readers.spares(&space.name, &args),
        };
        let message = Outgoing::event(&space.name, id, &args, kind, spare)?;
        if self.0.conn.push(message) {
            space.counters.events_sent.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    /// Whether the application has ended it, or its connection.
    pub(crate) fn is_ended(&self) -> bool {
        self.0.ended.load(Relaxed) || self.0.conn.ended.load(Relaxed)
    }

    fn is_gone(&self) -> bool {
        self.0.gone.load(Relaxed)
    }

    pub(crate) fn send_ack(&self, id: u64, args: Vec<Value>) -> Result<(), EmitError> {
        if self.is_gone() {
            return Ok(());
        }
        let packet = Packet::Ack {
            nsp: self.0.space.name.to_string(),
            id,
            args,
        };
        self.0.conn.push(Outgoing::packet(&packet)?);
        Ok(())
    }
}

/// The event's name and its arguments as one list.
pub(crate) fn event_args<T: Serialize + ?Sized>(
    event: &str,
    data: &T,
) -> Result<Vec<Value>, EmitError> {
    if socket::RESERVED_EVENTS.contains(&event) {
        return Err(EmitError::Reserved(event.to_owned()));
    }
    let mut args = to_args(data)?;
    args.insert(0, event.into());
    Ok(args)
}
