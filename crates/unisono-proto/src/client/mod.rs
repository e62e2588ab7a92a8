//! The client's side of a session over WebSocket, without IO.
//!
//! The shell opens a WebSocket (see [`ClientHandshake`](crate::ws::ClientHandshake)) to
//! `/socket.io/?EIO=4&transport=websocket`, hands in every message that arrives, carries out every [`Output`], and
//! calls [`Client::handle_timeout`] at [`Client::deadline_ms`]. Times are milliseconds since any fixed instant.
//!
//! ```
//! use unisono_proto::client::{Client, Config, Event, Output};
//! let mut client = Client::new(Config::default());
//! client.connect("/", None).unwrap();
//! client.handle_text(r#"0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#, 0);
//! assert!(matches!(client.poll_output(), Some(Output::Event(Event::Opened { .. }))));
//! assert_eq!(client.poll_output(), Some(Output::Text("40".into())));
//! client.handle_text(r#"40{"sid":"abc"}"#, 1);
//! assert_eq!(client.poll_output(), Some(Output::Event(Event::Connected { nsp: "/".into(), sid: "abc".into() })));
//! ```

mod event;
mod namespace;

use std::collections::VecDeque;

use bytes::Bytes;

pub use self::event::{CloseReason, CommandError, Config, Event, Output};
use self::namespace::{Namespace, State};
use crate::Value;
use crate::engine::{self, Open};
use crate::limits::MAX_NAMESPACES;
use crate::socket::{self, Encoded, Packet};

/// The machine. Every input and command leaves its consequences in a queue, which [`Client::poll_output`] empties; a
/// call adds at most one entry per namespace or attachment and a few more.
#[derive(Debug)]
pub struct Client {
    config: Config,
    session: Session,
    decoder: socket::Decoder,
    namespaces: Vec<Namespace>,
    outputs: VecDeque<Output>,
}

/// What the session waits for.
#[derive(Debug)]
enum Session {
    /// For the open packet, until the deadline (unset before the first input).
    ExpectOpen { deadline_ms: Option<u64> },
    /// For the next ping, until the deadline; a ping puts it off by `patience_ms`.
    ExpectPing { deadline_ms: u64, patience_ms: u64 },
    /// For nothing.
    Closed,
}

impl Client {
    /// A client whose WebSocket is open, or about to be.
    pub fn new(config: Config) -> Client {
        Client {
            config,
            session: Session::ExpectOpen { deadline_ms: None },
            decoder: socket::Decoder::new(config.limits),
            namespaces: Vec::new(),
            outputs: VecDeque::new(),
        }
    }

    /// When [`Client::handle_timeout`] is due; `None` before the first call of it and after the end.
    pub fn deadline_ms(&self) -> Option<u64> {
        match self.session {
            Session::ExpectOpen { deadline_ms } => deadline_ms,
            Session::ExpectPing { deadline_ms, .. } => Some(deadline_ms),
            Session::Closed => None,
        }
    }

