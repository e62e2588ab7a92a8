//! A server, a network and a client for one scenario.

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use unisono::{Ack, AckError, Args, Auth, ConnectError, Cors, Io, Namespace, Socket};
use unisono_test::{Conversation, await_until};

use super::rows::{Part, Row};
use super::scenarios::Scenario;
use crate::raw::PATIENCE;
use crate::relay::Relay;
use crate::server::{Spread, TestServer, namespace};

/// Soon enough for a test, late enough not to spin.
const RECONNECTION_DELAY_MS: u64 = 20;

/// How a client gets to the server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Way {
    WebSocket,
    Polling,
    Upgrade,
}

impl Way {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "WebSocket",
            Self::Polling => "polling",
            Self::Upgrade => "polling, then WebSocket",
        }
    }

    fn transports(self) -> &'static [&'static str] {
        match self {
            Self::WebSocket => &["websocket"],
            Self::Polling => &["polling"],
            Self::Upgrade => &["polling", "websocket"],
        }
    }
}

/// What a scenario plays on.
pub(super) struct Stage<'p> {
    pub(super) row: &'p Row,
    pub(super) peer: &'p mut Conversation,
    pub(super) server: TestServer,
    pub(super) relay: Relay,
    way: Way,
    scenario: Scenario,
    opened: Vec<String>,
    gone: UnboundedReceiver<()>,
}

impl<'p> Stage<'p> {
    pub(super) async fn set(
        row: &'p Row,
        way: Way,
        peer: &'p mut Conversation,
        scenario: Scenario,
    ) -> Self {
        let (sender, gone) = unbounded_channel();
        // Only a browser has an origin, and it is not the server's.
        let origin = peer.ready["origin"].as_str().map(str::to_owned);
        let server = TestServer::serve(build(row, sender, origin)).await;
        let relay = Relay::start(server.port).await;
        Self {
            row,
            peer,
            server,
            relay,
            way,
            scenario,
            opened: Vec::new(),
            gone,
        }
    }

    /// Plays it to the end and sends the clients home.
    pub(super) async fn play(mut self) {
        self.scenario.play(&mut self).await;
        for client in std::mem::take(&mut self.opened) {
            self.peer
                .command("close", json!({ "client": client }))
                .await;
        }
        // The next scenario has clients of the same names.
        self.peer.forget();
        let stats = || self.server.io.stats();
        await_until("every client is gone", PATIENCE, || stats().sockets == 0).await;
    }

    /// Opens a client on this way and waits until it is connected, and has upgraded if it shall.
    pub(super) async fn open(&mut self, client: &str, fields: Value) {
        let upgrades = self.server.io.stats().upgrades;
        if let Err(error) = self.try_open(client, fields).await {
            panic!("{client} did not get in: {error}");
        }
        self.upgraded(upgrades).await;
    }

    /// Waits for one more upgrade than `before`, on the way that has some.
    async fn upgraded(&self, before: u64) {
        if self.way == Way::Upgrade {
            let upgraded = || self.server.io.stats().upgrades > before;
            await_until("the upgrade", PATIENCE, upgraded).await;
        }
    }

    /// Opens a client that may be refused.
    pub(super) async fn try_open(&mut self, client: &str, mut fields: Value) -> Result<(), String> {
        fields["client"] = json!(client);
        fields["url"] = json!(self.relay.url());
        fields["transports"] = json!(self.way.transports());
        if let Some(version) = self.row.version() {
            fields["version"] = json!(version);
        }
        if !self.row.can(Part::Auth) {
            fields["query"] = fields["auth"].take();
        }
        fields["reconnection_delay_ms"] = json!(RECONNECTION_DELAY_MS);
        let opened = self.peer.try_command("open", fields).await;
        if opened.is_ok() {
            self.opened.push(client.to_owned());
        } else {
            // Some clients stay in the namespace `/` when another one refuses them; some have forgotten the name.
            let fields = json!({ "client": client });
            let _ = self.peer.try_command("close", fields).await;
        }
        opened.map(|_| ())
    }

    pub(super) fn is_polling(&self) -> bool {
        self.way == Way::Polling
    }

    /// Emits `echo` and waits for it.
    pub(super) async fn echo(&mut self, client: &str, args: Value) {
        self.peer.emit(client, "echo", args.clone()).await;
        assert_eq!(self.peer.message(client, "echo").await, args);
    }

    /// Breaks the network at a moment when the server notices, between two polls there is nothing to break, and waits until the client is back.
    pub(super) async fn cut_off(&mut self, client: &str) {
        let upgrades = self.server.io.stats().upgrades;
        let cutting = async {
            if self.is_polling() {
                self.relay.polled().await;
            }
            self.relay.cut();
            self.gone.recv().await
        };
        let gone = timeout(PATIENCE, cutting).await;
        gone.expect("a socket goes").expect("the server runs");
        self.connected(client).await;
        self.upgraded(upgrades).await;
        if !self.row.can(Part::EarlyBreak) {
            self.settled(client).await;
        }
    }

    /// Waits until the library has done with a reconnection, which is later than it says that it is connected.
    async fn settled(&mut self, client: &str) {
        let settling = async {
            let fields = || json!({ "client": client });
            while self.peer.command("status", fields()).await["reconnecting"] != false {}
        };
        let settled = timeout(PATIENCE, settling).await;
        settled.expect("the reconnection ends");
    }

    /// Waits for the client's own word that it is connected.
    pub(super) async fn connected(&mut self, client: &str) {
        let connected = |event: &Value| event["event"] == "connect" && event["client"] == client;
        self.peer.event_where(connected).await;
    }

    /// Asserts that the sessions are where they should be.
    pub(super) fn assert_transport(&self, sessions: u64) {
        let stats = self.server.io.stats();
        let expected = match self.way {
            Way::Polling => (sessions, 0),
            Way::WebSocket | Way::Upgrade => (0, sessions),
        };
        assert_eq!(
            (stats.connections_polling, stats.connections_websocket),
            expected
        );
    }
}

fn build(row: &Row, gone: UnboundedSender<()>, origin: Option<String>) -> Io {
    let cors = Cors::new(origin).credentials(true);
    let main = namespace("/")
        .on("ask-back", ask_back)
        .on_disconnect(move || {
            // The scenario may be over.
            let _ = gone.send(());
            std::future::ready(())
        });
    Io::builder()
        .allow_eio3(row.version() == Some(2))
        .cors(cors)
        .namespace(main)
        .namespace(namespace("/custom"))
        .namespace(guarded())
        .build()
}

/// Asks the client with the event and the arguments that it sent, and acknowledges with the client's own answer.
async fn ask_back(socket: Socket, Args(mut args): Args, ack: Ack) {
    let event = args.remove(0);
    let event = event.as_str().unwrap_or_default();
    let answer = socket.emit_with_ack(event, &Spread(args), PATIENCE).await;
    match answer {
        Ok(args) => ack.send(&Spread(args)).unwrap(),
        Err(error @ AckError::Timeout) => panic!("{error}"),
        Err(_) => {}
    }
}

/// Lets in whoever knows the word.
fn guarded() -> Namespace {
    namespace("/guarded").middleware(async |Auth(auth): Auth<unisono::Value>| {
        match auth.get("token").and_then(|t| t.as_str()) {
            Some("right") => Ok(()),
            _ => {
                let data = vec![("code".to_owned(), unisono::Value::from(7))];
                Err(ConnectError::new("not allowed").with_data(unisono::Value::Map(data)))
            }
        }
    })
}
