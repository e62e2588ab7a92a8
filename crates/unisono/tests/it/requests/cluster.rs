//! Four pods on one Redis, with the same sockets whatever the pods are.

use std::collections::HashMap;

use serde_json::{Value, json};
use unisono::Adapter;
use unisono_test::{Conversation, RedisServer};

use super::pods::{Pod, Target};

/// One client on each pod, in turn in room `a` and in room `b`; all are in `lobby`.
pub(crate) const CLIENTS: [&str; 4] = ["c0", "c1", "c2", "c3"];

pub(crate) struct Cluster {
    pub(crate) pods: Vec<Pod>,
    pub(crate) clients: Conversation,
    /// Clients by the ids of their sockets.
    names: HashMap<String, String>,
    pub(crate) redis: RedisServer,
    pub(crate) adapter: Adapter,
}

impl Cluster {
    /// Two pods of Node.js and two of ours; of each kind one answers privately.
    pub(crate) async fn mixed() -> Self {
        Self::mixed_speaking(Adapter::Classic).await
    }

    pub(crate) async fn mixed_speaking(adapter: Adapter) -> Self {
        let redis = RedisServer::start();
        let pods = vec![
            Pod::node(&redis, false, adapter).await,
            Pod::ours(&redis, false, adapter).await,
            Pod::node(&redis, true, adapter).await,
            Pod::ours(&redis, true, adapter).await,
        ];
        Self::with(redis, pods, adapter).await
    }

    /// Four pods of Node.js.
    pub(crate) async fn all_node(adapter: Adapter) -> Self {
        let redis = RedisServer::start();
        let mut pods = Vec::new();
        for index in 0..4 {
            pods.push(Pod::node(&redis, index >= 2, adapter).await);
        }
        Self::with(redis, pods, adapter).await
    }

    async fn with(redis: RedisServer, pods: Vec<Pod>, adapter: Adapter) -> Self {
        let clients = Conversation::clients().await;
        let mut cluster = Self {
            pods,
            clients,
            names: HashMap::new(),
            redis,
            adapter,
        };
        for (pod, name) in CLIENTS.iter().enumerate() {
            let room = ["a", "b"][pod % 2];
            cluster.open(name, pod, &["lobby", room]).await;
            let answer = [
                json!([name, 2]),
                json!([{ "name": name, "bin": { "$bin": "Bw==" } }]),
            ];
            for (event, args) in ["who", "what"].iter().zip(answer) {
                let fields = json!({ "client": name, "event": event, "args": args });
                cluster.clients.command("answer", fields).await;
            }
        }
        // Answers with nothing, and the only one to know that event.
        let fields = json!({ "client": "c2", "event": "one", "args": [] });
        cluster.clients.command("answer", fields).await;
        cluster
    }

    /// A client of one of the pods.
    pub(crate) async fn open(&mut self, name: &str, pod: usize, rooms: &[&str]) {
        let url = format!("{}/?k=v%20w", self.pods[pod].url());
        let fields = json!({
            "client": name,
            "url": url,
            "transports": ["websocket"],
            "auth": { "token": name },
        });
        let socket = self.clients.command("open", fields).await;
        let id = socket["socket"].as_str().unwrap().to_owned();
        self.names.insert(id, name.to_owned());
        self.clients.emit_ack(name, "join", json!(rooms)).await;
    }

    /// The name of the client whose id it is, or what it was.
    fn named(&self, room: &str) -> String {
        self.names.get(room).cloned().unwrap_or(room.to_owned())
    }

    /// What a pod fetches, without what differs from one run to the next, in order.
    pub(crate) async fn fetch(&mut self, from: usize, target: &Target<'_>) -> Vec<Value> {
        let fetched = self.pods[from].fetch(target).await;
        let fetched = fetched.unwrap_or_else(|error| panic!("pod {from}: {error}"));
        let mut sockets: Vec<_> = fetched.into_iter().map(|s| self.comparable(s)).collect();
        sockets.sort_by_key(|socket| socket["id"].to_string());
        sockets
    }

    /// The names of the clients that a pod fetches, in order.
    pub(crate) async fn fetch_names(&mut self, from: usize, target: &Target<'_>) -> Vec<String> {
        let sockets = self.fetch(from, target).await;
        let names = sockets.iter().map(|s| s["id"].as_str().unwrap().to_owned());
        names.collect()
    }

    /// A socket with names for ids, and the kind of what is never the same.
    fn comparable(&self, mut socket: Value) -> Value {
        let id = socket["id"].as_str().unwrap();
        assert_eq!(socket["rooms"][0], id, "its own id comes first");
        socket["id"] = self.named(id).into();
        let rooms = socket["rooms"].as_array().unwrap();
        let mut rooms: Vec<_> = rooms
            .iter()
            .map(|r| self.named(r.as_str().unwrap()))
            .collect();
        rooms.sort();
        socket["rooms"] = rooms.into();
        let handshake = &mut socket["handshake"];
        let time = handshake["time"].as_str().unwrap();
        assert!(time.ends_with(" GMT+0000 (Coordinated Universal Time)"));
        let issued = handshake["issued"].as_u64().unwrap();
        assert!(issued > 1_700_000_000_000, "milliseconds since 1970");
        handshake["time"] = time.len().into();
        handshake["issued"] = true.into();
        let headers = handshake["headers"].as_object_mut().unwrap();
        for once in ["host", "sec-websocket-key"] {
            assert!(headers[once].is_string());
            headers[once] = true.into();
        }
        socket
    }

    /// What a pod says of all rooms, in order.
    pub(crate) async fn all_rooms(&mut self, from: usize) -> Vec<String> {
        let rooms = self.pods[from].all_rooms().await;
        let mut rooms: Vec<_> = rooms.iter().map(|room| self.named(room)).collect();
        rooms.sort();
        rooms
    }

    /// Asks a pod until it finds these clients in a room.
    pub(crate) async fn await_members(&mut self, from: usize, room: &str, expected: &[&str]) {
        let start = std::time::Instant::now();
        loop {
            let found = self.fetch_names(from, &Target::to(&[room])).await;
            if found == expected {
                return;
            }
            let waited = start.elapsed();
            assert!(waited < crate::raw::PATIENCE, "{room} has {found:?}");
        }
    }
}
