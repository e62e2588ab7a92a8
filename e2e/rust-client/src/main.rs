//! Clients of the crate `rust_socketio`, steered over JSON lines. `../README.md` lists the commands and events.

mod client;
mod lines;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::Mutex;

use client::Client;
use lines::{reply, report};

/// By name. The lock is held for the look-up alone: a command that waits does not hold up the next.
type Clients = Arc<Mutex<HashMap<String, Arc<Client>>>>;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let clients = Clients::default();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    report("ready", json!({}));
    while let Some(line) = lines.next_line().await? {
        let Ok(command) = serde_json::from_str::<Value>(&line) else {
            reply(&Value::Null, Err("this line is not JSON".to_owned()));
            continue;
        };
        if command["cmd"] == "exit" {
            reply(&command["id"], Ok(Value::Null));
            break;
        }
        let clients = clients.clone();
        tokio::spawn(async move { reply(&command["id"], perform(&clients, &command).await) });
    }
    // Threads of the client would keep an ordinary end waiting.
    std::process::exit(0);
}

async fn perform(clients: &Clients, command: &Value) -> Result<Value, String> {
    let name = command["client"].as_str().unwrap_or_default();
    match command["cmd"].as_str().unwrap_or_default() {
        "open" => {
            if clients.lock().await.contains_key(name) {
                return Err(format!("there is already a client named {name}"));
            }
            let client = Arc::new(Client::open(name, command).await?);
            let description = client.description();
            clients.lock().await.insert(name.to_owned(), client);
            Ok(description)
        }
        "emit" => find(clients, name).await?.emit(command).await,
        "emit_ack" => find(clients, name).await?.emit_ack(command).await,
        "counts" => Ok(find(clients, name).await?.counts()),
        "disconnect" => find(clients, name).await?.disconnect().await,
        "close" => {
            let client = find(clients, name).await?;
            clients.lock().await.remove(name);
            client.disconnect().await
        }
        "clients" => Ok(clients.lock().await.keys().cloned().collect()),
        other => Err(format!("unknown command {other}")),
    }
}

async fn find(clients: &Clients, name: &str) -> Result<Arc<Client>, String> {
    let found = clients.lock().await.get(name).cloned();
    found.ok_or_else(|| format!("no client named {name}"))
}
