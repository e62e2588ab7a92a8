//! A pod of either kind, behind one set of commands, with results in one spelling.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use unisono::{Adapter, Broadcast, Io, LinkState, ServerSide, Space};
use unisono_redis::{RedisBroker, RedisConfig};
use unisono_test::{Conversation, RedisServer, await_until};

use crate::mixed::from_json;
use crate::raw::PATIENCE;
use crate::server::{Spread, TestServer, namespace};

/// How long requests wait here: what is there comes in milliseconds, and some tests wait for what does not come.
pub(crate) const REQUESTS_TIMEOUT: Duration = Duration::from_secs(3);

/// A namespace of all pods beside `/`.
pub(crate) const SECOND: &str = "/second";

/// One of ours.
pub(crate) struct Ours {
    pub(crate) server: TestServer,
    /// Names and arguments of the server-side events that it got.
    pub(crate) events: mpsc::UnboundedReceiver<Value>,
}

pub(crate) enum Pod {
    Node(Box<Conversation>),
    Ours(Ours),
}

impl Ours {
    /// `private` is `publish_on_specific_response_channel`.
    pub(crate) async fn start(redis: &RedisServer, private: bool, adapter: Adapter) -> Self {
        Self::with(redis, private, adapter, REQUESTS_TIMEOUT).await
    }

    /// One that waits so long for the others.
    pub(crate) async fn patient(redis: &RedisServer, timeout: Duration) -> Self {
        Self::with(redis, false, Adapter::Classic, timeout).await
    }

    async fn with(redis: &RedisServer, private: bool, adapter: Adapter, timeout: Duration) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let answer = move |event: ServerSide| {
            let args: Vec<Value> = event.args.iter().map(to_json).collect();
            let _ = sender.send(json!({ "args": args, "ack": event.ack.is_wanted() }));
            async move { event.ack.send(&json!({ "from": "ours" })).unwrap() }
        };
        let config = RedisConfig::parse(&redis.url()).unwrap();
        let broker = RedisBroker::start(config.speaking(adapter));
        let io = Io::builder()
            .namespace(namespace("/").on_server_side("sse", answer))
            .namespace(namespace(SECOND))
            .broker(Arc::new(broker), "socket.io")
            .requests_timeout(timeout)
            .publish_on_specific_response_channel(private)
            .build();
        let server = TestServer::serve(io).await;
        await_until("the pod to be subscribed", PATIENCE, || {
            server.io.link_state() == LinkState::Subscribed
        })
        .await;
        Self { server, events }
    }

    pub(crate) fn space(&self) -> Space {
        self.server.io.of("/").unwrap()
    }
}

impl Pod {
    /// Those that answer privately use the other client library.
    pub(crate) async fn node(redis: &RedisServer, private: bool, adapter: Adapter) -> Self {
        let url = redis.url();
        let library = if private { "redis" } else { "ioredis" };
        let timeout = REQUESTS_TIMEOUT.as_millis().to_string();
        let environment = [
            ("REDIS_URL", url.as_str()),
            ("REDIS_CLIENT", library),
            ("REQUESTS_TIMEOUT_MS", timeout.as_str()),
            ("SPECIFIC_RESPONSES", if private { "1" } else { "" }),
            ("REDIS_ADAPTER", adapter.as_str()),
            ("SUBSCRIPTION_MODE", mode_of(adapter)),
            ("NAMESPACES", SECOND),
        ];
        let pod = Conversation::start("peers/node-pod.js", &environment).await;
        Self::Node(Box::new(pod))
    }

