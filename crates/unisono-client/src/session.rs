//! One connection: the socket, the frames, and the protocol's machine between them.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout_at};
use unisono_proto::Value;
use unisono_proto::client::{Client as Machine, Config, Event, Output};
use unisono_proto::limits::MAX_HANDSHAKE_HEAD;
use unisono_proto::ws::{self, ClientHandshake, CloseCode, Opcode, Role};

use crate::error::ConnectError;
use crate::options::Options;
use crate::target::Target;

/// One read. A larger message takes several.
const READ_BUFFER: usize = 16 * 1024;
/// How long a session that is over may take to send its last bytes; the server has no part in it beyond its TCP stack.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);

/// A session that is open, or about to be.
pub(crate) struct Session {
    stream: TcpStream,
    decoder: ws::Decoder,
    pub(crate) machine: Machine,
    /// Frames that the socket has not taken yet.
    unsent: Vec<u8>,
    /// What the machine told and nobody has taken yet.
    pub(crate) events: VecDeque<Event>,
    buffer: Vec<u8>,
    started: Instant,
    /// The machine asked to close the WebSocket.
    is_over: bool,
}

impl Session {
    /// Connects, joins the namespace and gives the session with the socket's id.
    pub(crate) async fn open(
        target: &Target,
        options: &Options,
    ) -> Result<(Session, String), ConnectError> {
        let deadline = Instant::now() + options.connect_timeout;
        let opening = async {
            let mut session = Session::upgrade(target, options).await?;
            session
                .machine
                .connect(&options.namespace, options.auth.clone())?;
            let id = session.join().await?;
            Ok((session, id))
        };
        timeout_at(deadline, opening)
            .await
            .unwrap_or(Err(ConnectError::Timeout))
    }

    async fn upgrade(target: &Target, options: &Options) -> Result<Session, ConnectError> {
        let mut stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
        stream.set_nodelay(true)?;
        let query = target
            .query
            .as_ref()
            .map_or(String::new(), |query| format!("&{query}"));
        let path = format!("{}?EIO=4&transport=websocket{query}", options.path);
        let headers: Vec<(&str, &str)> = options
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let handshake = ClientHandshake::new(&target.authority, &path, random(), &headers)?;
        stream.write_all(handshake.request()).await?;
        let config = Config {
            open_timeout_ms: millis(options.connect_timeout),
            ..Config::default()
        };
        let mut session = Session {
            stream,
            decoder: ws::Decoder::new(Role::Client, options.max_message),
            machine: Machine::new(config),
            unsent: Vec::new(),
            events: VecDeque::new(),
            buffer: vec![0; READ_BUFFER],
            started: Instant::now(),
            is_over: false,
        };
        session.machine.handle_timeout(0);
        session.read_head(&handshake).await?;
        Ok(session)
    }

    /// Reads the answer to the upgrade request, and the frames that came with it.
    async fn read_head(&mut self, handshake: &ClientHandshake) -> Result<(), ConnectError> {
        // The handshake refuses a longer head, so this grows no further.
        let mut received = Vec::with_capacity(MAX_HANDSHAKE_HEAD / 16);
        loop {
            self.stream.readable().await?;
            match self.stream.try_read(&mut self.buffer) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(count) => received.extend_from_slice(&self.buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            }
            if let Some(length) = handshake.check_response(&received)? {
                self.consume(&mut received[length..]);
                return Ok(());
            }
        }
    }

    /// Waits for the namespace's answer.
    async fn join(&mut self) -> Result<String, ConnectError> {
        loop {
            self.take_outputs();
            while let Some(event) = self.events.pop_front() {
                match event {
                    Event::Connected { sid, .. } => return Ok(sid),
                    Event::ConnectError { data, .. } => return Err(refusal(&data)),
                    Event::Closed(reason) => return Err(ConnectError::Closed(reason)),
                    // Nothing else comes before the answer.
                    _ => {}
                }
            }
            self.progress(true).await;
        }
    }

