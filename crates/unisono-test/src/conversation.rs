//! Commands, replies and events of the peers in the `e2e` directory, as `e2e/README.md` describes them.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::Peer;

/// A peer that is steered by commands. Events that arrive while a reply is awaited are kept, in order.
pub struct Conversation {
    peer: Peer,
    /// The first line that the peer wrote.
    pub ready: Value,
    events: VecDeque<Value>,
    last_id: u64,
}

impl Conversation {
    /// Starts a script of Node.js and waits until it is ready.
    pub async fn start(script: &str, environment: &[(&str, &str)]) -> Self {
        Self::with(Peer::node(script, &[], environment)).await
    }

    /// Waits until the peer is ready.
    pub async fn with(mut peer: Peer) -> Self {
        let ready = peer.receive_where(|line| line["event"] == "ready").await;
        Self {
            peer,
            ready,
            events: VecDeque::new(),
            last_id: 0,
        }
    }

    /// Any number of stock JavaScript clients.
    pub async fn clients() -> Self {
        Self::start("peers/client.js", &[]).await
    }

    /// Any number of clients of python-socketio; `flavour` is `sync` (requests and websocket-client) or `async` (aiohttp).
    pub async fn python_clients(flavour: &str) -> Self {
        Self::with(Peer::python("python/client.py", &[flavour], &[])).await
    }

    /// An emitter in Python, which is no pod: the package `socket.io-emitter`.
    pub async fn python_emitter(redis_url: &str) -> Self {
        let environment = [("REDIS_URL", redis_url)];
        Self::with(Peer::python("python/emitter.py", &[], &environment)).await
    }

    /// Any number of clients of the crate `rust_socketio`.
    pub async fn rust_clients() -> Self {
        Self::with(Peer::rust_client()).await
    }

    /// Any number of stock JavaScript clients on a page in Chromium. Its [`ready`](Self::ready) names the page's `origin`.
    pub async fn browser_clients() -> Self {
        Self::start("peers/browser.js", &[]).await
    }

    /// A Node.js pod with the classic Redis adapter.
    pub async fn node_pod(redis_url: &str) -> Self {
        Self::start("peers/node-pod.js", &[("REDIS_URL", redis_url)]).await
    }

    /// An emitter that is no pod.
    pub async fn emitter(redis_url: &str) -> Self {
        Self::start("peers/emitter.js", &[("REDIS_URL", redis_url)]).await
    }

    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    /// The text of a failed reply.
    pub async fn try_command(&mut self, command: &str, fields: Value) -> Result<Value, String> {
        let mut line = self.reply(command, fields).await;
        match line["ok"].as_bool() {
            Some(true) => Ok(line["value"].take()),
            _ => Err(line["error"].as_str().unwrap_or_default().to_owned()),
        }
    }

    /// Sends a command and gives its reply as it is: a few failed ones have a `value` too.
    pub async fn reply(&mut self, command: &str, mut fields: Value) -> Value {
        self.last_id += 1;
        let id = json!(self.last_id);
        fields["id"] = id.clone();
        fields["cmd"] = json!(command);
        self.peer.send(&fields).await;
        loop {
            let line = self.peer.receive().await;
            if line["reply"] == id {
                return line;
            }
            self.events.push_back(line);
        }
    }

    /// Sends a command that must succeed.
    ///
    /// # Panics
    /// When it fails.
    pub async fn command(&mut self, command: &str, fields: Value) -> Value {
        let shown = fields.to_string();
        self.try_command(command, fields)
            .await
            .unwrap_or_else(|error| panic!("{command} {shown}: {error}"))
    }

    /// Opens a stock client and waits until it is connected.
    pub async fn open(&mut self, client: &str, url: &str, transports: &[&str]) -> Value {
        self.command(
            "open",
            json!({ "client": client, "url": url, "transports": transports }),
        )
        .await
    }

    /// Emits from a client.
    pub async fn emit(&mut self, client: &str, event: &str, args: Value) {
        self.command(
            "emit",
            json!({ "client": client, "event": event, "args": args }),
        )
        .await;
    }

    /// Emits from a client and waits for the answer's arguments.
    pub async fn emit_ack(&mut self, client: &str, event: &str, args: Value) -> Value {
        self.command(
            "emit_ack",
            json!({ "client": client, "event": event, "args": args }),
        )
        .await
    }

    /// The first event, kept or to come, for which `wanted` holds; it is taken out, those before it stay.
    pub async fn event_where(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        if let Some(index) = self.events.iter().position(&mut wanted) {
            return self.events.remove(index).unwrap_or_default();
        }
        loop {
            let line = self.peer.receive().await;
            if wanted(&line) {
                return line;
            }
            self.events.push_back(line);
        }
    }

    /// The arguments of the next event `name` that `client` gets.
    pub async fn message(&mut self, client: &str, name: &str) -> Value {
        let mut event = self
            .event_where(|e| e["event"] == "message" && e["client"] == client && e["name"] == name)
            .await;
        event["args"].take()
    }

    /// Takes out all kept events `name` that `client` got, without waiting for any.
    pub fn kept_messages(&mut self, client: &str, name: &str) -> Vec<Value> {
        let mut found = Vec::new();
        self.events.retain_mut(|e| {
            let is_one = e["event"] == "message" && e["client"] == client && e["name"] == name;
            if is_one {
                found.push(e["args"].take());
            }
            !is_one
        });
        found
    }

    /// Drops all kept events.
    pub fn forget(&mut self) {
        self.events.clear();
    }

    /// All kept events for which `wanted` holds; they stay.
    pub fn kept(&self, mut wanted: impl FnMut(&Value) -> bool) -> Vec<&Value> {
        self.events.iter().filter(|event| wanted(event)).collect()
    }

    /// Suspends the process: it keeps its connections and does nothing.
    pub fn stop(&self) {
        self.peer.stop();
    }

    /// Ends the suspension.
    pub fn cont(&self) {
        self.peer.cont();
    }

    /// Ends the process at once.
    pub async fn kill(&mut self) {
        self.peer.kill().await;
    }
}
