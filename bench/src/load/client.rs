//! One client: what it says when, and what it notices.

use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use mio::net::TcpStream;
use rustix::net::RecvFlags;

use super::polling::Polling;
use super::websocket::WebSocket;
use crate::wire;

/// How a client begins, and what it becomes.
#[derive(Clone, Debug)]
pub enum Opening {
    /// A WebSocket from the start, which joins the namespace.
    WebSocket,
    /// A WebSocket that never joins anything.
    Stranger,
    /// A session on long-polling, which joins the namespace and holds a GET from then on.
    Polling,
    /// A session on long-polling, which joins the namespace and is left alone from then on.
    Abandoned,
    /// A WebSocket that probes for the polling session of this id and never finishes the upgrade.
    Probe(String),
    /// Half of a request's head, and nothing after it.
    Fragment,
}

/// What a client notices.
#[derive(Debug)]
pub enum Kind {
    /// The namespace answered, or the probe, or whatever else this client was opened for: it is complete.
    Ready,
    /// An event `msg` with this sequence number.
    Message(u64),
    /// The connection ended from the other side.
    Closed,
}

/// What a protocol wants after it has seen some bytes.
pub(super) enum Step {
    /// More bytes.
    Read,
    /// The end: the other side does not keep to the protocol, or has said goodbye.
    End,
}

/// How far the rest of a large message was thrown away.
enum Discarded {
    All,
    /// The socket is empty; more will come.
    Part,
    /// The connection is over.
    End,
}

/// More than this unsent is a server that does not read: the publishes of sixteen laps are a quarter of it.
const MAX_UNSENT: usize = 4 * 1024 * 1024;

/// The bytes that a client says, and where it is heard.
pub(super) struct Line {
    stream: TcpStream,
    /// `ip:port` of the server.
    pub(super) host: Box<str>,
    /// What the socket did not take. Empty, as a rule.
    unsent: Vec<u8>,
}

impl Line {
    /// Sends, now or when the socket takes more. False when there is no point any more.
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        if self.unsent.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => self.unsent.extend_from_slice(&bytes[count..]),
                Err(error) if is_over(&error) => return false,
                Err(_) => self.unsent.extend_from_slice(bytes),
            }
        } else {
            self.unsent.extend_from_slice(bytes);
        }
        self.unsent.len() <= MAX_UNSENT
    }

    fn flush(&mut self) -> bool {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if is_over(&error) => return false,
                // Writable is reported again.
                Err(_) => return true,
            }
        }
        self.unsent = Vec::new();
        true
    }
}

enum Talk {
    Connecting(Opening),
    WebSocket(WebSocket),
    Polling(Polling),
    Silent,
}

pub(super) struct Client {
    line: Line,
    talk: Talk,
    /// Received, not yet a whole response or frame. Empty between events, as a rule.
    partial: Vec<u8>,
    /// Reads nothing any more: a slow reader.
    pub(super) stopped: bool,
}

impl Client {
    pub(super) fn new(stream: TcpStream, host: Box<str>, opening: Opening) -> Self {
        Self {
            line: Line {
                stream,
                host,
                unsent: Vec::new(),
            },
            talk: Talk::Connecting(opening),
            partial: Vec::new(),
            stopped: false,
        }
    }

    /// The id of its polling session, once it is known.
    pub(super) fn sid(&self) -> Option<&str> {
        match &self.talk {
            Talk::Polling(polling) => polling.sid(),
            _ => None,
        }
    }

    /// Says the first words once TCP is connected, and later what could not be said at once. False if it cannot be said.
    pub(super) fn start(&mut self) -> bool {
        let Talk::Connecting(opening) = &self.talk else {
            return self.line.flush();
        };
        match (self.line.stream.take_error(), self.line.stream.peer_addr()) {
            (Ok(None), Ok(_)) => {}
            (Ok(None), Err(error)) => return !is_over(&error),
            _ => return false,
        }
        let (talk, words) = match opening {
            Opening::WebSocket => (
                Talk::WebSocket(WebSocket::member()),
                wire::upgrade_request(&self.line.host, None),
            ),
            Opening::Stranger => (
                Talk::WebSocket(WebSocket::stranger()),
                wire::upgrade_request(&self.line.host, None),
            ),
            Opening::Probe(sid) => (
                Talk::WebSocket(WebSocket::probe()),
                wire::upgrade_request(&self.line.host, Some(sid)),
            ),
            Opening::Polling | Opening::Abandoned => (
                Talk::Polling(Polling::new(matches!(opening, Opening::Polling))),
                wire::poll_request(&self.line.host, ""),
            ),
            Opening::Fragment => (Talk::Silent, b"GET /socket.io/?EIO=4&transp".to_vec()),
        };
        self.talk = talk;
        self.line.write(&words)
    }