    /// Waits until the socket or the clock lets the session go on, and goes on. Reads only if `may_read`. Dropping the future loses nothing.
    pub(crate) async fn progress(&mut self, may_read: bool) {
        let due = self
            .machine
            .deadline_ms()
            .map(|deadline| self.started + Duration::from_millis(deadline));
        let (wants_write, has_deadline) = (!self.unsent.is_empty(), due.is_some());
        tokio::select! {
            ready = self.stream.readable(), if may_read => match ready {
                Ok(()) => self.read(),
                Err(_) => self.machine.handle_transport_closed(),
            },
            ready = self.stream.writable(), if wants_write => match ready {
                Ok(()) => self.write(),
                Err(_) => self.machine.handle_transport_closed(),
            },
            () = sleep_until(due.unwrap_or(self.started)), if has_deadline => {
                let now = self.now_ms();
                self.machine.handle_timeout(now);
            },
            else => self.machine.handle_transport_closed(),
        }
        self.take_outputs();
    }

    /// Turns what the machine wants sent into frames, and gathers its events.
    pub(crate) fn take_outputs(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Text(text) => self.queue(Opcode::Text, text.as_bytes()),
                Output::Binary(bytes) => self.queue(Opcode::Binary, &bytes),
                Output::Event(event) => self.events.push_back(event),
                Output::Close => self.is_over = true,
            }
        }
    }

    /// Bytes that the server has not taken yet.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// Is there nothing to do but [`Session::finish`]?
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Sends what is left, says goodbye and closes the socket.
    pub(crate) async fn finish(mut self) {
        self.queue(Opcode::Close, &CloseCode::NORMAL.get().to_be_bytes());
        let flush = async {
            self.stream.write_all(&self.unsent).await?;
            self.stream.shutdown().await
        };
        // The session is over either way.
        let _ = timeout_at(Instant::now() + FLUSH_DEADLINE, flush).await;
    }

    fn queue(&mut self, opcode: Opcode, payload: &[u8]) {
        ws::encode_masked(opcode, payload, random(), &mut self.unsent);
    }

    fn read(&mut self) {
        match self.stream.try_read(&mut self.buffer) {
            Ok(0) => self.machine.handle_transport_closed(),
            Ok(count) => {
                let mut buffer = std::mem::take(&mut self.buffer);
                self.consume(&mut buffer[..count]);
                self.buffer = buffer;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.machine.handle_transport_closed(),
        }
    }

    fn write(&mut self) {
        match self.stream.try_write(&self.unsent) {
            Ok(count) => {
                self.unsent.drain(..count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.machine.handle_transport_closed(),
        }
    }

    /// Hands what has arrived to the machine.
    fn consume(&mut self, mut input: &mut [u8]) {
        let now = self.now_ms();
        loop {
            match self.decoder.next(&mut input) {
                Ok(Some(ws::Event::Text(text))) => self.machine.handle_text(&text, now),
                Ok(Some(ws::Event::Binary(bytes))) => {
                    self.machine.handle_binary(bytes.into_owned().into());
                }
                Ok(Some(ws::Event::Ping(payload))) => {
                    ws::encode_masked(Opcode::Pong, &payload, random(), &mut self.unsent);
                }
                Ok(Some(ws::Event::Pong(_))) => {}
                Ok(None) => return,
                Ok(Some(ws::Event::Close(_))) | Err(_) => {
                    return self.machine.handle_transport_closed();
                }
            }
        }
    }

    fn now_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Fresh random bytes, for a key or a mask.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .expect("the random source of an operating system that has booted does not fail");
    bytes
}

/// What a namespace says when it refuses: a map with `message` and maybe `data`, or a bare text from old servers.
fn refusal(data: &Value) -> ConnectError {
    let message = data
        .get("message")
        .and_then(Value::as_str)
        .or(data.as_str())
        .unwrap_or("no reason given")
        .to_owned();
    ConnectError::Refused {
        message,
        data: data.get("data").cloned().unwrap_or(Value::Null),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(data: &Value, expected_message: &str, expected_data: &Value) {
        let ConnectError::Refused { message, data } = refusal(data) else {
            panic!("not a refusal")
        };
        assert_eq!((message.as_str(), &data), (expected_message, expected_data));
    }

    #[test]
    fn reads_every_kind_of_refusal() {
        let text = |text: &str| Value::Str(text.to_owned());
        let map = vec![
            ("message".to_owned(), text("no")),
            ("data".to_owned(), Value::Int(4)),
        ];
        check(&Value::Map(map), "no", &Value::Int(4));
        check(&text("no"), "no", &Value::Null);
        check(&Value::Null, "no reason given", &Value::Null);
    }
}
