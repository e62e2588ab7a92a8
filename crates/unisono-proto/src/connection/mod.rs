//! The server's side of one Engine.IO session: what each packet means, and when.
//!
//! A [`Connection`] is told what arrived ([`handle_packet`](Connection::handle_packet),
//! [`handle_timeout`](Connection::handle_timeout)) and what the application decided
//! ([`accept`](Connection::accept), [`leave`](Connection::leave)). It answers with what to do. It owns no socket, no clock and no
//! buffer but the attachments of a half-received packet, so the same machine serves WebSocket and long-polling.
//!
//! Time is milliseconds since any fixed point, as long as every call uses the same one.

mod heartbeat;
mod membership;
mod reason;
mod target;

#[cfg(test)]
mod tests;

use heartbeat::Heartbeat;
use membership::Membership;
pub use reason::CloseReason;

use std::borrow::Cow;

use bytes::Bytes;

use crate::engine::{self, Revision};
use crate::limits::{
    Limits, MAX_IDLE_PONGS, MAX_NAMESPACE_LEN, MAX_NAMESPACE_QUERY, MAX_NAMESPACES, MAX_PAYLOAD,
    MAX_PENDING_PAYLOADS,
};
use crate::socket::{Decoder, Packet};
use crate::value::Value;

/// What one connection may do, and for how long it may stay silent.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Milliseconds between a pong and the next ping (Engine.IO `pingInterval`).
    pub ping_interval_ms: u64,
    /// Milliseconds the client has to answer a ping (Engine.IO `pingTimeout`).
    pub ping_timeout_ms: u64,
    /// Milliseconds a client has to join its first namespace.
    pub connect_timeout_ms: u64,
    /// Largest message in bytes (Engine.IO `maxPayload`).
    pub max_payload: usize,
    /// Bytes of a packet whose attachments have not all arrived.
    pub max_pending: usize,
    /// Namespaces that one connection may have joined or asked for at a time.
    pub max_namespaces: usize,
}

impl Default for Config {
    /// Node's defaults, but 10 s instead of 45 s for the first CONNECT: a session that never joins costs memory for nothing.
    fn default() -> Self {
        Self {
            ping_interval_ms: 25_000,
            ping_timeout_ms: 20_000,
            connect_timeout_ms: 10_000,
            max_payload: MAX_PAYLOAD,
            max_pending: MAX_PENDING_PAYLOADS * MAX_PAYLOAD,
            max_namespaces: MAX_NAMESPACES,
        }
    }
}

/// What a packet asks of the application.
#[derive(Debug, PartialEq)]
pub enum Handled {
    /// Nothing: the machine has dealt with it.
    Nothing,
    /// The client asks to join a namespace. Answer with [`Connection::accept`] or [`Connection::leave`].
    Connect {
        /// The namespace, with its leading slash.
        nsp: String,
        /// The `auth` object of the client, if it sent one.
        auth: Option<Value>,
        /// The client has asked before and was not answered: this is instead. Whoever was asked then is to be forgotten.
        again: bool,
    },
    /// An event for a joined namespace; `args` starts with the event's name.
    Event {
        /// Which membership, as returned by [`Connection::accept`].
        member: usize,
        /// The id to acknowledge with, if the client wants an answer.
        id: Option<u64>,
        /// The event's name, then its arguments.
        args: Vec<Value>,
    },
    /// The client's answer to one of our events.
    Ack {
        /// Which membership.
        member: usize,
        /// The id we sent the event with.
        id: u64,
        /// The answer's arguments.
        args: Vec<Value>,
    },
    /// The client left a namespace.
    Leave {
        /// Which membership; it is free from now on.
        member: usize,
    },
    /// The client, of Engine.IO 3, pings: answer with an Engine.IO PONG.
    Ping {
        /// What the pong must carry; nearly always nothing.
        data: String,
    },
    /// The client ended the session with an Engine.IO CLOSE.
    Close,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Send an Engine.IO PING.
    Ping,
    /// Send an Engine.IO PONG although no ping was read: to a client of Engine.IO 3, while reading is held back.
    Pong,
    /// End the connection for this reason.
    Close(CloseReason),
}

/// The machine. See the module's documentation.
#[derive(Debug)]
pub struct Connection {
    decoder: Decoder,
    heartbeat: Heartbeat,
    /// When the session ends unless a namespace was joined; `None` once one was.
    connect_deadline: Option<u64>,
    memberships: Vec<Membership>,
    max_namespaces: usize,
    max_pending: usize,
    /// Pongs since the last attachment, while more are owed.
    idle_pongs: u8,
}

