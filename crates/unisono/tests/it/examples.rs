//! The examples run as a newcomer runs them, and do with a stock client what their first lines say.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use unisono_test::Conversation;

use crate::raw::{PATIENCE, request};

pub(crate) struct Example {
    pub(crate) port: u16,
    /// Killed with this.
    _child: Child,
}

impl Example {
    /// Starts it and waits for the line that says it listens.
    pub(crate) async fn start(name: &str) -> Self {
        let mut child = Command::new(path_of(name))
            .env("PORT", "0")
            .env_remove("REDIS_URL")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("cargo builds the examples with the tests");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
        let first = first.expect("it says where it listens");
        let port = first.strip_prefix("listening on http://127.0.0.1:");
        let port = port.and_then(|port| port.parse().ok()).expect(&first);
        // Read on, so that the example can print.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            port,
            _child: child,
        }
    }

    async fn client(&self) -> Conversation {
        let mut clients = Conversation::clients().await;
        for name in ["a", "b"] {
            let url = format!("http://127.0.0.1:{}", self.port);
            clients.open(name, &url, &["websocket"]).await;
        }
        clients
    }
}

/// Cargo puts the examples beside the folder of the test binaries.
fn path_of(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    profile.join("examples").join(example)
}

#[tokio::test]
async fn chat_passes_on_what_is_said_in_a_room() {
    let chat = Example::start("chat").await;
    let mut clients = chat.client().await;
    for name in ["a", "b"] {
        assert_eq!(
            clients.emit_ack(name, "join", json!(["lobby"])).await,
            json!(["joined"])
        );
    }
    clients.emit("a", "say", json!(["lobby", "hello"])).await;
    let said = clients.message("b", "said").await;
    assert_eq!(said[1], json!("hello"));
}

#[tokio::test]
async fn acks_answers_and_asks() {
    let acks = Example::start("acks").await;
    let mut clients = acks.client().await;
    assert_eq!(
        clients.emit_ack("a", "add", json!([1, 2])).await,
        json!([3])
    );
    assert_eq!(
        clients.emit_ack("a", "add", json!([1, "two"])).await,
        json!([{ "error": "two numbers, please" }])
    );
    assert_eq!(clients.message("a", "still there?").await, json!([]));
}

#[tokio::test]
async fn binary_passes_bytes_on_and_keeps_the_last() {
    let binary = Example::start("binary").await;
    let mut clients = binary.client().await;
    assert_eq!(
        clients.emit_ack("a", "last cover", json!([])).await,
        json!([Value::Null])
    );
    let cover = json!({ "track": "t", "jpeg": { "$bin": "AQID" } });
    clients.emit("a", "cover", json!([cover])).await;
    assert_eq!(clients.message("b", "cover").await, json!([cover]));
    assert_eq!(
        clients.emit_ack("b", "last cover", json!([])).await,
        json!([cover])
    );
}

#[tokio::test]
async fn axum_routes_emit() {
    let axum = Example::start("axum").await;
    let mut clients = axum.client().await;
    clients.emit_ack("a", "join", json!(["lobby"])).await;
    assert_eq!(request(axum.port, "GET", "/online", "", "").await.body, "2");
    let announced = request(axum.port, "POST", "/announce/lobby", "", "doors open").await;
    assert_eq!(announced.status, 202);
    assert_eq!(
        clients.message("a", "announcement").await,
        json!(["doors open"])
    );
}
