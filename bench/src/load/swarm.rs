//! Many WebSocket clients in one epoll loop. A connected client costs a file descriptor and a few dozen bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use super::PATIENCE;
use crate::wire;

/// What one wake-up may bring; more waits for the next turn.
const EVENTS_PER_TURN: usize = 1024;
/// One read of one client: many coalesced deliveries at once.
const READ_BUFFER: usize = 64 * 1024;
/// Loopback source addresses, 127.0.1.1 and on: each brings its own range of about 28,000 ephemeral ports, and ports rest for a minute after use.
const SOURCES: u8 = 64;
/// Digits of the sequence number that every published payload begins with.
const SEQUENCE_DIGITS: usize = 12;
const MESSAGE: &[u8] = br#"42["msg",""#;

/// Something that a client noticed.
pub struct Happening {
    /// Index of the client.
    pub client: usize,
    /// When its bytes were read.
    pub at: Instant,
    /// What it was.
    pub kind: Kind,
}

/// What a client notices.
pub enum Kind {
    /// The namespace answered: the handshake is complete.
    Ready,
    /// An event `msg` with this sequence number.
    Message(u64),
    /// The connection ended from the other side.
    Closed,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// TCP is connecting.
    Connecting,
    /// The upgrade request is sent.
    Upgrading,
    /// The WebSocket is open, the namespace not yet.
    Joining,
    /// All there.
    Ready,
}

struct Client {
    stream: TcpStream,
    phase: Phase,
    /// Received, not yet a whole response or frame. Empty between events, as a rule.
    partial: Vec<u8>,
}

/// The clients and the loop that drives them.
pub struct Swarm {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    clients: Vec<Option<Client>>,
    /// Places to use again, after the turn in which they were left.
    free: Vec<usize>,
    opened: usize,
}