    /// Whether the session is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.session, Session::Closed)
    }

    /// The next thing to do, or `None` if everything is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Takes a text message of the WebSocket.
    pub fn handle_text(&mut self, text: &str, now_ms: u64) {
        let Ok(packet) = engine::decode(text) else {
            return self.protocol_error();
        };
        match (packet, &mut self.session) {
            (_, Session::Closed) => {}
            (engine::Packet::Open(data), Session::ExpectOpen { .. }) => {
                match Open::from_json(&data) {
                    Ok(open) => self.opened(open, now_ms),
                    Err(_) => self.protocol_error(),
                }
            }
            (
                engine::Packet::Ping(data),
                Session::ExpectPing {
                    deadline_ms,
                    patience_ms,
                },
            ) => {
                *deadline_ms = now_ms.saturating_add(*patience_ms);
                self.send(&engine::Packet::Pong(data));
            }
            (engine::Packet::Message(text), Session::ExpectPing { .. }) => {
                let packet = self.decoder.text(&text);
                self.handle_decoded(packet);
            }
            (engine::Packet::Binary(data), Session::ExpectPing { .. }) => {
                self.handle_binary(data.into_owned().into());
            }
            (engine::Packet::Close, _) => self.end(CloseReason::Remote),
            (engine::Packet::Noop, _) => {}
            _ => self.protocol_error(),
        }
    }

    /// Takes a binary message of the WebSocket.
    pub fn handle_binary(&mut self, data: Bytes) {
        match self.session {
            Session::Closed => {}
            Session::ExpectOpen { .. } => self.protocol_error(),
            Session::ExpectPing { .. } => {
                let packet = self.decoder.binary(data);
                self.handle_decoded(packet);
            }
        }
    }

    /// Notices what is overdue. Call it once at the start, and at [`Client::deadline_ms`].
    pub fn handle_timeout(&mut self, now_ms: u64) {
        match &mut self.session {
            Session::ExpectOpen { deadline_ms } => {
                let deadline =
                    *deadline_ms.get_or_insert(now_ms.saturating_add(self.config.open_timeout_ms));
                if now_ms >= deadline {
                    self.end(CloseReason::OpenTimeout);
                }
            }
            Session::ExpectPing { deadline_ms, .. } if now_ms >= *deadline_ms => {
                self.end(CloseReason::PingTimeout);
            }
            Session::ExpectPing { .. } | Session::Closed => {}
        }
    }

    /// The WebSocket has ended, in whatever way.
    pub fn handle_transport_closed(&mut self) {
        self.end(CloseReason::Transport);
    }

    /// Asks to be let into a namespace, with `auth` (a map) as credentials; at once, or as soon as the session is
    /// open. [`Event::Connected`] or [`Event::ConnectError`] will answer.
    ///
    /// # Errors
    /// [`CommandError`], but not `NotConnected` or `TooManyAcks`.
    pub fn connect(&mut self, nsp: &str, auth: Option<Value>) -> Result<(), CommandError> {
        if self.namespaces.iter().any(|namespace| namespace.nsp == nsp) {
            return Err(CommandError::AlreadyConnected);
        }
        if self.namespaces.len() >= MAX_NAMESPACES {
            return Err(CommandError::TooManyNamespaces);
        }
        if auth.as_ref().is_some_and(|auth| auth.as_map().is_none()) {
            return Err(CommandError::AuthNotAMap);
        }
        let connect = socket::encode(&Packet::Connect {
            nsp: nsp.to_owned(),
            data: auth,
        })?;
        let state = match self.session {
            Session::Closed => return Err(CommandError::Closed),
            Session::ExpectOpen { .. } => State::Waiting(connect),
            Session::ExpectPing { .. } => {
                self.send_encoded(connect);
                State::Asked
            }
        };
        self.namespaces.push(Namespace::new(nsp, state));
        Ok(())
    }

    /// Sends an event; `args` begins with its name.
    ///
    /// # Errors
    /// [`CommandError::NotConnected`], `Closed` or `Encode`.
    pub fn emit(&mut self, nsp: &str, args: &[Value]) -> Result<(), CommandError> {
        self.joined(nsp)?;
        self.send_encoded(socket::encode_event(nsp, None, args)?);
        Ok(())
    }

    /// Sends an event and waits for its answer: returns the id that [`Event::Ack`] will have.
    ///
    /// # Errors
    /// As [`Client::emit`], and `TooManyAcks`.
    pub fn emit_with_ack(&mut self, nsp: &str, args: &[Value]) -> Result<u64, CommandError> {
        let namespace = self.joined(nsp)?;
        let id = namespace.next_id().ok_or(CommandError::TooManyAcks)?;
        let event = socket::encode_event(nsp, Some(id), args)?;
        namespace.expect_ack(id);
        self.send_encoded(event);
        Ok(id)
    }

    /// No longer waits for the answer with this id; it will be ignored if it comes.
    pub fn forget_ack(&mut self, nsp: &str, id: u64) {
        if let Ok(namespace) = self.joined(nsp) {
            namespace.take_ack(id);
        }
    }

    /// Answers an event.
    ///
    /// # Errors
    /// As [`Client::emit`].
    pub fn ack(&mut self, nsp: &str, id: u64, args: &[Value]) -> Result<(), CommandError> {
        self.joined(nsp)?;
        self.send_encoded(socket::encode_ack(nsp, id, args)?);
        Ok(())
    }

    /// Leaves a namespace; the session stays.
    ///
    /// # Errors
    /// [`CommandError::NotConnected`] or `Closed`.
    pub fn disconnect(&mut self, nsp: &str) -> Result<(), CommandError> {
        self.joined(nsp)?;
        let packet = socket::encode(&Packet::Disconnect {
            nsp: nsp.to_owned(),
        })?;
        self.namespaces.retain(|namespace| namespace.nsp != nsp);
        self.send_encoded(packet);
        Ok(())
    }

    /// Ends the session politely.
    pub fn close(&mut self) {
        if !self.is_closed() {
            self.send(&engine::Packet::Close);
            self.end(CloseReason::Local);
        }
    }
}

