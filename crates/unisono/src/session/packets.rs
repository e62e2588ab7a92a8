//! What arrives: frames, packets, and what they ask for.

use std::sync::atomic::Ordering::Relaxed;
use std::task::Context;
use std::time::Duration;

use unisono_proto::Value;
use unisono_proto::connection::{CloseReason, Handled};
use unisono_proto::engine::{self, DecodeError, Revision, v3};
use unisono_proto::socket::Packet;
use unisono_proto::value::memory_bytes;
use unisono_proto::ws::{self, Event};

use super::{Phase, Session, Wire, slots};
use crate::conn::Leave;
use crate::engine::Message;
use crate::error::ConnectError;
use crate::middleware::Refused;
use crate::outgoing::Outgoing;
use crate::socket::Socket;
use crate::stats::Refusal;

impl Session {
    /// Decodes what was read. How much of it the handlers have no room for: the last so many bytes are not decoded.
    pub(super) fn decode(&mut self, bytes: &mut [u8]) -> usize {
        let mut input = bytes;
        while self.phase == Phase::Open {
            if self.slots.is_full() {
                self.hold_back();
                return input.len();
            }
            let Wire::WebSocket(socket) = &mut self.wire else {
                return 0;
            };
            match socket.decoder.next(&mut input) {
                Ok(None) => return 0,
                Ok(Some(event)) => self.handle_frame(event),
                Err(error) => {
                    let refusal = match error {
                        ws::Error::TooBig => Refusal::TooLarge,
                        _ => Refusal::Frame,
                    };
                    self.server.counters.refuse(refusal);
                    let last = Outgoing::close_frame(Some(error.close_code()));
                    self.end_with(CloseReason::TransportError, Some(last));
                }
            }
        }
        0
    }

    fn handle_frame(&mut self, event: Event<'_>) {
        if !self.admit_packet() {
            return;
        }
        match event {
            Event::Text(text) => self.handle_decoded(match self.conn.dialect.revision {
                Revision::V3 => v3::decode(&text),
                Revision::V4 => engine::decode(&text),
            }),
            Event::Binary(bytes) => self.handle_decoded(match self.conn.dialect.revision {
                Revision::V3 => v3::decode_binary(bytes),
                Revision::V4 => Ok(engine::Packet::Binary(bytes)),
            }),
            Event::Ping(payload) => {
                self.conn.push(Outgoing::pong(&payload));
            }
            Event::Pong(_) => {}
            Event::Close(code) => {
                let last = Outgoing::close_frame(code);
                self.end_with(CloseReason::TransportClose, Some(last));
            }
        }
    }

    pub(super) fn handle_decoded(&mut self, packet: Result<engine::Packet<'_>, DecodeError>) {
        match packet {
            Ok(packet) => self.handle_packet(packet),
            Err(_) => self.refuse_packet(CloseReason::ParseError),
        }
    }

    fn handle_packet(&mut self, packet: engine::Packet<'_>) {
        if self.slots.is_plain() {
            match packet {
                engine::Packet::Message(text) => return self.pass_on(text.into_owned().into()),
                engine::Packet::Binary(bytes) => return self.pass_on(bytes.into_owned().into()),
                // The rest is Engine.IO's own, and means the same whatever is above it.
                _ => {}
            }
        }
        let len = match &packet {
            engine::Packet::Message(text) => text.len(),
            engine::Packet::Binary(bytes) => bytes.len(),
            _ => 0,
        };
        let bytes = len + self.machine.pending_bytes();
        match self.machine.handle_packet(packet, self.server.now_ms()) {
            Ok(handled) => self.apply(handled, bytes),
            Err(reason) => self.refuse_packet(reason),
        }
    }

    /// A message for the handler of a session of plain Engine.IO.
    fn pass_on(&mut self, message: Message) {
        self.machine.handle_traffic(self.server.now_ms());
        self.server.counters.events_received.fetch_add(1, Relaxed);
        self.slots.message(message);
    }

    pub(super) fn refuse_packet(&mut self, reason: CloseReason) {
        self.server.counters.refuse(Refusal::Packet);
        self.end(reason);
    }

    pub(super) fn apply(&mut self, handled: Handled, bytes: usize) {
        match handled {
            Handled::Nothing => {}
            Handled::Connect { nsp, auth, again } => {
                if again {
                    self.forget(&nsp);
                }
                self.connect(&nsp, auth);
            }
            Handled::Event { member, id, args } => {
                self.server.counters.events_received.fetch_add(1, Relaxed);
                let bytes = bytes.max(memory_bytes(&args));
                self.slots.event(member, slots::Event { args, id, bytes });
            }
            Handled::Ack { member, id, args } => {
                let bytes = bytes.max(memory_bytes(&args));
                self.slots.ack(member, id, args, bytes);
            }
            Handled::Leave { member } => self
                .slots
                .leave(member, CloseReason::ClientNamespaceDisconnect),
            Handled::Ping { data } => self.pong(&data),
            Handled::Close => {
                self.end_with(
                    CloseReason::TransportClose,
                    Some(Outgoing::close_frame(None)),
                );
            }
        }
    }