impl Connection {
    /// A session that has just opened, in this revision of Engine.IO.
    pub fn new(config: &Config, revision: Revision, now: u64) -> Self {
        let mut limits = Limits::default();
        if revision == Revision::V3 {
            limits.max_namespace_len += MAX_NAMESPACE_QUERY as u16;
        }
        let (interval_ms, timeout_ms) = (config.ping_interval_ms, config.ping_timeout_ms);
        Self {
            decoder: Decoder::new(limits),
            heartbeat: Heartbeat::new(revision, interval_ms, timeout_ms, now),
            connect_deadline: Some(now.saturating_add(config.connect_timeout_ms)),
            memberships: Vec::new(),
            max_namespaces: config.max_namespaces,
            max_pending: config.max_pending,
            idle_pongs: 0,
        }
    }

    /// What a new session asks for without a word: in Engine.IO 3 a client is to be let into the main namespace at once, which stands in
    /// the answer as if it had sent CONNECT.
    pub fn handle_opened(&mut self) -> Handled {
        let nsp = "/".to_owned();
        if self.revision() == Revision::V4 || self.request(&nsp) != Ok(false) {
            return Handled::Nothing;
        }
        Handled::Connect {
            nsp,
            auth: None,
            again: false,
        }
    }

    /// The revision of Engine.IO that the client speaks.
    pub fn revision(&self) -> Revision {
        self.heartbeat.revision()
    }

    /// Takes one Engine.IO packet.
    ///
    /// # Errors
    /// The reason to close the connection with: the packet broke a rule of Engine.IO or Socket.IO.
    pub fn handle_packet(
        &mut self,
        packet: engine::Packet<'_>,
        now: u64,
    ) -> Result<Handled, CloseReason> {
        if !matches!(packet, engine::Packet::Pong(_)) {
            self.handle_traffic(now);
        }
        match packet {
            engine::Packet::Message(text) => self.handle_text(&text),
            engine::Packet::Binary(bytes) => self.handle_binary(bytes),
            engine::Packet::Pong(_) if self.revision() == Revision::V4 => {
                self.heartbeat.handle_pong(now);
                self.handle_idle_beat()?;
                Ok(Handled::Nothing)
            }
            engine::Packet::Ping(data) if self.revision() == Revision::V3 => {
                self.heartbeat.handle_ping(now);
                self.handle_idle_beat()?;
                Ok(Handled::Ping {
                    data: data.into_owned(),
                })
            }
            engine::Packet::Close => Ok(Handled::Close),
            // The server pings in Engine.IO 4, the client in Engine.IO 3.
            engine::Packet::Ping(_) | engine::Packet::Pong(_) => Err(CloseReason::TransportError),
            // Meaningless on an established session; Node ignores them too.
            engine::Packet::Upgrade | engine::Packet::Noop => Ok(Handled::Nothing),
            engine::Packet::Open(_) => Err(CloseReason::ParseError),
        }
    }

    /// Something has come that is no part of the heartbeat, and is not for [`handle_packet`](Self::handle_packet) either.
    pub fn handle_traffic(&mut self, now: u64) {
        self.heartbeat.handle_other(now);
    }

