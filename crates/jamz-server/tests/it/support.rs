//! Pods in this process, clients on them, and patience.

use std::collections::BTreeMap;
use std::time::Duration;

use jamz_server::app::{App, Backing, Pod};
use jamz_server::config::{Config, names};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use unisono_client::{Client, Event, Events, Message, Options};
use unisono_test::await_until;

/// How long anything may take before a test calls it lost. Only failures wait it out.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Settings of a pod on free ports of this host.
pub(crate) fn settings(more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut settings: BTreeMap<String, String> = [
        (names::HOST, "127.0.0.1"),
        (names::PORT, "0"),
        (names::ADMIN_PORT, "0"),
        (names::POD_NAME, "test"),
        (names::DRAIN_SECONDS, "2"),
    ]
    .iter()
    .chain(more)
    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
    .collect();
    settings.retain(|_, value| !value.is_empty());
    settings
}

/// A pod that runs until it is told to stop or dropped.
pub(crate) struct TestPod {
    pub(crate) app: App,
    pub(crate) url: String,
    pub(crate) admin: String,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl TestPod {
    /// A pod with these settings beside the usual ones.
    pub(crate) async fn start(more: &[(&str, &str)]) -> Self {
        // Shown for tests that fail; RUST_LOG says how much.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer();
        let _ = log.try_init();
        let config = Config::read(&settings(more)).expect("the settings are good");
        let pod = Pod::start(config, Backing::Configured)
            .await
            .expect("free ports");
        let (stop, mut stopped) = watch::channel(false);
        Self {
            app: pod.app().clone(),
            url: format!("http://{}", pod.client_address()),
            admin: pod.admin_address().to_string(),
            stop,
            running: tokio::spawn(pod.run(async move {
                let _ = stopped.wait_for(|stopped| *stopped).await;
            })),
        }
    }

    /// A pod on this Redis, which it has joined.
    pub(crate) async fn joined(redis: &str) -> Self {
        let pod = Self::start(&[(names::REDIS_URL, redis)]).await;
        pod.await_link().await;
        pod
    }

    /// Waits until events cross pods.
    pub(crate) async fn await_link(&self) {
        await_until("the pod has joined", PATIENCE, || {
            self.app.link().state().is_up()
        })
        .await;
    }

    /// Waits until the pod knows that events do not cross pods.
    pub(crate) async fn await_no_link(&self) {
        await_until("the pod notices", PATIENCE, || {
            !self.app.link().state().is_up()
        })
        .await;
    }

    /// Tells the pod to end, and waits until it has.
    pub(crate) async fn end(self) {
        self.stop.send_replace(true);
        self.running.await.expect("the pod ends well");
    }

    /// A client on this pod that was greeted.
    pub(crate) async fn client(&self) -> TestClient {
        let connected = Client::connect(&self.url, Options::default()).await;
        let (client, events) = connected.expect("the pod takes clients");
        let mut client = TestClient { client, events };
        client.next("hello").await;
        client
    }
}

/// A client and what it hears.
pub(crate) struct TestClient {
    pub(crate) client: Client,
    pub(crate) events: Events,
}

impl TestClient {
    pub(crate) fn id(&self) -> &str {
        self.client.id()
    }

    pub(crate) async fn emit(&self, event: &str, payload: &Value) {
        self.client
            .emit(event, payload)
            .await
            .expect("still connected");
    }

    /// The next event, whatever it is.
    pub(crate) async fn any(&mut self) -> (String, Value) {
        let event = tokio::time::timeout(PATIENCE, self.events.next()).await;
        match event.expect("an event comes") {
            Some(Event::Message(message)) => (message.name.clone(), payload(&message)),
            other => panic!("cut off: {other:?}"),
        }
    }

    /// The payload of the next event of this name; others are skipped.
    pub(crate) async fn next(&mut self, name: &str) -> Value {
        loop {
            let (event, payload) = self.any().await;
            if event == name {
                return payload;
            }
        }
    }

    /// Everything that is on its way to this client, in order.
    pub(crate) async fn drain(&mut self) -> Vec<(String, Value)> {
        // The answer stands behind everything that was sent before the question was read.
        self.emit("test-ping", &json!("drain")).await;
        let mut events = Vec::new();
        loop {
            let event = self.any().await;
            if event.0 == "test-pong" {
                return events;
            }
            events.push(event);
        }
    }

    /// Joins a session and gives all that comes of it.
    pub(crate) async fn join(&mut self, session: &str, user: Option<&str>) -> Vec<(String, Value)> {
        let mut payload = json!({"sessionId": session});
        if let Some(user) = user {
            payload["userId"] = user.into();
        }
        self.emit("join-music-session", &payload).await;
        self.drain().await
    }

    /// Takes control of a session.
    pub(crate) async fn take(&self, session: &str, user: &str) {
        let payload = json!({"sessionId": session, "userId": user});
        self.emit("music-take-control", &payload).await;
    }
}

fn payload(message: &Message) -> Value {
    serde_json::to_value(message.data()).expect("payloads of these events are JSON")
}

/// The revision and the user of a change.
pub(crate) fn change(payload: &Value) -> (u64, String) {
    let revision = payload["revision"]
        .as_u64()
        .expect("changes carry a revision");
    (
        revision,
        payload["userId"].as_str().unwrap_or("").to_owned(),
    )
}