    /// Answers the ping of an Engine.IO 3 client.
    pub(super) fn pong(&self, data: &str) {
        self.conn.push(match data {
            "" => self.server.pong.clone(),
            data => Outgoing::control(&engine::Packet::Pong(data.into())),
        });
    }

    /// The client begins anew in this namespace, and has not heard of its first attempt.
    fn forget(&mut self, nsp: &str) {
        drop(self.connecting.remove_from(nsp));
        if let Some(member) = self.machine.find(nsp) {
            let reason = CloseReason::ClientNamespaceDisconnect;
            self.slots.leave(member, reason);
        }
    }

    fn connect(&mut self, nsp: &str, auth: Option<Value>) {
        let auth = auth.unwrap_or(Value::Null);
        let space = match self.server.find(nsp, &self.conn.handshake, &auth) {
            Ok(space) => space,
            Err(refused) => return self.refuse_client(nsp, refused),
        };
        let waits = !space.handlers.middleware.is_empty();
        let socket = Socket::new(space, self.conn.clone(), auth);
        if waits {
            self.connecting.push(socket);
        } else {
            self.let_in(socket);
        }
    }

    /// Runs the middleware of the clients that want to join.
    pub(super) fn poll_connecting(&mut self, cx: &mut Context<'_>) {
        if self.connecting.is_empty() {
            return;
        }
        let limit = Duration::from_millis(self.server.config.connection.connect_timeout_ms);
        for (socket, outcome) in self.connecting.poll(cx, limit) {
            match outcome {
                Ok(()) => self.let_in(socket),
                Err(refused) => self.refuse_client(socket.namespace(), refused),
            }
        }
    }

    fn let_in(&mut self, socket: Socket) {
        if let Err(refused) = socket.space().open() {
            return self.refuse_client(socket.namespace(), refused);
        }
        if let Some(member) = self.machine.accept(socket.namespace()) {
            socket.enter();
            self.slots.join(member, socket);
            self.fresh = true;
            self.joined();
        }
    }

    /// A namespace was joined, or none ever will be.
    pub(super) fn joined(&mut self) {
        if std::mem::take(&mut self.joining) {
            self.server.counters.joining.fetch_sub(1, Relaxed);
        }
    }

    /// CONNECT_ERROR. The client may ask again.
    fn refuse_client(&mut self, nsp: &str, refused: Refused) {
        self.server.counters.refuse(refused.refusal);
        if let Some(member) = self.machine.find(nsp) {
            self.machine.leave(member);
        }
        let error = refused.error;
        let message = ConnectError::new(error.message.as_str());
        // Byte strings cannot travel in this packet: without them the client still hears that it may not.
        let told = [error, message].into_iter().find_map(|error| {
            let data = match self.conn.dialect.revision {
                // Node has this one the same for all.
                Revision::V3 if refused.refusal != Refusal::Namespace => error.into_v3_value(),
                Revision::V3 | Revision::V4 => error.into_value(),
            };
            let nsp = nsp.to_owned();
            Outgoing::packet(&Packet::ConnectError { nsp, data }).ok()
        });
        if let Some(packet) = told {
            self.conn.push(packet);
        }
    }

    /// The application ends a socket: DISCONNECT, and the connection too if it asked for that.
    pub(super) fn leave(&mut self, leave: &Leave) {
        if let Some((member, nsp)) = self.slots.member_of(&leave.socket) {
            self.dismiss(member, nsp);
        } else if let Some(socket) = self.connecting.remove(&leave.socket) {
            let refused = Refused::new(Refusal::Forbidden, "disconnected by the server");
            self.refuse_client(socket.namespace(), refused);
        }
        if leave.close {
            // Each namespace is told: a stock client in one that only sees the transport end would come back by itself.
            for (member, nsp) in self.slots.members() {
                self.dismiss(member, nsp);
            }
            self.conn.close(CloseReason::ForcedClose);
        }
    }

    fn dismiss(&mut self, member: usize, nsp: String) {
        self.machine.leave(member);
        // Out of its rooms first: DISCONNECT is the last that the client gets of the namespace.
        self.slots
            .leave(member, CloseReason::ServerNamespaceDisconnect);
        if let Ok(packet) = Outgoing::packet(&Packet::Disconnect { nsp }) {
            self.conn.push(packet);
        }
    }
}
