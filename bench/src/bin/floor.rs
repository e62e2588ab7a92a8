//! The floor: the least a Socket.IO server can do per delivery. One thread, one epoll, no timers, no parser, no rooms. On `42["pub",X]` it writes the one
//! prebuilt frame `42["msg",X]` to everybody, at once, with one `send` per recipient.
//!
//! A server that beats it has found a way to write less often; a server far above it does something else meanwhile.

use std::io::{ErrorKind, Read, Write};

use anyhow::{Context, Result};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use unisono_bench::{process, wire};

const LISTENER: Token = Token(usize::MAX);
/// What one wake-up may bring; more waits for the next turn.
const EVENTS_PER_TURN: usize = 1024;
/// One read; a publish of a benchmark is far smaller.
const READ_BUFFER: usize = 64 * 1024;
/// A handshake or a frame that does not end within this much is not a benchmark's.
const MAX_PARTIAL: usize = wire::MAX_FRAME + 16;
/// Unsent bytes at which a reader is given up, as a real server must: what the library is given in the largest run.
const MAX_UNSENT: usize = 4 * 1024 * 1024;
/// The clients of a benchmark leave long before this server would have to ping them.
const OPEN: &[u8] = br#"0{"sid":"AAAAAAAAAAAAAAAAAAAA","upgrades":[],"pingInterval":3600000,"pingTimeout":20000,"maxPayload":1000000}"#;
const CONNECTED: &[u8] = br#"40{"sid":"BBBBBBBBBBBBBBBBBBBB"}"#;
const PUBLISH: &[u8] = br#"42["pub","#;
const MESSAGE: &[u8] = br#"42["msg","#;

struct Connection {
    stream: TcpStream,
    upgraded: bool,
    joined: bool,
    /// Received, not yet a whole request or frame. Empty between events, as a rule.
    partial: Vec<u8>,
    /// What the socket would not take. Empty, as a rule.
    unsent: Vec<u8>,
}

/// What a connection's input asks of the server.
enum Outcome {
    Continue,
    Gone,
}

impl Connection {
    fn send(&mut self, bytes: &[u8]) -> Outcome {
        let written = if self.unsent.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => count,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
                {
                    0
                }
                Err(_) => return Outcome::Gone,
            }
        } else {
            0
        };
        if written < bytes.len() {
            self.unsent.extend_from_slice(&bytes[written..]);
        }
        if self.unsent.len() > MAX_UNSENT {
            Outcome::Gone
        } else {
            Outcome::Continue
        }
    }

    fn flush(&mut self) -> Outcome {
        let unsent = std::mem::take(&mut self.unsent);
        self.send(&unsent)
    }

    /// Reads until the socket is empty and collects the frames to broadcast.
    fn receive(&mut self, buffer: &mut [u8], broadcasts: &mut Vec<Vec<u8>>) -> Outcome {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Outcome::Gone,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Outcome::Continue,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Outcome::Gone,
            };
            self.partial.extend_from_slice(&buffer[..count]);
            let mut input = std::mem::take(&mut self.partial);
            if let Outcome::Gone = self.consume(&mut input, broadcasts) {
                return Outcome::Gone;
            }
            self.partial = input;
            // A short read has emptied the socket; what comes later raises a new event.
            if self.partial.len() > MAX_PARTIAL {
                return Outcome::Gone;
            }
            if count < buffer.len() {
                return Outcome::Continue;
            }
        }
    }

    /// Takes whole requests and frames from the front of `input`.
    fn consume(&mut self, input: &mut Vec<u8>, broadcasts: &mut Vec<Vec<u8>>) -> Outcome {
        let mut used = 0;
        if !self.upgraded {
            let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
                return Outcome::Continue;
            };
            if let Outcome::Gone = self.upgrade(&input[..end + 2]) {
                return Outcome::Gone;
            }
            used = end + 4;
        }
        loop {
            let frame = match wire::next_frame(&mut input[used..]) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(wire::FrameTooLong) => return Outcome::Gone,
            };
            used += frame.length;
            if frame.opcode == wire::CLOSE {
                return Outcome::Gone;
            }
            if let Some(rest) = frame.payload.strip_prefix(PUBLISH) {
                let mut out = Vec::with_capacity(rest.len() + 32);
                wire::encode_server(&[MESSAGE, rest].concat(), &mut out);
                broadcasts.push(out);
            } else if frame.payload.starts_with(b"40") {
                self.joined = true;
                let mut reply = Vec::with_capacity(64);
                wire::encode_server(CONNECTED, &mut reply);
                if let Outcome::Gone = self.send(&reply) {
                    return Outcome::Gone;
                }
            }
        }
        input.drain(..used);
        if input.is_empty() {
            *input = Vec::new();
        }
        Outcome::Continue
    }

    fn upgrade(&mut self, head: &[u8]) -> Outcome {
        let Some(key) = header(head, b"sec-websocket-key") else {
            return Outcome::Gone;
        };
        let mut reply = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            wire::accept_key(key)
        )
        .into_bytes();
        wire::encode_server(OPEN, &mut reply);
        self.upgraded = true;
        self.send(&reply)
    }
}