impl Swarm {
    /// A swarm without clients.
    pub fn new() -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_PER_TURN),
            buffer: vec![0; READ_BUFFER],
            clients: Vec::new(),
            free: Vec::new(),
            opened: 0,
        })
    }

    /// Starts one connection; [`Kind::Ready`] follows. Gives the client's index.
    pub fn open(&mut self, target: SocketAddr) -> Result<usize> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)
            .context("cannot open a socket (too few file descriptors?)")?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let source = Ipv4Addr::new(127, 0, 1, 1 + (self.opened % usize::from(SOURCES)) as u8);
        socket
            .bind(&SocketAddr::from((source, 0)).into())
            .with_context(|| format!("no port left on {source}"))?;
        self.opened += 1;
        match socket.connect(&target.into()) {
            Ok(()) => {}
            // EINPROGRESS: epoll tells when it is done.
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot connect to {target}")),
        }
        let mut stream = TcpStream::from_std(socket.into());
        let index = self.free.pop().unwrap_or(self.clients.len());
        // Edge-triggered: writable is reported once, when TCP is connected.
        self.poll.registry().register(
            &mut stream,
            Token(index),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        let client = Client {
            stream,
            phase: Phase::Connecting,
            partial: Vec::new(),
        };
        match self.clients.get_mut(index) {
            Some(place) => *place = Some(client),
            None => self.clients.push(Some(client)),
        }
        Ok(index)
    }

    /// Closes one client. Its index may be given to another one after the current turn.
    pub fn close(&mut self, client: usize) {
        if let Some(place) = self.clients.get_mut(client)
            && place.take().is_some()
        {
            self.free.push(client);
        }
    }

    /// Publishes `payload` with a sequence number in front.
    pub fn publish(&mut self, client: usize, sequence: u64, padding: &str) -> Result<()> {
        let text = format!(r#"42["pub","{sequence:0SEQUENCE_DIGITS$}{padding}"]"#);
        self.send(client, text.as_bytes())
    }

    /// What a payload of `length` bytes has besides its sequence number.
    pub fn padding(length: usize) -> String {
        "x".repeat(length.saturating_sub(SEQUENCE_DIGITS))
    }

    /// Connects `count` clients to `target`, `in_flight` handshakes at a time, and waits until all are ready. Gives their indices.
    pub fn connect(
        &mut self,
        target: SocketAddr,
        count: usize,
        in_flight: usize,
    ) -> Result<Vec<usize>> {
        let mut indices = Vec::with_capacity(count);
        let mut ready = 0;
        let mut happenings = Vec::new();
        while ready < count {
            while indices.len() < count && indices.len() - ready < in_flight {
                indices.push(self.open(target)?);
            }
            self.turn(PATIENCE, &mut happenings)?;
            if happenings.is_empty() {
                bail!(
                    "{ready} of {count} clients connected, then nothing happened for {PATIENCE:?}"
                );
            }
            for happening in happenings.drain(..) {
                match happening.kind {
                    Kind::Ready => ready += 1,
                    Kind::Closed => bail!(
                        "the server closed client {} while {ready} of {count} were connected",
                        happening.client
                    ),
                    Kind::Message(_) => {}
                }
            }
        }
        Ok(indices)
    }

    /// Waits for something to happen, at most `timeout`, and appends it to `happenings`; answers pings by the way.
    pub fn turn(&mut self, timeout: Duration, happenings: &mut Vec<Happening>) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let before = happenings.len();
        while happenings.len() == before {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() && !timeout.is_zero() {
                return Ok(());
            }
            match self.poll.poll(&mut self.events, Some(left)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other.context("cannot wait for events")?,
            }
            // The loop borrows the events while clients are served.
            let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
            for event in &events {
                self.serve(event.token().0, happenings);
            }
            self.events = events;
            if timeout.is_zero() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn serve(&mut self, index: usize, happenings: &mut Vec<Happening>) {
        let Some(client) = self.clients.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        let alive = client.start()
            && client.receive(&mut self.buffer, |at, kind| {
                happenings.push(Happening {
                    client: index,
                    at,
                    kind,
                });
            });
        if !alive {
            happenings.push(Happening {
                client: index,
                at: Instant::now(),
                kind: Kind::Closed,
            });
            self.close(index);
        }
    }

    fn send(&mut self, client: usize, text: &[u8]) -> Result<()> {
        let client = self
            .clients
            .get_mut(client)
            .and_then(Option::as_mut)
            .context("this client has gone")?;
        if client.send(text) {
            Ok(())
        } else {
            bail!("a client could not send: the server reads too slowly or has gone")
        }
    }
}

impl Client {
    /// Sends the upgrade request once TCP is connected. False if it could not connect.
    fn start(&mut self) -> bool {
        if self.phase != Phase::Connecting {
            return true;
        }
        match (self.stream.take_error(), self.stream.peer_addr()) {
            (Ok(None), Ok(peer)) => {
                self.phase = Phase::Upgrading;
                self.write(&wire::upgrade_request(&peer.to_string()))
            }
            (Ok(None), Err(error)) => error.kind() == ErrorKind::NotConnected,
            _ => false,
        }
    }

    /// Reads what there is. False when the connection is over.
    fn receive(&mut self, buffer: &mut [u8], mut notice: impl FnMut(Instant, Kind)) -> bool {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(count) => count,
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::NotConnected
                    ) =>
                {
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return false,
            };
            let at = Instant::now();
            let alive = if self.partial.is_empty() {
                self.consume(&mut buffer[..count], |kind| notice(at, kind))
            } else {
                let mut input = std::mem::take(&mut self.partial);
                input.extend_from_slice(&buffer[..count]);
                self.consume(&mut input, |kind| notice(at, kind))
            };
            // A short read has emptied the socket; what comes later raises a new event.
            if !alive || count < buffer.len() {
                return alive;
            }
        }
    }

    /// Takes whole responses and frames; the rest becomes `partial`. False on nonsense.
    fn consume(&mut self, input: &mut [u8], mut notice: impl FnMut(Kind)) -> bool {
        let mut used = 0;
        if self.phase == Phase::Upgrading {
            let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
                self.partial = input.to_vec();
                return input.len() < wire::MAX_FRAME;
            };
            if !input.starts_with(b"HTTP/1.1 101") {
                return false;
            }
            self.phase = Phase::Joining;
            used = end + 4;
        }
        loop {
            let frame = match wire::next_frame(&mut input[used..]) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(wire::FrameTooLong) => return false,
            };
            used += frame.length;
            if frame.opcode == wire::CLOSE || !self.on_text(frame.payload, &mut notice) {
                return false;
            }
        }
        if used < input.len() {
            self.partial = input[used..].to_vec();
        }
        true
    }

    fn on_text(&mut self, text: &[u8], notice: &mut impl FnMut(Kind)) -> bool {
        if let Some(sequence) = sequence_of(text) {
            notice(Kind::Message(sequence));
            return true;
        }
        match text {
            [b'0', ..] => self.send(b"40"),
            [b'2'] => self.send(b"3"),
            [b'4', b'0', ..] if self.phase == Phase::Joining => {
                self.phase = Phase::Ready;
                notice(Kind::Ready);
                true
            }
            [b'4', b'4', ..] => false,
            _ => true,
        }
    }

    fn send(&mut self, text: &[u8]) -> bool {
        let mut frame = Vec::with_capacity(text.len() + 14);
        wire::encode_client(text, &mut frame);
        self.write(&frame)
    }

    /// A client writes a few hundred bytes at a time: a socket that does not take them is not served any more.
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream
            .write(bytes)
            .is_ok_and(|count| count == bytes.len())
    }
}

fn sequence_of(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(MESSAGE)?.get(..SEQUENCE_DIGITS)?;
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u64::from(digit - b'0'))
    })
}
