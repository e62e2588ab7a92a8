//! Doing and answering what other nodes ask.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use unisono_cluster::{AnswerBody, Broadcast as Message, Flags, Members, Request, RequestBody};
use unisono_proto::Value;

use super::changing::change_one;
use crate::acks::Sink;
use crate::error::EmitError;
use crate::port::deadline_after;
use crate::socket::Socket;
use crate::space::SpaceInner;
use crate::stats::Refusal;

/// Things of one kind that are under way for other nodes in a namespace: broadcasts that wait for their clients, or handlers. Each holds
/// memory for as long; more at a time is a node that asks in a loop.
const MAX_SERVICES: usize = 256;

/// How long clients are waited for, or a handler may take, on behalf of another node, whatever it asks for: it may have died meanwhile.
pub(super) const MAX_SERVICE: Duration = Duration::from_secs(120);

/// What is under way for other nodes in a namespace. One kind takes no places of another.
#[derive(Default)]
pub(crate) struct Serving {
    acks: AtomicUsize,
    handlers: AtomicUsize,
}

/// Something that is done for another node and takes time.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Clients are waited for.
    Acks,
    /// A handler of a server-side event runs.
    Handler,
}

impl Serving {
    fn of(&self, kind: Kind) -> &AtomicUsize {
        match kind {
            Kind::Acks => &self.acks,
            Kind::Handler => &self.handlers,
        }
    }
}

/// A place among the things that are done for other nodes.
pub(super) struct Service(Arc<SpaceInner>, Kind);

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.counters.refuse(Refusal::Panic);
        }
        self.0.serving.of(self.1).fetch_sub(1, Relaxed);
    }
}

impl SpaceInner {
    /// Takes a place; `None` if there are too many of the kind, which is counted.
    pub(super) fn begin_service(self: &Arc<Self>, kind: Kind) -> Option<Service> {
        let serving = self.serving.of(kind);
        if serving.fetch_add(1, Relaxed) >= MAX_SERVICES {
            serving.fetch_sub(1, Relaxed);
            self.counters.refuse(Refusal::Congestion);
            return None;
        }
        Some(Service(self.clone(), kind))
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
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

    /// Sends an event to the members here and passes their acknowledgements on, as they come. Where too many are waited for already the
    /// event is delivered all the same, and whoever asks hears of how many it misses.
    fn serve_broadcast(self: &Arc<Self>, uid: &str, id: &str, message: Message) {
        let service = self.begin_service(Kind::Acks);
        let timeout = message.flags.timeout_ms.map(Duration::from_millis);
        let own = || self.port.as_ref().map(|port| port.bus.requests.timeout);
        let timeout = timeout.or_else(own).unwrap_or_default().min(MAX_SERVICE);
        let is_sharded = self.port.as_ref().is_some_and(|port| port.is_sharded());
        let message = Message {
            flags: Flags {
                // As for Node's, whoever is asked gets it in the classic adapter.
                volatile: message.flags.volatile && is_sharded,
                ..Flags::default()
            },
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
        // Dropped, no client is waited for.
        if let Some(service) = service.filter(|_| asked.count() > 0) {
            let deadline = deadline_after(timeout);
            self.spawn(async move {
                let _service = service;
                asked.answers(deadline).await;
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
}