/// The value of a header, whose name is given in lower case.
fn header<'h>(head: &'h [u8], name: &[u8]) -> Option<&'h [u8]> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        line[..colon]
            .eq_ignore_ascii_case(name)
            .then(|| line[colon + 1..].trim_ascii())
    })
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    /// Indexed by token.
    connections: Vec<Option<Connection>>,
    /// Tokens to use again.
    free: Vec<usize>,
    /// Tokens of the connections that ended in this turn: events of the same turn may still name them.
    ended: Vec<usize>,
    /// Tokens of everybody who has connected to the namespace: the room.
    room: Vec<usize>,
}

impl Server {
    fn accept(&mut self) -> Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error).context("cannot accept"),
            };
            stream.set_nodelay(true)?;
            let token = self.free.pop().unwrap_or(self.connections.len());
            // Edge-triggered: writable is only reported again after a send that was cut short.
            self.poll.registry().register(
                &mut stream,
                Token(token),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            let connection = Connection {
                stream,
                upgraded: false,
                joined: false,
                partial: Vec::new(),
                unsent: Vec::new(),
            };
            match self.connections.get_mut(token) {
                Some(place) => *place = Some(connection),
                None => self.connections.push(Some(connection)),
            }
        }
    }

    fn on_event(
        &mut self,
        event: &mio::event::Event,
        buffer: &mut [u8],
        broadcasts: &mut Vec<Vec<u8>>,
    ) {
        let token = event.token().0;
        let Some(connection) = self.connections.get_mut(token).and_then(Option::as_mut) else {
            return;
        };
        let was_joined = connection.joined;
        let mut outcome = Outcome::Continue;
        if event.is_writable() && !connection.unsent.is_empty() {
            outcome = connection.flush();
        }
        if event.is_readable() && matches!(outcome, Outcome::Continue) {
            outcome = connection.receive(buffer, broadcasts);
        }
        if connection.joined && !was_joined {
            self.room.push(token);
        }
        if matches!(outcome, Outcome::Gone) || event.is_read_closed() || event.is_error() {
            self.remove(token);
        }
    }

    fn remove(&mut self, token: usize) {
        let Some(connection) = self.connections.get_mut(token).and_then(Option::take) else {
            return;
        };
        self.ended.push(token);
        if connection.joined {
            self.room.retain(|member| *member != token);
        }
    }

    fn broadcast(&mut self, frame: &[u8]) {
        let mut gone = Vec::new();
        for token in &self.room {
            if let Some(connection) = &mut self.connections[*token]
                && let Outcome::Gone = connection.send(frame)
            {
                gone.push(*token);
            }
        }
        gone.into_iter().for_each(|token| self.remove(token));
    }

    fn run(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        let mut buffer = vec![0; READ_BUFFER];
        let mut broadcasts = Vec::new();
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.context("cannot wait for events")?,
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept()?;
                    continue;
                }
                self.on_event(event, &mut buffer, &mut broadcasts);
                for frame in broadcasts.drain(..) {
                    self.broadcast(&frame);
                }
            }
            self.free.append(&mut self.ended);
        }
    }
}

fn main() -> Result<()> {
    process::raise_open_files(u64::from(u16::MAX));
    let port: u16 = std::env::var("PORT")
        .context("set PORT")?
        .parse()
        .context("PORT is a number")?;
    let mut listener = TcpListener::bind(([127, 0, 0, 1], port).into())
        .with_context(|| format!("cannot listen on port {port}"))?;
    let poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("up");
    Server {
        poll,
        listener,
        connections: Vec::new(),
        free: Vec::new(),
        ended: Vec::new(),
        room: Vec::new(),
    }
    .run()
}
