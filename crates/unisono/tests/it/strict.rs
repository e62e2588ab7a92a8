//! RFC 6455 with implementations of others on the far side: `ws` of Node.js and `websockets` of Python, as bare WebSockets that speak Engine.IO and
//! Socket.IO by hand. Both check every frame that they get (masking, reserved bits, UTF-8, control frames, the closing handshake) and name what
//! they do not accept. `hostile::rfc6455` has the other half, frames of our own making that break the rules.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use unisono::{DisconnectReason, Io, IoBuilder, Namespace, Socket};
use unisono_test::{Conversation, Peer};

use crate::raw::PATIENCE;
use crate::server::{TestServer, namespace, quick};

/// The implementations.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Far {
    Ws,
    Websockets,
}

impl Far {
    async fn start(self) -> Conversation {
        match self {
            Self::Ws => Conversation::start("peers/raw.js", &[]).await,
            Self::Websockets => Conversation::with(Peer::python("python/raw.py", &[], &[])).await,
        }
    }
}

/// Every test with each of them.
macro_rules! with_each {
    ($($test:ident)*) => {
        mod ws {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Far::Ws).await;
            })*
        }

        mod websockets {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::Far::Websockets).await;
            })*
        }
    };
}

with_each! {
    what_is_not_negotiated_is_declined
    frames_of_every_kind_and_size
    heartbeats
    the_client_closes
    the_server_closes
}

/// A server, a peer and its connections.
struct Table {
    server: TestServer,
    peer: Conversation,
    gone: UnboundedReceiver<&'static str>,
}

impl Table {
    async fn set(far: Far, configure: impl FnOnce(IoBuilder) -> IoBuilder) -> Self {
        let (sender, gone) = unbounded_channel();
        let main: Namespace = namespace("/")
            .on("kick", async |socket: Socket| socket.disconnect_and_close())
            .on_disconnect(move |reason: DisconnectReason| {
                let _ = sender.send(reason.as_str());
                std::future::ready(())
            });
        let server = TestServer::serve(configure(Io::builder().namespace(main)).build()).await;
        let peer = far.start().await;
        Self { server, peer, gone }
    }

    /// Opens a WebSocket; what its handshake came to.
    async fn try_open(&mut self, client: &str, fields: Value) -> Result<Value, String> {
        let port = self.server.port;
        let mut fields = fields;
        fields["client"] = json!(client);
        fields["url"] = json!(format!(
            "ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
        ));
        self.peer.try_command("open", fields).await
    }

    /// Opens one and joins `/`, by hand.
    async fn join(&mut self, client: &str) {
        self.try_open(client, json!({})).await.unwrap();
        let open = self.message(client).await;
        assert!(open.as_str().unwrap().starts_with("0{\"sid\":"), "{open}");
        self.send(client, json!("40")).await;
        let joined = self.message(client).await;
        assert!(joined.as_str().unwrap().starts_with("40{\"sid\":"));
        // The server tells the `auth`, of which there is none.
        assert_eq!(self.message(client).await, "42[\"auth\"]");
    }

    async fn send(&mut self, client: &str, data: Value) {
        let fields = json!({ "client": client, "data": data });
        self.peer.command("send", fields).await;
    }

    /// The next message.
    async fn message(&mut self, client: &str) -> Value {
        let mut event = self.peer.event_where(is("message", client)).await;
        event["data"].take()
    }

    /// How the connection ended for the client: the code that it got, and the rule that it saw broken.
    async fn closed(&mut self, client: &str) -> (u64, Value) {
        let mut event = self.peer.event_where(is("closed", client)).await;
        (event["code"].as_u64().unwrap(), event["error"].take())
    }
}

fn is<'c>(name: &'c str, client: &'c str) -> impl Fn(&Value) -> bool + 'c {
    move |event| event["event"] == name && event["client"] == client
}

/// Both offer permessage-deflate. The answer has what section 4.2.2 asks for, nothing of extensions, and of the subprotocols offered the first.
async fn what_is_not_negotiated_is_declined(far: Far) {
    let mut table = Table::set(far, |io| io).await;
    let opened = table.try_open("a", json!({})).await.unwrap();
    assert_eq!(
        (&opened["extensions"], &opened["subprotocol"]),
        (&json!(""), &json!(""))
    );
    let headers = opened["headers"].as_array().unwrap();
    let value = |name: &str| {
        let mut found = headers.iter().filter(|header| {
            let found = header[0].as_str().unwrap();
            found.eq_ignore_ascii_case(name)
        });
        let value = found.next().map(|header| header[1].as_str().unwrap());
        assert!(found.next().is_none(), "{name} twice");
        value
    };
    assert_eq!(value("upgrade"), Some("websocket"));
    assert_eq!(value("connection"), Some("Upgrade"));
    assert_eq!(value("sec-websocket-accept").map(str::len), Some(28));
    let unexpected = [
        "sec-websocket-extensions",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "transfer-encoding",
        "content-length",
    ];
    for name in unexpected {
        assert_eq!(value(name), None, "{name}");
    }
    // Without one of those that it offered, `ws` ends the connection itself, as browsers do.
    let offered = json!({ "subprotocols": ["chat", "superchat"] });
    let opened = table.try_open("b", offered).await.unwrap();
    assert_eq!(opened["subprotocol"], "chat");
}

