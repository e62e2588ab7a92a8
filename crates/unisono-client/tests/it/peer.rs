//! The server's part, played by a script.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use unisono_proto::ws::{self, Opcode, Role};

/// The answer to every handshake; pings are far away.
const OPEN: &str = r#"0{"sid":"engine","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;

pub(crate) struct Listener {
    listener: TcpListener,
    pub(crate) url: String,
}

impl Listener {
    pub(crate) async fn bind() -> Listener {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Listener { listener, url }
    }

    /// Takes a connection, without a word.
    pub(crate) async fn accept(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    /// Takes a connection and its request's head, and answers with `status`.
    pub(crate) async fn refuse(&self, status: &str) {
        let mut peer = self.peer().await;
        peer.stream
            .write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes())
            .await
            .unwrap();
    }

    /// Takes a connection up to the open packet.
    pub(crate) async fn open_with(&self, open: &str) -> Peer {
        let mut peer = self.peer().await;
        let key = peer.header("sec-websocket-key");
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            ws::accept_key(&key)
        );
        peer.stream.write_all(head.as_bytes()).await.unwrap();
        peer.send(open).await;
        peer
    }

    /// Takes a connection and lets it into `/` as `socket`.
    pub(crate) async fn join(&self) -> Peer {
        let mut peer = self.open_with(OPEN).await;
        peer.expect("40").await;
        peer.send(r#"40{"sid":"socket"}"#).await;
        peer
    }

    pub(crate) async fn open(&self) -> Peer {
        self.open_with(OPEN).await
    }

    async fn peer(&self) -> Peer {
        let mut stream = self.accept().await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        Peer {
            stream,
            head,
            decoder: ws::Decoder::new(Role::Server, 1 << 20),
            received: Vec::new().into_iter(),
        }
    }
}

pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    /// The request's head.
    pub(crate) head: String,
    decoder: ws::Decoder,
    received: std::vec::IntoIter<Vec<u8>>,
}

impl Peer {
    pub(crate) fn header(&self, name: &str) -> String {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value);
        values
            .next()
            .unwrap_or_else(|| panic!("no {name} in {}", self.head))
            .to_owned()
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.frame(Opcode::Text, text.as_bytes()).await;
    }

    pub(crate) async fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::new();
        ws::encode(opcode, payload, &mut frame);
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The next message's payload; a close frame is `close`, the end of the stream `end`.
    pub(crate) async fn next(&mut self) -> Vec<u8> {
        loop {
            if let Some(message) = self.received.next() {
                return message;
            }
            let mut buffer = vec![0; 4096];
            let count = self.stream.read(&mut buffer).await.unwrap();
            if count == 0 {
                return b"end".to_vec();
            }
            let (mut input, mut messages) = (&mut buffer[..count], Vec::new());
            while let Some(event) = self.decoder.next(&mut input).unwrap() {
                messages.push(match event {
                    ws::Event::Text(text) => text.into_owned().into_bytes(),
                    ws::Event::Binary(bytes) | ws::Event::Ping(bytes) | ws::Event::Pong(bytes) => {
                        bytes.into_owned()
                    }
                    ws::Event::Close(_) => b"close".to_vec(),
                });
            }
            self.received = messages.into_iter();
        }
    }

    pub(crate) async fn expect(&mut self, text: &str) {
        assert_eq!(String::from_utf8_lossy(&self.next().await), text);
    }
}