    /// What is due at `now`. Call again until it answers [`Due::Nothing`].
    pub fn handle_timeout(&mut self, now: u64) -> Due {
        if self
            .connect_deadline
            .is_some_and(|deadline| deadline <= now)
        {
            return Due::Close(CloseReason::ForcedClose);
        }
        self.heartbeat.handle_timeout(now)
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub fn next_deadline(&self) -> u64 {
        let beat = self.heartbeat.deadline();
        self.connect_deadline
            .map_or(beat, |connect| connect.min(beat))
    }

    /// Reading is held back on purpose from now on, until [`handle_reading_resumed`](Self::handle_reading_resumed).
    pub fn handle_reading_held_back(&mut self, now: u64) {
        self.heartbeat.hold_back(now);
    }

    /// Reading was held back on purpose until now, so a pong or a ping may be waiting unread: the client gets its full time again.
    pub fn handle_reading_resumed(&mut self, now: u64) {
        self.heartbeat.postpone(now);
    }

    /// The application lets the client into `nsp`. Returns the membership's number.
    pub fn accept(&mut self, nsp: &str) -> Option<usize> {
        let member = self.find(nsp)?;
        self.memberships[member].join();
        self.connect_deadline = None;
        Some(member)
    }

    /// What was [accepted](Self::accept) until now may have come to the client: to be called between two reads of the transport, as Node
    /// answers what came with one read before it looks at the next.
    pub fn settle(&mut self) {
        self.memberships.iter_mut().for_each(Membership::settle);
    }

    /// The membership in `nsp`, asked for or joined.
    pub fn find(&self, nsp: &str) -> Option<usize> {
        self.memberships.iter().position(|m| m.is_of(nsp))
    }

    /// The application refuses or ends a membership.
    pub fn leave(&mut self, member: usize) {
        if let Some(membership) = self.memberships.get_mut(member) {
            membership.vacate();
        }
    }

    /// Bytes held for a packet whose attachments have not all arrived.
    pub fn pending_bytes(&self) -> usize {
        self.decoder.pending_bytes()
    }

    fn handle_text(&mut self, text: &str) -> Result<Handled, CloseReason> {
        match self.decoder.text(text) {
            Ok(Some(packet)) => self.handle_socket_packet(packet),
            Ok(None) => {
                self.idle_pongs = 0;
                // Refused now: attachments are not collected for somebody who is not in the namespace.
                if let Some(nsp) = self.decoder.pending_nsp() {
                    self.joined(nsp)?;
                }
                Ok(Handled::Nothing)
            }
            Err(_) => Err(CloseReason::ForcedClose),
        }
    }

    /// Attachments that never come would be waited for, and the others held, for as long as the client answers pings.
    fn handle_idle_beat(&mut self) -> Result<(), CloseReason> {
        if self.decoder.pending_bytes() == 0 {
            return Ok(());
        }
        self.idle_pongs += 1;
        if self.idle_pongs >= MAX_IDLE_PONGS {
            return Err(CloseReason::ForcedClose);
        }
        Ok(())
    }

    fn handle_binary(&mut self, bytes: Cow<'_, [u8]>) -> Result<Handled, CloseReason> {
        self.idle_pongs = 0;
        if self.decoder.pending_bytes() + bytes.len() > self.max_pending {
            return Err(CloseReason::ForcedClose);
        }
        let bytes = match bytes {
            Cow::Borrowed(slice) => Bytes::copy_from_slice(slice),
            Cow::Owned(vec) => Bytes::from(vec),
        };
        match self.decoder.binary(bytes) {
            Ok(Some(packet)) => self.handle_socket_packet(packet),
            Ok(None) => Ok(Handled::Nothing),
            Err(_) => Err(CloseReason::ForcedClose),
        }
    }

    fn handle_socket_packet(&mut self, packet: Packet) -> Result<Handled, CloseReason> {
        match packet {
            Packet::Connect { nsp, data } => {
                let (nsp, auth) = self.target(nsp, data)?;
                let again = self.request(&nsp)?;
                Ok(Handled::Connect { nsp, auth, again })
            }
            Packet::Disconnect { nsp } => {
                let member = self.joined(&nsp)?;
                self.memberships[member].vacate();
                Ok(Handled::Leave { member })
            }
            Packet::Event { nsp, id, args } => {
                let member = self.joined(&nsp)?;
                Ok(Handled::Event { member, id, args })
            }
            Packet::Ack { nsp, id, args } => {
                let member = self.joined(&nsp)?;
                Ok(Handled::Ack { member, id, args })
            }
            // Only a server sends these.
            Packet::ConnectError { .. } => Err(CloseReason::ForcedClose),
        }
    }

    /// Notes that the client asked for `nsp`. `true` if it has before: a stock client that is told to connect, to disconnect and to connect
    /// says CONNECT twice. Once it may know that it is in, that is a protocol error.
    fn request(&mut self, nsp: &str) -> Result<bool, CloseReason> {
        let asked = Membership::asked(nsp);
        if let Some(before) = self.memberships.iter_mut().find(|m| m.is_of(nsp)) {
            if !before.may_be_asked_again() {
                return Err(CloseReason::ForcedClose);
            }
            *before = asked;
            return Ok(true);
        }
        if let Some(vacant) = self.memberships.iter_mut().find(|m| m.is_vacant()) {
            *vacant = asked;
            return Ok(false);
        }
        if self.memberships.len() >= self.max_namespaces {
            return Err(CloseReason::ForcedClose);
        }
        // Nearly every client joins one namespace: no room for four.
        self.memberships.reserve_exact(1);
        self.memberships.push(asked);
        Ok(false)
    }

    /// The namespace that a packet is for, and what came with it. In Engine.IO 3 only a query can, never a payload.
    fn target(
        &self,
        nsp: String,
        data: Option<Value>,
    ) -> Result<(String, Option<Value>), CloseReason> {
        if self.revision() == Revision::V4 {
            return Ok((nsp, data));
        }
        let (nsp, query) = target::take_apart(nsp);
        if nsp.len() > MAX_NAMESPACE_LEN {
            return Err(CloseReason::ForcedClose);
        }
        Ok((nsp, query))
    }

    fn joined(&self, nsp: &str) -> Result<usize, CloseReason> {
        let nsp = match self.revision() {
            Revision::V3 => target::name(nsp),
            Revision::V4 => nsp,
        };
        self.memberships
            .iter()
            .position(|m| m.is_joined() && m.is_of(nsp))
            .ok_or(CloseReason::ForcedClose)
    }
}