// The consequences.
impl Client {
    fn opened(&mut self, open: Open, now_ms: u64) {
        let patience_ms = open.ping_interval_ms.saturating_add(open.ping_timeout_ms);
        self.session = Session::ExpectPing {
            deadline_ms: now_ms.saturating_add(patience_ms),
            patience_ms,
        };
        self.outputs
            .push_back(Output::Event(Event::Opened { sid: open.sid }));
        let waiting: Vec<Encoded> = self
            .namespaces
            .iter_mut()
            .filter_map(Namespace::ask)
            .collect();
        waiting
            .into_iter()
            .for_each(|connect| self.send_encoded(connect));
    }

    fn handle_decoded(&mut self, packet: Result<Option<Packet>, socket::DecodeError>) {
        let event = match packet {
            Ok(Some(packet)) => self.event_of(packet),
            Ok(None) => return,
            Err(_) => return self.protocol_error(),
        };
        match event {
            Ok(Some(event)) => self.outputs.push_back(Output::Event(event)),
            Ok(None) => {}
            Err(()) => self.protocol_error(),
        }
    }

    /// What a packet means; nothing if it is for a namespace that was left meanwhile, an error if the server broke
    /// the protocol.
    fn event_of(&mut self, packet: Packet) -> Result<Option<Event>, ()> {
        let Some(at) = self
            .namespaces
            .iter()
            .position(|namespace| namespace.nsp == packet.nsp())
        else {
            return Ok(None);
        };
        let namespace = &mut self.namespaces[at];
        Ok(match packet {
            Packet::Connect { nsp, data } => {
                let sid = data
                    .as_ref()
                    .and_then(|data| data.get("sid"))
                    .and_then(Value::as_str)
                    .ok_or(())?;
                let sid = sid.to_owned();
                namespace.state = State::Joined;
                Some(Event::Connected { nsp, sid })
            }
            Packet::ConnectError { nsp, data } => {
                self.namespaces.swap_remove(at);
                Some(Event::ConnectError { nsp, data })
            }
            Packet::Disconnect { nsp } => {
                self.namespaces.swap_remove(at);
                Some(Event::Disconnected { nsp })
            }
            Packet::Event { args, .. } if args.is_empty() => None,
            Packet::Event { nsp, id, args } => Some(Event::Event { nsp, id, args }),
            Packet::Ack { nsp, id, args } => {
                namespace
                    .take_ack(id)
                    .then_some(Event::Ack { nsp, id, args })
            }
        })
    }

    fn joined(&mut self, nsp: &str) -> Result<&mut Namespace, CommandError> {
        if self.is_closed() {
            return Err(CommandError::Closed);
        }
        let joined = |namespace: &&mut Namespace| namespace.nsp == nsp && namespace.is_joined();
        self.namespaces
            .iter_mut()
            .find(joined)
            .ok_or(CommandError::NotConnected)
    }

    fn protocol_error(&mut self) {
        self.end(CloseReason::Protocol);
    }

    fn end(&mut self, reason: CloseReason) {
        if self.is_closed() {
            return;
        }
        self.session = Session::Closed;
        self.namespaces.clear();
        self.decoder = socket::Decoder::new(self.config.limits);
        self.outputs.push_back(Output::Event(Event::Closed(reason)));
        self.outputs.push_back(Output::Close);
    }

    fn send(&mut self, packet: &engine::Packet<'_>) {
        let mut text = String::new();
        engine::encode_record(packet, &mut text);
        self.outputs.push_back(Output::Text(text));
    }

    fn send_encoded(&mut self, encoded: Encoded) {
        self.send(&engine::Packet::Message(encoded.text.into()));
        self.outputs
            .extend(encoded.attachments.into_iter().map(Output::Binary));
    }
}