/// Texts at every border of the frame header's length and bytes beside them, whole and in fragments with pings between.
async fn frames_of_every_kind_and_size(far: Far) {
    let mut table = Table::set(far, |io| io).await;
    table.join("a").await;
    for len in [25, 125, 126, 127, 65_535, 65_536, 999_990] {
        let text = "x".repeat(len - 16);
        table
            .send("a", json!(format!("42[\"message\",\"{text}\"]")))
            .await;
        let echoed = format!("42[\"message-back\",\"{text}\"]");
        assert_eq!(table.message("a").await, echoed, "{len}");
    }
    for bytes in [json!({ "$bin": "" }), json!({ "$bin": "AAH+/w==" })] {
        let placeholder = "{\"_placeholder\":true,\"num\":0}";
        table
            .send("a", json!(format!("451-[\"message\",{placeholder}]")))
            .await;
        table.send("a", bytes.clone()).await;
        let echoed = format!("451-[\"message-back\",{placeholder}]");
        assert_eq!(table.message("a").await, echoed);
        assert_eq!(table.message("a").await, bytes);
    }
    let fragments = ["42[\"mess", "age\",\"\u{20ac}", "", "\u{1f600}\"", "]"];
    let fields = json!({ "client": "a", "fragments": fragments });
    table.peer.command("send_fragments", fields).await;
    assert_eq!(
        table.message("a").await,
        "42[\"message-back\",\"\u{20ac}\u{1f600}\"]"
    );
    for payload in ["", "p", &"p".repeat(125)] {
        let fields = json!({ "client": "a", "data": payload });
        let pong = table.peer.command("ping", fields).await;
        // One of the two hands the bytes on, the other says that they were the same.
        let bytes = json!({ "$bin": STANDARD.encode(payload) });
        assert!(pong == payload || pong == bytes, "{pong}");
    }
    assert!(
        table
            .server
            .io
            .stats()
            .refused
            .iter()
            .all(|(_, count)| *count == 0)
    );
}

/// Engine.IO's ping and its answer, for longer than every time-out, and a silent client's end.
async fn heartbeats(far: Far) {
    let mut table = Table::set(far, quick).await;
    table.join("a").await;
    for _ in 0..3 {
        assert_eq!(table.message("a").await, "2");
        table.send("a", json!("3")).await;
    }
    table.send("a", json!("42[\"message\",1]")).await;
    assert_eq!(table.message("a").await, "42[\"message-back\",1]");
    assert_eq!(table.message("a").await, "2");
    assert_eq!(table.closed("a").await, (1005, Value::Null));
    assert_eq!(table.gone.recv().await, Some("ping timeout"));
}

/// The closing handshake begun by the client: its own code comes back, and the server ends the TCP connection.
async fn the_client_closes(far: Far) {
    let mut table = Table::set(far, |io| io).await;
    for code in [1000, 1001, 1002, 1007, 1009, 1011, 3000, 4999] {
        let client = code.to_string();
        table.join(&client).await;
        let fields = json!({ "client": client, "code": code, "reason": "\u{20ac} enough" });
        table.peer.command("close", fields).await;
        assert_eq!(table.closed(&client).await, (code, Value::Null));
        assert_eq!(table.gone.recv().await, Some("transport close"), "{code}");
    }
    assert!(
        table
            .server
            .io
            .stats()
            .refused
            .iter()
            .all(|(_, count)| *count == 0)
    );
}

/// The closing handshake begun by the server, for each of its reasons.
async fn the_server_closes(far: Far) {
    let mut table = Table::set(far, |io| io.max_payload(1000)).await;
    let invalid = json!({ "$bin": STANDARD.encode(b"42[\"message\",\"\xff\"]") });
    let too_large = json!("x".repeat(1001));
    let unmasked = json!("42[\"message\",1]");
    let text = |data: &Value| json!({ "data": data, "text": true });
    for (what, command, mut fields, code, refusal) in [
        (
            "too large",
            "send",
            text(&too_large),
            1009,
            Some("too_large"),
        ),
        ("not UTF-8", "send", text(&invalid), 1007, Some("frame")),
        (
            "not masked",
            "send_unmasked",
            text(&unmasked),
            1002,
            Some("frame"),
        ),
        (
            "its own will",
            "send",
            text(&json!("42[\"kick\"]")),
            1005,
            None,
        ),
    ] {
        table.join(what).await;
        let before = refusal.map(|name| table.server.refused(name));
        fields["client"] = json!(what);
        table.peer.command(command, fields).await;
        if refusal.is_none() {
            assert_eq!(table.message(what).await, "41");
        }
        assert_eq!(table.closed(what).await, (code, Value::Null), "{what}");
        assert!(table.gone.recv().await.is_some());
        let after = refusal.map(|name| table.server.refused(name));
        assert_eq!(after, before.map(|count| count + 1), "{what}");
    }
    table.join("drained").await;
    assert!(table.server.io.drain(PATIENCE).await, "somebody was left");
    let (code, error) = table.closed("drained").await;
    assert_eq!((code, error), (1005, Value::Null));
}

/// Names of headers and the two values that are tokens may be written in either case (section 4.2.1), and `Connection` may be a list, as Firefox has it.
#[tokio::test]
async fn a_handshake_may_be_written_in_either_case() {
    let server = TestServer::start().await;
    for headers in [
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13",
        "connection: upgrade\r\nupgrade: WebSocket\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13",
        "CONNECTION: keep-alive, UPGRADE\r\nUPGRADE: WEBSOCKET\r\nSEC-WEBSOCKET-KEY: AAAAAAAAAAAAAAAAAAAAAA==\r\nSEC-WEBSOCKET-VERSION: 13",
        "cOnNeCtIoN: Keep-Alive,Upgrade\r\nuPgRaDe: wEbSoCkEt\r\nSec-Websocket-Key:AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-Websocket-Version:13",
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port))
            .await
            .unwrap();
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{headers}: {head}");
    }
}
