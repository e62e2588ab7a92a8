//! Doing and answering what other nodes ask.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use unisono_cluster::{
    AnswerBody, Broadcast as Message, Change, Flags, Members, Request, RequestBody,
};
use unisono_proto::Value;

use super::RemoteSocket;
use crate::acks::Sink;
use crate::error::EmitError;
use crate::socket::Socket;
use crate::space::SpaceInner;
use crate::stats::Refusal;

/// Broadcasts and handlers for other nodes under way in a namespace: each holds memory until clients have answered. More at a time is a
/// node that asks in a loop.
const MAX_SERVICES: usize = 256;

/// How long clients are waited for on behalf of another node, whatever it asks for: it may have died meanwhile.
const MAX_ACK_WAIT: Duration = Duration::from_secs(120);

/// Sockets that are described in less than a millisecond.
const FEW_SOCKETS: usize = 64;

/// Something that is done for another node and takes time.
pub(super) struct Service(Arc<SpaceInner>);

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.counters.refuse(Refusal::Panic);
        }
        self.0.serving.fetch_sub(1, Relaxed);
    }
}

impl SpaceInner {
    /// Takes a place among the things that are done for other nodes; `None` if they are too many, which is counted.
    pub(super) fn begin_service(self: &Arc<Self>) -> Option<Service> {
        if self.serving.fetch_add(1, Relaxed) >= MAX_SERVICES {
            self.serving.fetch_sub(1, Relaxed);
            self.counters.refuse(Refusal::Congestion);
            return None;
        }
        Some(Service(self.clone()))
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(port) = &self.port {
            port.bus.runtime.spawn(task);
        }
    }

    /// What another node asks. Called in the order of the bus.
    pub(crate) fn carry_out(self: &Arc<Self>, request: Request) {
        let Request { uid, id, body } = request;
        let answer = match body {
            RequestBody::Sockets { rooms } => {
                let members = Members {
                    rooms,
                    ..Members::default()
                };
                let sockets = self.members(&members);
                AnswerBody::Sockets(sockets.iter().map(|socket| socket.id().into()).collect())
            }
            RequestBody::AllRooms => AnswerBody::Rooms(self.occupied_rooms()),
            RequestBody::Fetch { members } => {
                if let Some(id) = id {
                    self.serve_fetch(uid, id, self.members(&members));
                }
                return;
            }
            RequestBody::One { sid, change } => {
                let Some(socket) = self.rooms().by_id(&sid).map(|r| Socket(r.socket.clone()))
                else {
                    return;
                };
                change_one(&socket, &change);
                AnswerBody::Done
            }
            RequestBody::Join { members, rooms } => {
                return drop(self.join_members(&members, &rooms));
            }
            RequestBody::Leave { members, rooms } => return self.leave_members(&members, &rooms),
            RequestBody::Disconnect { members, close } => {
                return self.disconnect_members(&members, close);
            }
            RequestBody::ServerSideEmit { args } => {
                return self.serve_server_side(args, id.map(|id| (uid, id)));
            }
            RequestBody::Broadcast(message) => {
                if let Some(id) = id {
                    self.serve_broadcast(&uid, &id, message);
                }
                return;
            }
        };
        if let Some(id) = id {
            // An error is counted there; whoever asks misses this node.
            let _ = self.answer(&uid, &id, answer);
        }
    }

    pub(super) fn answer(&self, uid: &str, id: &str, body: AnswerBody) -> Result<(), EmitError> {
        let Some(port) = &self.port else {
            return Ok(());
        };
        port.answer(uid, id, body).map_err(|error| {
            self.counters.refuse(Refusal::TooLarge);
            tracing::debug!(nsp = &*self.name, %error, "a request of another node cannot be answered");
            EmitError::Cluster(error.to_string())
        })
    }

    /// Describes sockets: elsewhere where it takes time, because whoever calls holds up every message behind this one.
    fn serve_fetch(self: &Arc<Self>, uid: String, id: String, sockets: Vec<Socket>) {
        let describe = |sockets: &[Socket]| {
            let sockets = RemoteSocket::local(sockets).map(RemoteSocket::into_value);
            AnswerBody::Sockets(sockets.collect())
        };
        if sockets.len() <= FEW_SOCKETS {
            // An error is counted there; whoever asks misses this node.
            let _ = self.answer(&uid, &id, describe(&sockets));
            return;
        }
        let (Some(service), Some(port)) = (self.begin_service(), &self.port) else {
            return;
        };
        port.bus.runtime.spawn_blocking(move || {
            let _ = service.0.answer(&uid, &id, describe(&sockets));
        });
    }

    /// Sends an event to the members here and passes their acknowledgements on, as they come.
    fn serve_broadcast(self: &Arc<Self>, uid: &str, id: &str, message: Message) {
        let Some(service) = self.begin_service() else {
            return;
        };
        let timeout = message.flags.timeout_ms.map(Duration::from_millis);
        let own = || self.port.as_ref().map(|port| port.bus.requests.timeout);
        let timeout = timeout.or_else(own).unwrap_or_default().min(MAX_ACK_WAIT);
        let message = Message {
            // As for Node's, whoever is asked gets it.
            flags: Flags::default(),
            ..message
        };
        let (space, asker, request) = (Arc::downgrade(self), uid.to_owned(), id.to_owned());
        let sink = Sink::new(move |args: Vec<Value>| {
            if let Some(space) = space.upgrade() {
                // Only the first argument travels.
                let ack = AnswerBody::Ack(args.into_iter().next());
                let _ = space.answer(&asker, &request, ack);
            }
        });
        let asked = match self.ask(&message, Some(sink)) {
            Ok(asked) => asked,
            Err(error) => {
                self.counters.refuse(Refusal::Bus);
                tracing::debug!(nsp = &*self.name, %error, "ignoring a broadcast that cannot be delivered");
                return;
            }
        };
        let count = AnswerBody::ClientCount(asked.count() as u64);
        let _ = self.answer(uid, id, count);
        if asked.count() > 0 {
            self.spawn(async move {
                let _service = service;
                asked.answers(timeout).await;
            });
        }
    }

    /// The sockets here.
    pub(crate) fn members(&self, members: &Members) -> Vec<Socket> {
        let mut sockets = Vec::new();
        self.rooms()
            .select(&members.rooms, &members.except, |resident| {
                sockets.push(Socket(resident.socket.clone()));
            });
        sockets
    }

    pub(crate) fn join_members(
        &self,
        members: &Members,
        rooms: &[String],
    ) -> Result<(), EmitError> {
        let mut all = Ok(());
        for socket in self.members(members) {
            if let Err(error) = socket.join_all(rooms) {
                all = Err(error.into());
            }
        }
        all
    }

    pub(crate) fn leave_members(&self, members: &Members, rooms: &[String]) {
        for socket in self.members(members) {
            rooms.iter().for_each(|room| socket.leave(room));
        }
    }

    pub(crate) fn disconnect_members(&self, members: &Members, close: bool) {
        for socket in self.members(members) {
            end(&socket, close);
        }
    }
}

fn change_one(socket: &Socket, change: &Change) {
    match change {
        // A refusal is counted there.
        Change::Join(room) => drop(socket.join(room)),
        Change::Leave(room) => socket.leave(room),
        Change::Disconnect(close) => end(socket, *close),
    }
}

fn end(socket: &Socket, close: bool) {
    match close {
        true => socket.disconnect_and_close(),
        false => socket.disconnect(),
    }
}