    pub(crate) async fn ours(redis: &RedisServer, private: bool, adapter: Adapter) -> Self {
        Self::Ours(Ours::start(redis, private, adapter).await)
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Node(node) => node.ready["url"].as_str().unwrap().to_owned(),
            Self::Ours(ours) => ours.server.url(),
        }
    }

    /// First arguments of the acknowledgements, and whether they are all.
    pub(crate) async fn emit_ack(
        &mut self,
        target: &Target<'_>,
        event: &str,
        args: Value,
        timeout: Duration,
    ) -> (Vec<Value>, bool) {
        match self {
            Self::Node(node) => {
                let mut fields = target.fields();
                fields["event"] = event.into();
                fields["args"] = args;
                fields["timeout_ms"] = (timeout.as_millis() as u64).into();
                let mut reply = node.reply("emit_ack", fields).await;
                let answers = reply["value"].as_array_mut().map(std::mem::take);
                (answers.unwrap_or_default(), reply["ok"] == true)
            }
            Self::Ours(ours) => {
                let broadcast = target.of(&ours.space());
                let args = Spread(from_json(&args));
                let acks = broadcast.emit_with_ack(event, &args, timeout);
                let acks = acks.await.unwrap();
                let complete = acks.is_complete();
                (acks.first_arguments().map(to_json).collect(), complete)
            }
        }
    }

    /// `[{id, rooms, data, handshake}]`, or an error if somebody did not answer.
    pub(crate) async fn fetch(&mut self, target: &Target<'_>) -> Result<Vec<Value>, String> {
        match self {
            Self::Node(node) => {
                let mut sockets = node.try_command("fetch_sockets", target.fields()).await?;
                Ok(std::mem::take(sockets.as_array_mut().unwrap()))
            }
            Self::Ours(ours) => {
                let sockets = target.of(&ours.space()).fetch_sockets().await.unwrap();
                if !sockets.nodes.have_all_answered() {
                    return Err(format!("{:?}", sockets.nodes));
                }
                Ok(sockets.into_iter().map(|socket| shown(&socket)).collect())
            }
        }
    }

    pub(crate) async fn join(&mut self, target: &Target<'_>, rooms: &[&str]) {
        match self {
            Self::Node(node) => {
                let mut fields = target.fields();
                fields["join"] = json!(rooms);
                node.command("sockets_join", fields).await;
            }
            Self::Ours(ours) => target.of(&ours.space()).sockets_join(rooms).unwrap(),
        }
    }

    pub(crate) async fn leave(&mut self, target: &Target<'_>, rooms: &[&str]) {
        match self {
            Self::Node(node) => {
                for room in rooms {
                    let mut fields = target.fields();
                    fields["leave"] = json!(room);
                    node.command("sockets_leave", fields).await;
                }
            }
            Self::Ours(ours) => target.of(&ours.space()).sockets_leave(rooms).unwrap(),
        }
    }

    pub(crate) async fn disconnect(&mut self, target: &Target<'_>, close: bool) {
        match self {
            Self::Node(node) => {
                let mut fields = target.fields();
                fields["close"] = close.into();
                node.command("disconnect_sockets", fields).await;
            }
            Self::Ours(ours) => target.of(&ours.space()).disconnect_sockets(close).unwrap(),
        }
    }

    pub(crate) async fn all_rooms(&mut self) -> Vec<String> {
        match self {
            Self::Node(node) => {
                let rooms = node.command("all_rooms", json!({})).await;
                serde_json::from_value(rooms).unwrap()
            }
            Self::Ours(ours) => {
                let rooms = ours.space().all_rooms().await.unwrap();
                assert!(rooms.nodes.have_all_answered(), "{:?}", rooms.nodes);
                rooms.answers
            }
        }
    }

    pub(crate) async fn server_count(&mut self) -> u64 {
        match self {
            Self::Node(node) => node
                .command("server_count", json!({}))
                .await
                .as_u64()
                .unwrap(),
            Self::Ours(ours) => ours.space().server_count().await.unwrap() as u64,
        }
    }

    pub(crate) async fn server_side_emit(&mut self, args: Value) {
        match self {
            Self::Node(node) => {
                let fields = json!({ "event": "sse", "args": args });
                node.command("server_side_emit", fields).await;
            }
            Self::Ours(ours) => {
                let args = Spread(from_json(&args));
                ours.space().server_side_emit("sse", &args).unwrap();
            }
        }
    }

    /// The answers, or an error if somebody did not answer.
    pub(crate) async fn server_side_ask(&mut self, args: Value) -> Result<Vec<Value>, String> {
        match self {
            Self::Node(node) => {
                let fields = json!({ "event": "sse", "args": args, "ack": true });
                let mut answers = node.try_command("server_side_emit", fields).await?;
                Ok(std::mem::take(answers.as_array_mut().unwrap()))
            }
            Self::Ours(ours) => {
                let args = Spread(from_json(&args));
                let asked = ours.space();
                let answers = asked.server_side_emit_with_ack("sse", &args).await.unwrap();
                if !answers.nodes.have_all_answered() {
                    return Err(format!("{:?}", answers.nodes));
                }
                Ok(answers.answers.iter().map(to_json).collect())
            }
        }
    }

    /// The next server-side event that it got: its arguments, and whether an answer is wanted.
    pub(crate) async fn server_side_event(&mut self) -> Value {
        match self {
            Self::Node(node) => {
                let event = node.event_where(|e| e["event"] == "server_side").await;
                json!({ "args": event["args"], "ack": event["ack"] })
            }
            Self::Ours(ours) => ours.events.recv().await.unwrap(),
        }
    }
}

/// As `e2e/peers/redis.js` takes it.
pub(crate) fn mode_of(adapter: Adapter) -> &'static str {
    match adapter {
        Adapter::Classic => "",
        Adapter::Sharded(mode) => mode.as_str(),
    }
}

/// Whom something is for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Target<'a> {
    pub(crate) rooms: &'a [&'a str],
    pub(crate) except: &'a [&'a str],
}

impl<'a> Target<'a> {
    pub(crate) fn to(rooms: &'a [&'a str]) -> Self {
        Self { rooms, except: &[] }
    }

    pub(crate) fn fields(&self) -> Value {
        json!({ "rooms": self.rooms, "except": self.except })
    }

    fn of(&self, space: &Space) -> Broadcast {
        let to = |all: Broadcast, room: &&str| all.to(room);
        let all = self.rooms.iter().fold(space.broadcast(), to);
        self.except.iter().fold(all, |all, room| all.except(room))
    }
}

/// As the Node.js pod shows it.
fn shown(socket: &unisono::RemoteSocket) -> Value {
    let handshake = socket.handshake();
    let headers: serde_json::Map<_, _> = handshake
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    let query: serde_json::Map<_, _> = handshake
        .query
        .iter()
        .map(|(name, value)| (name.clone(), to_json(value)))
        .collect();
    let data = match to_json(socket.data()) {
        Value::Null => json!({}),
        data => data,
    };
    json!({
        "id": socket.id(),
        "rooms": socket.rooms(),
        "data": data,
        "handshake": {
            "headers": headers,
            "time": handshake.time,
            "address": handshake.address,
            "xdomain": handshake.xdomain,
            "secure": handshake.secure,
            "issued": handshake.issued_ms,
            "url": handshake.url,
            "query": query,
            "auth": to_json(&handshake.auth),
        },
    })
}

/// Byte strings as the peers write them.
pub(crate) fn to_json(value: &unisono::Value) -> Value {
    use base64::Engine as _;
    match value {
        unisono::Value::Bin(bytes) => {
            json!({ "$bin": base64::engine::general_purpose::STANDARD.encode(bytes) })
        }
        unisono::Value::Array(items) => items.iter().map(to_json).collect(),
        unisono::Value::Map(pairs) => pairs
            .iter()
            .map(|(key, value)| (key.clone(), to_json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => serde_json::to_value(other).unwrap(),
    }
}
