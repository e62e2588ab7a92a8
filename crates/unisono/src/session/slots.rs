//! The sockets of one connection, and their handlers at work.
//!
//! One socket's events are handled one after another, in the order they arrived. Another namespace of the same connection has its
//! own line. A socket whose line is long makes the connection stop reading, and TCP passes that on to the client.

use std::sync::Weak;
use std::task::Context;

use unisono_proto::Value;
use unisono_proto::connection::CloseReason;

use super::line::{Line, MAX_WAITING_BYTES};
use super::plain::Plain;
use crate::engine::Message;
use crate::event;
use crate::extract::ArgumentError;
use crate::handler::{BoxFuture, Call};
use crate::socket::{Socket, SocketInner};
use crate::stats::Counters;

/// Sockets whose disconnect handlers still run; beyond it the connection stops reading, so that joining and leaving in a loop
/// cannot pile them up.
const MAX_DEPARTING: usize = 16;

#[derive(Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    departing: usize,
    /// Of events that wait.
    bytes: usize,
    /// Instead of sockets, if the session is one of plain Engine.IO.
    plain: Option<Box<Plain>>,
}

struct Slot {
    socket: Socket,
    /// The membership's number while the client is in the namespace.
    member: Option<usize>,
    line: Line<Work>,
}

enum Work {
    Connected,
    Event(Event),
    Disconnected {
        reason: CloseReason,
        left_rooms: Vec<String>,
    },
}

/// An event that has arrived.
pub(crate) struct Event {
    pub(crate) args: Vec<Value>,
    pub(crate) id: Option<u64>,
    /// What it was on the wire or is in memory, whichever is more.
    pub(crate) bytes: usize,
}

impl Slots {
    /// Those of a session of plain Engine.IO: one line, and no namespaces.
    pub(crate) fn plain(plain: Plain) -> Self {
        Self {
            plain: Some(Box::new(plain)),
            ..Self::default()
        }
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.plain.is_some()
    }

    /// A message of a session of plain Engine.IO.
    pub(crate) fn message(&mut self, message: Message) {
        if let Some(plain) = &mut self.plain {
            self.bytes += message.len();
            plain.message(message);
        }
    }

    pub(crate) fn join(&mut self, member: usize, socket: Socket) {
        self.slots.reserve_exact(1);
        self.slots.push(Slot {
            socket,
            member: Some(member),
            line: Line::of(Work::Connected),
        });
    }

    pub(crate) fn event(&mut self, member: usize, event: Event) {
        let bytes = event.bytes;
        if let Some(slot) = self.find(member) {
            slot.line.push(Work::Event(event));
            self.bytes += bytes;
        }
    }

    pub(crate) fn ack(&mut self, member: usize, id: u64, args: Vec<Value>, bytes: usize) {
        if let Some(slot) = self.find(member) {
            slot.socket.resolve_ack(id, args, bytes);
        }
    }

    /// Takes the socket out of its namespace at once, and runs its disconnect handler behind the events that came before. Those that wait
    /// are dropped if the application has ended it, as Node does.
    pub(crate) fn leave(&mut self, member: usize, reason: CloseReason) {
        let Some(slot) = self.find(member) else {
            return;
        };
        slot.member = None;
        let left_rooms = slot.socket.detach(reason);
        let mut dropped = 0;
        if reason == CloseReason::ServerNamespaceDisconnect {
            slot.line.retain(|work| match work {
                Work::Event(event) => {
                    dropped += event.bytes;
                    false
                }
                Work::Connected | Work::Disconnected { .. } => true,
            });
        }
        slot.line.push(Work::Disconnected { reason, left_rooms });
        self.bytes -= dropped;
        self.departing += 1;
    }

    /// The membership and namespace of a socket that is still in.
    pub(crate) fn member_of(&self, socket: &Weak<SocketInner>) -> Option<(usize, String)> {
        let slot = self.slots.iter().find(|slot| slot.socket.is(socket))?;
        Some((slot.member?, slot.socket.namespace().to_owned()))
    }

    /// Every membership, with its namespace.
    pub(crate) fn members(&self) -> Vec<(usize, String)> {
        let members = self.slots.iter().filter_map(|slot| {
            let nsp = slot.socket.namespace().to_owned();
            Some((slot.member?, nsp))
        });
        members.collect()
    }

    pub(crate) fn leave_all(&mut self, reason: CloseReason) {
        for index in 0..self.slots.len() {
            if let Some(member) = self.slots[index].member {
                self.leave(member, reason);
            }
        }
        if let Some(plain) = &mut self.plain {
            plain.close(reason);
        }
    }

    /// Whether the connection must stop reading until handlers have caught up.
    pub(crate) fn is_full(&self) -> bool {
        self.departing >= MAX_DEPARTING
            || self.bytes >= MAX_WAITING_BYTES
            || self.slots.iter().any(|slot| slot.line.is_full())
            || self.plain.as_ref().is_some_and(|plain| plain.is_full())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.plain.as_ref().is_none_or(|plain| plain.is_done())
    }

    /// Runs handlers as far as they go without waiting.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, counters: &Counters) {
        if let Some(plain) = &mut self.plain {
            self.bytes -= plain.poll(cx, counters);
        }
        let mut index = 0;
        while index < self.slots.len() {
            let slot = &mut self.slots[index];
            // Every delivery comes past here, nearly always with nothing to run.
            if !slot.line.is_empty() {
                self.bytes -= slot.poll(cx, counters);
            }
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
        self.member.is_none() && self.line.is_empty()
    }

    /// Runs the handlers; the bytes of the events that no longer wait.
    fn poll(&mut self, cx: &mut Context<'_>, counters: &Counters) -> usize {
        let mut bytes = 0;
        let socket = &self.socket;
        self.line.poll(
            cx,
            counters,
            || socket.log_id(),
            |work| {
                if let Work::Event(event) = &work {
                    bytes += event.bytes;
                    if socket.is_ended() {
                        return None;
                    }
                }
                start(socket, work)
            },
        );
        bytes
    }
}

fn start(socket: &Socket, work: Work) -> Option<BoxFuture> {
    let handlers = &socket.space().handlers;
    let fits = |started: Option<Result<BoxFuture, ArgumentError>>| match started? {
        Ok(future) => Some(future),
        Err(error) => handlers.does_not_fit(socket, &error),
    };
    match work {
        Work::Connected => fits(
            handlers
                .connect
                .as_ref()
                .map(|h| h.call(Call::plain(socket))),
        ),
        Work::Event(Event { args, id, .. }) => handlers.handle(socket, event::Event { args }, id),
        Work::Disconnected { reason, left_rooms } => fits(
            handlers
                .disconnect
                .as_ref()
                .map(|h| h.call(Call::disconnect(socket, reason, left_rooms))),
        ),
    }
}
