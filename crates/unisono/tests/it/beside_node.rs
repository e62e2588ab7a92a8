//! The same bytes to a real Node.js server and to ours, where what happens is a matter of order.

use serde_json::json;
use unisono::{Ack, Args, EventError, Io, Namespace, Socket, Value};
use unisono_proto::ws::{Opcode, encode_masked};
use unisono_test::Conversation;

use crate::raw::{Frame, RawSocket, open, poll, post};
use crate::server::{Spread, TestServer};

/// What the Node pod does, as far as it is asked here.
fn namespace(name: &str) -> Namespace {
    Namespace::new(name)
        .packet_middleware(async |event: unisono::Event, ack: Ack| {
            if event.name() == Some("answer-twice") {
                ack.send(&1).unwrap();
            }
            Ok::<_, EventError>(event)
        })
        .on("answer-twice", async |ack: Ack| ack.send(&2).unwrap())
        .on("echo", async |socket: Socket, Args(args): Args| {
            socket.emit("echo", &Spread(args)).unwrap();
        })
        .on("say", async |socket: Socket, Args(args): Args| {
            socket.emit("said", &Spread(args)).unwrap();
        })
        .on("end", async |socket: Socket, Args(args): Args| {
            match args.first().and_then(Value::as_bool) {
                Some(true) => socket.disconnect_and_close(),
                _ => socket.disconnect(),
            }
        })
}

struct Servers {
    node: Conversation,
    ours: TestServer,
}

impl Servers {
    async fn start() -> Self {
        let node = [("NAMESPACES", "/a,/waits")];
        let node = Conversation::start("peers/node-pod.js", &node).await;
        let patient = namespace("/waits").middleware(async || {
            tokio::task::yield_now().await;
            Ok(())
        });
        let io = Io::builder()
            .namespace(namespace("/"))
            .namespace(namespace("/a"))
            .namespace(patient);
        let ours = TestServer::serve(io.build()).await;
        Self { node, ours }
    }

    /// What they are called in a failure, and where they listen.
    fn ports(&self) -> [(&'static str, u16); 2] {
        let node = self.node.ready["port"].as_u64().unwrap();
        [("Node", node as u16), ("unisono", self.ours.port)]
    }
}

/// Sends texts in one write, which a server finds in one read.
async fn send_together(socket: &mut RawSocket, texts: &[&str]) {
    let mut bytes = Vec::new();
    for text in texts {
        encode_masked(Opcode::Text, text.as_bytes(), [9; 4], &mut bytes);
    }
    socket.send_raw(&bytes).await;
}

/// What the client hears until it is told that the echo of `last` is there; ids left out.
async fn heard(socket: &mut RawSocket, last: &str) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        let text = socket.text().await;
        if text == last {
            return heard;
        }
        heard.push(text.split('{').next().unwrap_or_default().to_owned());
    }
}

#[tokio::test]
async fn whoever_asks_twice_before_the_answer_is_in() {
    let servers = Servers::start().await;
    for (name, port) in servers.ports() {
        let mut socket = RawSocket::enter(port).await;
        send_together(&mut socket, &["40/a,", "40/a,"]).await;
        let joined = [socket.text().await, socket.text().await];
        assert!(joined.iter().all(|text| text.starts_with("40/a,{\"sid\"")));
        assert_ne!(joined[0], joined[1], "{name}");
        // While middleware runs, Node lets both in, and the first of them stays although nothing ever reaches it. Ours lets the last in.
        send_together(&mut socket, &["40/waits,", "40/waits,"]).await;
        let first = socket.text().await;
        assert!(first.starts_with("40/waits,{\"sid\""), "{name}: {first}");
        if name == "Node" {
            assert!(socket.text().await.starts_with("40/waits,{\"sid\""));
        }
        for nsp in ["/waits", "/a"] {
            socket.send(&format!("42{nsp},[\"echo\",1]")).await;
            let echo = format!("42{nsp},[\"echo\",1]");
            assert_eq!(socket.text().await, echo, "{name}");
        }
        // Whoever has been answered and asks again breaks the protocol.
        socket.send("40/a,").await;
        assert_eq!(socket.next().await, Frame::Close(None), "{name}");
    }
    assert_eq!(servers.ours.refused("packet"), 1);
}

#[tokio::test]
async fn events_behind_the_one_that_ends_their_socket_are_dropped() {
    let servers = Servers::start().await;
    for (name, port) in servers.ports() {
        let mut socket = RawSocket::enter(port).await;
        socket.send("40/a,").await;
        assert!(socket.text().await.starts_with("40/a,"));
        let say = "42[\"say\",1]";
        send_together(&mut socket, &["42[\"end\"]", say, say, say]).await;
        socket.send("42/a,[\"say\",2]").await;
        let heard = heard(&mut socket, "42/a,[\"said\",2]").await;
        assert_eq!(heard, ["41"], "{name}");
        // The same where the connection ends, with its other sockets.
        socket.send("40").await;
        assert!(socket.text().await.starts_with("40{"), "{name}");
        send_together(&mut socket, &["42[\"end\",true]", say, say]).await;
        let mut told = [socket.text().await, socket.text().await];
        told.sort();
        assert_eq!(told, ["41", "41/a,"], "{name}");
        assert_eq!(socket.next().await, Frame::Close(None), "{name}");
    }
}

#[tokio::test]
async fn an_event_is_answered_once() {
    let servers = Servers::start().await;
    for (name, port) in servers.ports() {
        let mut socket = RawSocket::enter(port).await;
        send_together(&mut socket, &["427[\"answer-twice\"]", "42[\"echo\"]"]).await;
        assert_eq!(socket.text().await, "437[1]", "{name}");
        assert_eq!(socket.text().await, "42[\"echo\"]", "{name}");
    }
}

#[tokio::test]
async fn whoever_is_ended_during_its_upgrade_hears_of_it_on_the_websocket() {
    let servers = Servers::start().await;
    for (name, port) in servers.ports() {
        let sid = open(port).await;
        assert_eq!(post(port, &sid, "40").await.body, "ok");
        assert!(poll(port, &sid).await.body.starts_with("40{"), "{name}");
        let waiting = {
            let sid = sid.clone();
            tokio::spawn(async move { poll(port, &sid).await.body })
        };
        let query = format!("EIO=4&transport=websocket&sid={sid}");
        let mut socket = RawSocket::connect(port, &query).await;
        socket.send("2probe").await;
        assert_eq!(socket.text().await, "3probe", "{name}");
        // The client pauses its polling.
        assert_eq!(waiting.await.unwrap(), "6", "{name}");
        let end = json!(["end", true]);
        assert_eq!(post(port, &sid, &format!("42{end}")).await.body, "ok");
        socket.send("5").await;
        // Without it a stock client comes back by itself.
        assert_eq!(socket.text().await, "41", "{name}");
        assert_eq!(socket.next().await, Frame::Close(None), "{name}");
    }
    assert_eq!(servers.ours.refused("upgrade"), 0);
}
