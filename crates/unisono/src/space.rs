//! A namespace at work on this node: who is in it, and the one line through which everything from other nodes is delivered.

mod founder;
mod guard;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use serde::Serialize;
use unisono_cluster::rooms::{Rooms, Slot};
use unisono_cluster::{Broadcast as Message, LinkState, Received, Request};

use crate::broadcast::Broadcast;
use crate::conn::Conn;
use crate::dynamic::Lease;
use crate::error::EmitError;
use crate::following::Following;
use crate::guard::guarded;
use crate::handler::BoxFuture;
use crate::middleware;
use crate::namespace::Handlers;
use crate::outgoing::{Kind, Outgoing};
use crate::port::{Port, Refused};
use crate::prepared::Prepared;
use crate::requests::Serving;
use crate::socket::{Socket, SocketInner};
use crate::stats::{Counters, Refusal};
use crate::turnstile::Turnstile;

pub(crate) use founder::Founder;

/// A handle to a namespace of the running server. Cheap to clone.
#[derive(Clone)]
pub struct Space(pub(crate) Arc<SpaceInner>);

pub(crate) struct SpaceInner {
    pub(crate) name: Arc<str>,
    pub(crate) handlers: Arc<Handlers>,
    /// A std lock: read for the time of a fan-out, written for a join or a leave, never held across an await.
    rooms: RwLock<Rooms<Resident>>,
    /// Which of them have their channel listened to.
    following: Option<Following>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) port: Option<Port>,
    line: Turnstile<Delivery>,
    /// Rooms that one member may be in.
    pub(crate) max_rooms: usize,
    /// The id of the next event that wants answers.
    pub(crate) next_ack_id: AtomicU64,
    pub(crate) serving: Serving,
    /// Handlers of server-side events on their way to their start.
    pub(crate) starting: Turnstile<BoxFuture>,
    /// Its place among the namespaces that come and go, if it is one of those.
    lease: Option<Lease>,
}

/// What a room knows of a member.
#[derive(Clone)]
pub(crate) struct Resident {
    pub(crate) conn: Arc<Conn>,
    pub(crate) socket: Arc<SocketInner>,
}

/// What has its turn in the node's one order.
enum Delivery {
    Message {
        message: Message,
        from_self: bool,
    },
    /// What another node asks of this one.
    Request(Arc<SpaceInner>, Box<Request>),
}

/// What an ordered broadcast tells the nodes beside its event; see [`Namespace::on_note`](crate::Namespace::on_note).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Note {
    /// The revision of the state that the broadcast tells of.
    pub revision: Option<u32>,
    /// What the publisher wrote.
    pub bytes: Bytes,
    /// Whether this node published it.
    pub from_self: bool,
}

/// Whether a node's members get a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// They get it now.
    Deliver,
    /// They do not get it.
    Drop,
}

impl SpaceInner {
    /// A client is about to be let in.
    pub(crate) fn open(&self) -> Result<(), middleware::Refused> {
        self.lease.as_ref().map_or(Ok(()), Lease::open)
    }

    pub(crate) fn rooms(&self) -> RwLockReadGuard<'_, Rooms<Resident>> {
        self.rooms.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a member, in those rooms from the start.
    pub(crate) fn enter(&self, socket: &Socket, rooms: &BTreeSet<String>) -> Slot {
        let resident = Resident {
            conn: socket.conn().clone(),
            socket: socket.0.clone(),
        };
        let mut all = self.rooms_mut();
        let slot = all.insert(socket.id(), resident);
        for room in rooms {
            all.join(slot, room);
        }
        slot
    }

    /// Takes a member out. The rooms that it was in, if there is a disconnect handler to be told.
    pub(crate) fn exit(&self, slot: Slot) -> Vec<String> {
        let mut rooms = self.rooms_mut();
        let left = match self.handlers.disconnect {
            Some(_) => rooms.rooms_of(slot).map(str::to_owned).collect(),
            None => Vec::new(),
        };
        let resident = rooms.remove(slot);
        drop(rooms);
        // After the lock: its end may run code of its own.
        drop(resident);
        left
    }

    pub(crate) fn holds(&self, socket: &Socket) -> bool {
        self.rooms()
            .by_id(socket.id())
            .is_some_and(|resident| Arc::ptr_eq(&resident.socket, &socket.0))
    }

