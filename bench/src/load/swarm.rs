//! Many clients in one epoll loop. A connected client costs a file descriptor and a few dozen bytes.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use super::PATIENCE;
use super::client::{Client, Kind, Opening};
use super::websocket::SEQUENCE_DIGITS;

/// What one wake-up may bring; more waits for the next turn.
const EVENTS_PER_TURN: usize = 1024;
/// One read of one client: many coalesced deliveries at once.
const READ_BUFFER: usize = 64 * 1024;
/// Loopback source addresses, 127.0.1.1 and on: each brings its own range of about 28,000 ephemeral ports, and ports rest for a minute after use.
const SOURCES: u8 = 64;

/// Something that a client noticed.
pub struct Happening {
    /// Index of the client.
    pub client: usize,
    /// When its bytes were read.
    pub at: Instant,
    /// What it was.
    pub kind: Kind,
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

    /// Starts one connection; [`Kind::Ready`] follows, unless it is a fragment. Gives the client's index.
    pub fn open(&mut self, target: SocketAddr, opening: Opening) -> Result<usize> {
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
        let client = Client::new(stream, target.to_string().into(), opening);
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

    /// Closes one client with a reset: nothing of it is left in the kernel.
    pub fn reset(&mut self, client: usize) {
        if let Some(Some(open)) = self.clients.get(client) {
            open.reset();
        }
        self.close(client);
    }

    /// Stops reading from one client, for good.
    pub fn stop_reading(&mut self, client: usize) {
        if let Some(Some(open)) = self.clients.get_mut(client) {
            open.stopped = true;
        }
    }

    /// The session id of a client on long-polling, once it is known.
    pub fn sid(&self, client: usize) -> Option<&str> {
        self.clients.get(client)?.as_ref()?.sid()
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

    /// Connects `count` WebSockets to `target`, `in_flight` handshakes at a time, and waits until all are ready. Gives their indices.
    pub fn connect(
        &mut self,
        target: SocketAddr,
        count: usize,
        in_flight: usize,
    ) -> Result<Vec<usize>> {
        self.connect_as(&Opening::WebSocket, target, count, in_flight)
    }

    /// The same with clients of any kind.
    pub fn connect_as(
        &mut self,
        opening: &Opening,
        target: SocketAddr,
        count: usize,
        in_flight: usize,
    ) -> Result<Vec<usize>> {
        let mut indices = Vec::with_capacity(count);
        let mut ready = 0;
        let mut happenings = Vec::new();
        while ready < count {
            while indices.len() < count && indices.len() - ready < in_flight {
                indices.push(self.open(target, opening.clone())?);
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

    /// Lets one client say and read what there is.
    fn serve(&mut self, index: usize, happenings: &mut Vec<Happening>) {
        let Some(client) = self.clients.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        let mut notice = |at, kind| {
            happenings.push(Happening {
                client: index,
                at,
                kind,
            });
        };
        let alive = client.start() && client.receive(&mut self.buffer, &mut notice);
        if !alive {
            happenings.push(Happening {
                client: index,
                at: Instant::now(),
                kind: Kind::Closed,
            });
            self.close(index);
        }
    }

    /// Sends a packet on a client's WebSocket.
    pub fn send(&mut self, client: usize, text: &[u8]) -> Result<()> {
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
