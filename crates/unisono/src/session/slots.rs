//! The sockets of one connection, and their handlers at work.
//!
//! One socket's events are handled one after another, in the order they arrived. Another namespace of the same connection has its
//! own line. A socket whose line is long makes the connection stop reading, and TCP passes that on to the client.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use unisono_proto::Value;
use unisono_proto::connection::CloseReason;
use unisono_proto::engine::Sid;

use crate::event;
use crate::extract::ArgumentError;
use crate::handler::{BoxFuture, Call};
use crate::socket::Socket;
use crate::stats::{Counters, Refusal};

/// Events of one socket that wait for its handler before the connection stops reading: a burst passes, a flood does not.
const MAX_WAITING: usize = 64;

/// Bytes of events that wait, over all sockets of the connection. A single event of any size may wait.
const MAX_WAITING_BYTES: usize = 1 << 20;

/// Sockets whose disconnect handlers still run; beyond it the connection stops reading, so that joining and leaving in a loop
/// cannot pile them up.
const MAX_DEPARTING: usize = 16;

#[derive(Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    departing: usize,
    /// Of events that wait.
    bytes: usize,
}

struct Slot {
    socket: Socket,
    /// The membership's number while the client is in the namespace.
    member: Option<usize>,
    waiting: VecDeque<Work>,
    running: Option<BoxFuture>,
}

enum Work {
    Connected,
    Event(Event),
    Disconnected(CloseReason),
}

/// An event that has arrived.
pub(crate) struct Event {
    pub(crate) args: Vec<Value>,
    pub(crate) id: Option<u64>,
    /// What it was on the wire.
    pub(crate) bytes: usize,
}

impl Slots {
    pub(crate) fn join(&mut self, member: usize, socket: Socket) {
        self.slots.reserve_exact(1);
        let waiting = VecDeque::from([Work::Connected]);
        self.slots.push(Slot {
            socket,
            member: Some(member),
            waiting,
            running: None,
        });
    }

    pub(crate) fn event(&mut self, member: usize, event: Event) {
        let bytes = event.bytes;
        if let Some(slot) = self.find(member) {
            slot.waiting.push_back(Work::Event(event));
            self.bytes += bytes;
        }
    }

    pub(crate) fn ack(&mut self, member: usize, id: u64, args: Vec<Value>, bytes: usize) {
        if let Some(slot) = self.find(member) {
            slot.socket.resolve_ack(id, args, bytes);
        }
    }

    /// Takes the socket out of its namespace at once, and runs its disconnect handler behind the events that came before.
    pub(crate) fn leave(&mut self, member: usize, reason: CloseReason) {
        if let Some(slot) = self.find(member) {
            slot.member = None;
            slot.socket.detach(reason);
            slot.waiting.push_back(Work::Disconnected(reason));
            self.departing += 1;
        }
    }

    /// The membership and namespace of a socket that is still in.
    pub(crate) fn member_of(&self, id: Sid) -> Option<(usize, String)> {
        let slot = self.slots.iter().find(|slot| slot.socket.sid() == id)?;
        Some((slot.member?, slot.socket.namespace().to_owned()))
    }

    pub(crate) fn leave_all(&mut self, reason: CloseReason) {
        let members: Vec<usize> = self.slots.iter().filter_map(|slot| slot.member).collect();
        for member in members {
            self.leave(member, reason);
        }
    }

    /// Whether the connection must stop reading until handlers have caught up.
    pub(crate) fn is_full(&self) -> bool {
        self.departing >= MAX_DEPARTING
            || self.bytes >= MAX_WAITING_BYTES
            || self
                .slots
                .iter()
                .any(|slot| slot.waiting.len() >= MAX_WAITING)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Runs handlers as far as they go without waiting.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, counters: &Counters) {
        let mut index = 0;
        while index < self.slots.len() {
            let slot = &mut self.slots[index];
            self.bytes -= slot.poll(cx, counters);
            if slot.is_done() {
                self.slots.swap_remove(index);
                self.departing -= 1;
            } else {
                index += 1;
            }
        }
    }

    fn find(&mut self, member: usize) -> Option<&mut Slot> {
        self.slots
            .iter_mut()
            .find(|slot| slot.member == Some(member))
    }
}

impl Slot {
    fn is_done(&self) -> bool {
        self.member.is_none() && self.running.is_none() && self.waiting.is_empty()
    }

    /// Runs the handlers; the bytes of the events that no longer wait.
    fn poll(&mut self, cx: &mut Context<'_>, counters: &Counters) -> usize {
        let mut bytes = 0;
        loop {
            if let Some(future) = &mut self.running {
                // The handler is dropped after a panic, so nobody sees what it left half done but its own captures.
                match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                    Ok(Poll::Pending) => return bytes,
                    Ok(Poll::Ready(())) => {}
                    Err(_) => {
                        counters.refuse(Refusal::Panic);
                        tracing::error!(
                            socket = self.socket.id(),
                            "a handler panicked; its event is lost, the socket stays"
                        );
                    }
                }
                self.running = None;
            }
            let Some(work) = self.waiting.pop_front() else {
                if self.waiting.capacity() > 4 {
                    self.waiting = VecDeque::new();
                }
                return bytes;
            };
            if let Work::Event(event) = &work {
                bytes += event.bytes;
            }
            self.running = self.start(work, counters);
        }
    }

    fn start(&self, work: Work, counters: &Counters) -> Option<BoxFuture> {
        let handlers = &self.socket.space().handlers;
        let fits = |started: Option<Result<BoxFuture, ArgumentError>>| match started? {
            Ok(future) => Some(future),
            Err(error) => handlers.does_not_fit(&self.socket, &error),
        };
        let started = catch_unwind(AssertUnwindSafe(|| match work {
            Work::Connected => fits(
                handlers
                    .connect
                    .as_ref()
                    .map(|h| h.call(Call::plain(&self.socket))),
            ),
            Work::Event(Event { args, id, .. }) => {
                handlers.handle(&self.socket, event::Event { args }, id)
            }
            Work::Disconnected(reason) => fits(
                handlers
                    .disconnect
                    .as_ref()
                    .map(|h| h.call(Call::disconnect(&self.socket, reason))),
            ),
        }));
        started.unwrap_or_else(|_| {
            counters.refuse(Refusal::Panic);
            None
        })
    }
}