    /// A message as its members here get it.
    fn encode(&self, message: &Message) -> Result<Arc<Outgoing>, EmitError> {
        let kind = if message.flags.volatile {
            Kind::Volatile
        } else {
            Kind::Reliable
        };
        let spare = self.handlers.slow_readers.spares(&self.name, &message.args);
        let outgoing = Outgoing::event(&self.name, None, &message.args, kind, spare)?;
        Ok(outgoing)
    }

    /// Sends it to the members here.
    fn fan_out(&self, message: &Message, outgoing: &Arc<Outgoing>) {
        let mut sent = 0;
        self.rooms()
            .select(&message.rooms, &message.except, |resident| {
                sent += u64::from(resident.conn.push(outgoing.clone()));
            });
        self.counters.events_sent.fetch_add(sent, Relaxed);
    }

    /// Delivers a message in the node's one order.
    pub(crate) fn deliver_in_order(&self, message: Message, from_self: bool) {
        self.submit(Delivery::Message { message, from_self });
    }

    fn submit(&self, delivery: Delivery) {
        let left = self
            .line
            .submit(delivery, |delivery| self.deliver_next(delivery));
        if left.is_err() {
            self.counters.refuse(Refusal::Congestion);
            tracing::error!(
                nsp = &*self.name,
                "deliveries pile up; a message is lost on this node"
            );
        }
    }

    /// The broker has not taken a message. Its own statistics say why.
    pub(crate) fn refused(&self, refused: Refused) {
        if let Some(message) = refused.ordered {
            self.deliver_in_order(message, true);
        }
    }

    fn deliver_next(&self, delivery: Delivery) {
        match delivery {
            Delivery::Message { message, from_self } => self.deliver(&message, from_self),
            Delivery::Request(space, request) => space.carry_out(*request),
        }
    }

    fn deliver(&self, message: &Message, from_self: bool) {
        let extension = message.extension.as_ref().filter(|e| e.ordered);
        if let Some(extension) = extension
            && let (Some(on_note), Some(bytes)) = (&self.handlers.on_note, &extension.note)
        {
            let note = Note {
                revision: extension.revision,
                bytes: bytes.clone(),
                from_self,
            };
            let decision = guarded(&self.counters, "a note's handler", || on_note(&note));
            if decision != Some(Decision::Deliver) {
                return;
            }
        }
        match self.encode(message) {
            Ok(outgoing) => self.fan_out(message, &outgoing),
            // Somebody else's message, such as one with too many attachments.
            Err(_) => self.counters.refuse(Refusal::Bus),
        }
    }

    pub(crate) fn hold<R>(&self, f: impl FnOnce() -> R) -> R {
        self.line.hold(f, |delivery| self.deliver_next(delivery))
    }

    /// A message from the bus.
    pub(crate) fn receive(self: &Arc<Self>, channel: &str, payload: &[u8]) {
        let Some(port) = &self.port else { return };
        let has_room = |room: &str| self.rooms().has_room(room);
        match port.receive(channel, payload, &has_room, &self.counters) {
            (Received::Deliver(message), from_self) => self.deliver_in_order(message, from_self),
            (Received::Request(asked), _) => self.submit(Delivery::Request(self.clone(), asked)),
            (Received::Answer, true) => self.recount(),
            (Received::Undecodable(error), _) => self.ignore(&error, payload),
            (Received::Refused(error), _) => self.ignore(&error, payload),
            _ => {}
        }
    }

    fn ignore(&self, error: &dyn std::fmt::Display, payload: &[u8]) {
        self.counters.refuse(Refusal::Bus);
        tracing::debug!(nsp = &*self.name, %error, bytes = payload.len(), "ignoring a message that cannot be decoded");
    }

    /// Delivers what did not come back in time.
    pub(crate) fn deliver_overdue(&self) {
        let Some(port) = &self.port else { return };
        for expired in port.overdue() {
            self.counters.echoes_missed.fetch_add(1, Relaxed);
            if let Some(message) = expired.broadcast {
                self.deliver_in_order(message, true);
            }
        }
    }

    /// Sends a message local first: to the members here at once, to the other nodes by the bus. Publishing comes first because it can
    /// fail before anybody has got anything; it never waits.
    pub(crate) fn emit(&self, mut message: Message) -> Result<(), EmitError> {
        let outgoing = self.encode(&message)?;
        if let Some(port) = self.port.as_ref().filter(|_| !message.flags.local) {
            let published = port.publish(&mut message, |refused| self.refused(refused));
            published.map_err(|e| EmitError::Cluster(e.to_string()))?;
        }
        self.fan_out(&message, &outgoing);
        Ok(())
    }