    /// Sends a Socket.IO packet; the caller knows that this is a WebSocket.
    pub(super) fn send(&mut self, text: &[u8]) -> bool {
        let mut frame = Vec::with_capacity(text.len() + 14);
        wire::encode_client(text, &mut frame);
        self.line.write(&frame)
    }

    /// Reads what there is. False when the connection is over.
    pub(super) fn receive(
        &mut self,
        buffer: &mut [u8],
        notice: &mut impl FnMut(Instant, Kind),
    ) -> bool {
        while !self.stopped {
            if let Talk::WebSocket(socket) = &self.talk
                && let bytes @ 1.. = socket.awaited()
            {
                match self.discard(buffer, bytes, notice) {
                    Discarded::All => {}
                    Discarded::Part => return true,
                    Discarded::End => return false,
                }
            }
            let window = match &self.talk {
                Talk::WebSocket(socket) => socket.read_size().min(buffer.len()),
                _ => buffer.len(),
            };
            let count = match self.line.stream.read(&mut buffer[..window]) {
                Ok(0) => return false,
                Ok(count) => count,
                Err(error) if is_over(&error) => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return true,
            };
            let at = Instant::now();
            let step = if self.partial.is_empty() {
                self.consume(&mut buffer[..count], &mut |kind| notice(at, kind))
            } else {
                let mut input = std::mem::take(&mut self.partial);
                input.extend_from_slice(&buffer[..count]);
                self.consume(&mut input, &mut |kind| notice(at, kind))
            };
            match step {
                Step::End => return false,
                // A short read has emptied the socket; what comes later raises a new event.
                Step::Read if count < window => return true,
                Step::Read => {}
            }
        }
        true
    }

    /// Lets the kernel throw away what nobody looks at (tcp(7), `MSG_TRUNC`): a generator that copied large payloads would be the bottleneck of the run.
    fn discard(
        &mut self,
        buffer: &mut [u8],
        mut bytes: usize,
        notice: &mut impl FnMut(Instant, Kind),
    ) -> Discarded {
        let Talk::WebSocket(socket) = &mut self.talk else {
            return Discarded::End;
        };
        while bytes > 0 {
            let window = bytes.min(buffer.len());
            let received =
                rustix::net::recv(&self.line.stream, &mut buffer[..window], RecvFlags::TRUNC);
            match received {
                Ok((_, 0)) => return Discarded::End,
                Ok((_, count)) => bytes -= count.min(bytes),
                Err(rustix::io::Errno::INTR) => continue,
                Err(rustix::io::Errno::AGAIN) => {
                    socket.awaits(bytes);
                    return Discarded::Part;
                }
                Err(_) => return Discarded::End,
            }
        }
        let at = Instant::now();
        socket.arrived(|kind| notice(at, kind));
        Discarded::All
    }

    fn consume(&mut self, input: &mut [u8], notice: &mut dyn FnMut(Kind)) -> Step {
        let (used, step) = match &mut self.talk {
            Talk::WebSocket(socket) => socket.consume(input, &mut self.line, notice),
            Talk::Polling(polling) => polling.consume(input, &mut self.line, notice),
            Talk::Connecting(_) | Talk::Silent => (input.len(), Step::Read),
        };
        if used < input.len() {
            self.partial = input[used..].to_vec();
        }
        if self.partial.len() > wire::MAX_FRAME {
            return Step::End;
        }
        step
    }

    /// Ends with a reset instead of a farewell, so that the port is free at once.
    pub(super) fn reset(&self) {
        // If it fails, the port rests for a minute.
        let _ =
            socket2::SockRef::from(&self.line.stream).set_linger(Some(std::time::Duration::ZERO));
    }
}

fn is_over(error: &std::io::Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted
    )
}
