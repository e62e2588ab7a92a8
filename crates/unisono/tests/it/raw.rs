//! Bytes on a socket: requests and frames as a hostile or careless peer would send them.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use unisono_proto::ws::{self, Event, Opcode, Role};

/// No answer within this time is a failure, not slowness.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
    /// The body as it came.
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .next()
    }
}

/// Sends one request on a connection of its own.
pub(crate) async fn request(
    port: u16,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> Answer {
    request_bytes(port, method, target, headers, body.as_bytes()).await
}

/// The same with any body.
pub(crate) async fn request_bytes(
    port: u16,
    method: &str,
    target: &str,
    headers: &str,
    body: &[u8],
) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let length = if method == "POST" {
        format!("Content-Length: {}\r\n", body.len())
    } else {
        String::new()
    };
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n{length}{headers}\r\n"
    );
    let request = [head.as_bytes(), body].concat();
    stream.write_all(&request).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("an answer in time")
        .unwrap();
    parse(&answer)
}

pub(crate) fn parse(answer: &[u8]) -> Answer {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n");
    let (head, bytes) = end.map_or((answer, &[][..]), |end| {
        (&answer[..end], &answer[end + 4..])
    });
    let (head, body) = (
        String::from_utf8_lossy(head),
        String::from_utf8_lossy(bytes),
    );
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .unwrap_or(0);
    Answer {
        status,
        head: head.into_owned(),
        body: body.into_owned(),
        bytes: bytes.to_vec(),
    }
}

/// The answer whose beginning is in `bytes`, with all of its body.
async fn with_body(mut stream: TcpStream, mut bytes: Vec<u8>) -> Answer {
    loop {
        let answer = parse(&bytes);
        let length = answer.header("content-length").map_or(Ok(0), str::parse);
        if answer.body.len() >= length.expect("a length is a number") {
            return answer;
        }
        let n = timeout(PATIENCE, stream.read_buf(&mut bytes)).await;
        assert_ne!(n.expect("a body in time").unwrap(), 0, "{answer:?}");
    }
}

pub(crate) async fn get(port: u16, query: &str) -> Answer {
    request(port, "GET", &format!("/socket.io/?{query}"), "", "").await
}

/// Opens a polling session and joins nothing.
pub(crate) async fn open(port: u16) -> String {
    let answer = get(port, "EIO=4&transport=polling").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    sid_of(&answer.body)
}

pub(crate) fn sid_of(open: &str) -> String {
    let start = open.find("\"sid\":\"").expect("an open packet") + 7;
    open[start..start + 20].to_owned()
}

pub(crate) async fn poll(port: u16, sid: &str) -> Answer {
    get(port, &format!("EIO=4&transport=polling&sid={sid}")).await
}

pub(crate) async fn post(port: u16, sid: &str, body: &str) -> Answer {
    request(
        port,
        "POST",
        &format!("/socket.io/?EIO=4&transport=polling&sid={sid}"),
        "",
        body,
    )
    .await
}

/// A WebSocket without any manners of its own.
pub(crate) struct RawSocket {
    pub(crate) stream: TcpStream,
    decoder: ws::Decoder,
    pending: Vec<u8>,
    /// How far `pending` is decoded.
    at: usize,
    pub(crate) head: String,
}

/// What came over a [`RawSocket`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    /// The end of the stream.
    End,
}

impl RawSocket {
    /// Opens a WebSocket; `query` as it stands.
    pub(crate) async fn connect(port: u16, query: &str) -> Self {
        Self::try_connect(port, query, "")
            .await
            .unwrap_or_else(|answer| panic!("refused: {answer:?}"))
    }

    /// Opens a WebSocket of a server under another path; `target` is the path and the query.
    pub(crate) async fn connect_to(port: u16, target: &str) -> Result<Self, Answer> {
        Self::handshake(port, target, "", &[]).await
    }

    /// Opens a WebSocket and sends `frames` with the request, before the answer.
    pub(crate) async fn eager(port: u16, query: &str, frames: &[u8]) -> Self {
        Self::handshake(port, &format!("/socket.io/?{query}"), "", frames)
            .await
            .unwrap_or_else(|answer| panic!("refused: {answer:?}"))
    }

    pub(crate) async fn try_connect(port: u16, query: &str, headers: &str) -> Result<Self, Answer> {
        Self::handshake(port, &format!("/socket.io/?{query}"), headers, &[]).await
    }

    async fn handshake(
        port: u16,
        target: &str,
        headers: &str,
        frames: &[u8],
    ) -> Result<Self, Answer> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        let request = [head.as_bytes(), frames].concat();
        stream.write_all(&request).await.unwrap();
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            let n = timeout(PATIENCE, stream.read_buf(&mut bytes))
                .await
                .expect("an answer in time")
                .unwrap();
            assert_ne!(
                n,
                0,
                "the server hung up: {}",
                String::from_utf8_lossy(&bytes)
            );
        };
        let answer = parse(&bytes[..end]);
        if answer.status != 101 {
            return Err(with_body(stream, bytes).await);
        }
        let decoder = ws::Decoder::new(Role::Client, 64 << 20);
        Ok(Self {
            stream,
            decoder,
            pending: bytes.split_off(end),
            at: 0,
            head: answer.head,
        })
    }

    /// Connects, opens and joins a main namespace that greets nobody.
    pub(crate) async fn enter(port: u16) -> Self {
        let mut socket = Self::connect(port, "EIO=4&transport=websocket").await;
        assert!(socket.text().await.starts_with("0{"));
        socket.send("40").await;
        assert!(socket.text().await.starts_with("40{\"sid\""));
        socket
    }

    /// Connects, opens and joins the main namespace.
    pub(crate) async fn join(port: u16) -> Self {
        let mut socket = Self::enter(port).await;
        assert!(socket.text().await.starts_with("42[\"auth\""));
        socket
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.send_frame(Opcode::Text, text.as_bytes()).await;
    }

    pub(crate) async fn send_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::new();
        ws::encode_masked(opcode, payload, [1, 2, 3, 4], &mut frame);
        self.send_raw(&frame).await;
    }

    /// A peer that is being closed may refuse: what it answers is read afterwards.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    pub(crate) async fn next(&mut self) -> Frame {
        timeout(PATIENCE, self.read())
            .await
            .expect("a frame in time")
    }

    /// The next text frame.
    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Frame::Text(text) => text,
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// Everything until the connection ends, pings left out.
    pub(crate) async fn until_end(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            match self.next().await {
                Frame::End => return frames,
                Frame::Text(text) if text == "2" => {}
                frame => frames.push(frame),
            }
        }
    }

    async fn read(&mut self) -> Frame {
        loop {
            let mut input = &mut self.pending[self.at..];
            let before = input.len();
            let frame = match self.decoder.next(&mut input).expect("well-formed frames") {
                Some(Event::Text(text)) => Some(Frame::Text(text.into_owned())),
                Some(Event::Binary(bytes)) => Some(Frame::Binary(bytes.into_owned())),
                Some(Event::Pong(bytes)) => Some(Frame::Pong(bytes.into_owned())),
                Some(Event::Close(code)) => Some(Frame::Close(code.map(|code| code.get()))),
                Some(Event::Ping(_)) => panic!("Socket.IO servers do not ping at this layer"),
                None => None,
            };
            self.at += before - input.len();
            if let Some(frame) = frame {
                return frame;
            }
            self.pending.clear();
            self.at = 0;
            let mut buffer = vec![0; 65_536];
            match self.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return Frame::End,
                Ok(n) => self.pending.extend_from_slice(&buffer[..n]),
            }
        }
    }
}