    /// Sends a message in everybody's one order: here too it is delivered when it comes back from the bus.
    pub(crate) fn emit_ordered(&self, mut message: Message) -> Result<(), EmitError> {
        // Refused here rather than on the way back.
        self.encode(&message)?;
        message.extension.get_or_insert_default().ordered = true;
        let refused = |refused| self.refused(refused);
        let published = match self.port.as_ref().filter(|_| !message.flags.local) {
            Some(port) if port.state().is_up() => port.publish_ordered(message, refused),
            Some(port) => {
                // Kept for the others, should the link come back soon.
                let published = port.publish(&mut message, refused);
                if published.is_ok() {
                    self.deliver_in_order(message, true);
                }
                published
            }
            None => {
                self.deliver_in_order(message, true);
                Ok(())
            }
        };
        published.map_err(|e| EmitError::Cluster(e.to_string()))
    }
}

impl Space {
    /// The namespace's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Sockets in the namespace on this node.
    pub fn local_len(&self) -> usize {
        self.0.rooms().len()
    }

    /// Rooms with a member or a watcher on this node; the room of each socket's own id is not counted.
    pub fn local_room_count(&self) -> usize {
        self.0.rooms().room_count()
    }

    /// The socket of this id, if it is on this node.
    pub fn local_socket(&self, id: &str) -> Option<Socket> {
        self.0
            .rooms()
            .by_id(id)
            .map(|resident| Socket(resident.socket.clone()))
    }

    /// The ids of the members of `room` on this node.
    pub fn local_members(&self, room: &str) -> Vec<String> {
        self.0.rooms().local_sids(room).map(str::to_owned).collect()
    }

    /// A broadcast to everybody in the namespace, on all nodes, to be narrowed down.
    pub fn broadcast(&self) -> Broadcast {
        Broadcast::new(self.clone())
    }

    /// A broadcast to the members of `room`.
    pub fn to(&self, room: &str) -> Broadcast {
        self.broadcast().to(room)
    }

    /// A broadcast to everybody but the members of `room`.
    pub fn except(&self, room: &str) -> Broadcast {
        self.broadcast().except(room)
    }

    /// Emits to everybody in the namespace, on all nodes.
    ///
    /// # Errors
    /// As [`Broadcast::emit`].
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, data: &T) -> Result<(), EmitError> {
        self.broadcast().emit(event, data)
    }

    /// Receives what is sent to `room` although nobody here is in it, so that its notes are seen. Counted: undo with
    /// [`unwatch`](Self::unwatch).
    pub fn watch(&self, room: &str) {
        self.0.rooms_mut().watch(room);
    }

    /// Undoes one [`watch`](Self::watch).
    pub fn unwatch(&self, room: &str) {
        self.0.rooms_mut().unwatch(room);
    }

    /// Runs `f` while nothing from other nodes and nothing ordered is delivered in this namespace: what it reads, joins and emits is
    /// one step in the order of deliveries. `f` must not wait, nor call this again. If it panics, so does this; what has waited is delivered.
    pub fn conduct<R>(&self, f: impl FnOnce() -> R) -> R {
        self.0.hold(f)
    }

    /// Prepares an ordered broadcast that tells of a commit: the revision, decided by the store, is appended to `data` (a struct or
    /// a map) under the key `revision`. `rooms` empty means everybody.
    ///
    /// ```
    /// # fn commit() -> Option<u32> { Some(7) }
    /// # fn change(space: unisono::Space) -> Result<(), unisono::EmitError> {
    /// let data = std::collections::HashMap::from([("controller", "ada")]);
    /// let prepared = space.prepare(&["session-1"], "controller-changed", &data, None)?;
    /// // The store checks, writes and counts; then all nodes hear of it in the order of the bus.
    /// if let Some(revision) = commit() {
    ///     prepared.publish(revision);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `data` is not a map, or the event cannot be encoded.
    pub fn prepare<T: Serialize + ?Sized>(
        &self,
        rooms: &[&str],
        event: &str,
        data: &T,
        note: Option<Bytes>,
    ) -> Result<Prepared, EmitError> {
        Prepared::new(self.clone(), rooms, event, data, note)
    }

    /// How the link to the other nodes is; [`LinkState::Local`] without a broker.
    pub fn link_state(&self) -> LinkState {
        self.0.port.as_ref().map_or(LinkState::Local, Port::state)
    }
}
