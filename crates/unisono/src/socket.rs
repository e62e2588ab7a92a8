//! One client in one namespace.

use std::any::Any;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::Serialize;
use unisono_cluster::rooms::Slot;
use unisono_proto::Value;
use unisono_proto::connection::CloseReason;
use unisono_proto::engine::Sid;
use unisono_proto::socket::{self, Packet};
use unisono_proto::value::to_args;

use crate::ack::{AckError, PendingAcks, Waiting};
use crate::broadcast::Broadcast;
use crate::conn::{Conn, Handshake, Leave};
use crate::error::EmitError;
use crate::outgoing::{Kind, Outgoing};
use crate::space::{Space, SpaceInner};

/// A handle to one client in one namespace. Cheap to clone; a handle to a client that has gone does nothing.
#[derive(Clone)]
pub struct Socket(pub(crate) Arc<SocketInner>);

pub(crate) struct SocketInner {
    id: Sid,
    space: Arc<SpaceInner>,
    conn: Arc<Conn>,
    /// Where the rooms keep it; empty before it is in the namespace.
    slot: OnceLock<Slot>,
    auth: Value,
    pub(crate) acks: PendingAcks,
    data: Mutex<Option<Arc<dyn Any + Send + Sync>>>,
    /// Left its namespace. The connection may go on, with another socket in the same namespace.
    gone: AtomicBool,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.id())
            .field("nsp", &self.0.space.name)
            .finish_non_exhaustive()
    }
}

impl Socket {
    /// Lets a client into a namespace: CONNECT is answered first, so that nothing the client gets stands before it.
    pub(crate) fn attach(space: &Arc<SpaceInner>, conn: &Arc<Conn>, auth: Value) -> Self {
        let inner = Arc::new(SocketInner {
            id: crate::ids::new_sid(),
            space: space.clone(),
            conn: conn.clone(),
            slot: OnceLock::new(),
            auth,
            acks: PendingAcks::default(),
            data: Mutex::new(None),
            gone: AtomicBool::new(false),
        });
        let socket = Self(inner);
        let data = Value::Map(vec![("sid".into(), socket.id().into())]);
        if let Ok(packet) = Outgoing::packet(&Packet::Connect {
            nsp: space.name.to_string(),
            data: Some(data),
        }) {
            conn.push(packet);
        }
        let slot = space.enter(&socket);
        // Nobody else has seen this socket yet.
        let _ = socket.0.slot.set(slot);
        space.counters.sockets.fetch_add(1, Relaxed);
        socket
    }

    /// Takes the client out of all rooms. Called once, by the task that owns the connection.
    pub(crate) fn detach(&self, reason: CloseReason) {
        self.0.gone.store(true, Relaxed);
        if let Some(&slot) = self.0.slot.get() {
            self.0.space.exit(slot);
        }
        self.0.acks.close();
        self.0.space.counters.sockets.fetch_sub(1, Relaxed);
        self.0.space.counters.disconnected(reason);
    }

    pub(crate) fn sid(&self) -> Sid {
        self.0.id
    }

    pub(crate) fn space(&self) -> &Arc<SpaceInner> {
        &self.0.space
    }

    pub(crate) fn conn(&self) -> &Arc<Conn> {
        &self.0.conn
    }

    pub(crate) fn resolve_ack(&self, id: u64, args: Vec<Value>) {
        self.0.acks.resolve(id, args);
    }

    /// The Socket.IO id: 20 characters, not the session's secret. Every socket is in the room of this name.
    pub fn id(&self) -> &str {
        self.0.id.as_str()
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

    /// Whether the client is still there, as far as this node knows.
    pub fn is_connected(&self) -> bool {
        !self.0.conn.is_closed() && self.0.space.holds(self)
    }

    /// Puts the socket into a room. Joining twice changes nothing; joining after the disconnect does nothing.
    pub fn join(&self, room: &str) {
        if let Some(&slot) = self.0.slot.get() {
            self.0.space.join(slot, room);
        }
    }

    /// Takes the socket out of a room.
    pub fn leave(&self, room: &str) {
        if let Some(&slot) = self.0.slot.get() {
            self.0.space.leave(slot, room);
        }
    }

    /// The rooms that the socket is in, its own id first.
    pub fn rooms(&self) -> Vec<String> {
        self.0
            .slot
            .get()
            .map_or_else(Vec::new, |&slot| self.0.space.rooms_of(slot))
    }

    /// Sends an event to this client. A tuple becomes several arguments, `()` none.
    ///
    /// # Errors
    /// The event cannot be written as a Socket.IO packet. A client that has gone is no error.
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
    ///
    /// # Errors
    /// No answer within `timeout`, the client has gone, or the event cannot be written.
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

    /// Ends this socket with a DISCONNECT packet: stock clients do *not* reconnect by themselves after it.
    pub fn disconnect(&self) {
        self.end(false);
    }

    /// Like [`disconnect`](Self::disconnect), and ends the connection under it with all its namespaces.
    pub fn disconnect_and_close(&self) {
        self.end(true);
    }

    fn end(&self, close: bool) {
        let leave = Leave {
            id: self.0.id,
            close,
        };
        self.0.conn.with(|mail| mail.leaving.push(leave));
    }

    /// Attaches a value to the socket, in place of the one before.
    pub fn set_data<T: Send + Sync + 'static>(&self, data: T) {
        *self.0.data.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(data));
    }

    /// The attached value, if it is a `T`.
    pub fn data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let data = self
            .0
            .data
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()?;
        data.downcast().ok()
    }

    fn send<T: Serialize + ?Sized>(
        &self,
        event: &str,
        id: Option<u64>,
        data: &T,
        kind: Kind,
    ) -> Result<(), EmitError> {
        let args = event_args(event, data)?;
        if self
            .0
            .conn
            .push(Outgoing::event(&self.0.space.name, id, &args, kind)?)
        {
            self.0.space.counters.events_sent.fetch_add(1, Relaxed);
        }
        Ok(())
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
