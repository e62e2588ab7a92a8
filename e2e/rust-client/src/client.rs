//! One client in one namespace.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use rust_socketio::asynchronous::{Client as Socket, ClientBuilder};
use rust_socketio::{Event, Payload, TransportType};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::lines::{binary_from_wire, binary_to_wire, report};

/// What the library puts before the data of a CONNECT_ERROR packet.
const REFUSED: &str = "Received an ConnectError frame: ";
/// As the other peers.
const TIMEOUT_MS: u64 = 5000;

/// A client and what is known of it. The library tells neither its Socket.IO id nor the transport in use.
pub(crate) struct Client {
    name: String,
    socket: Socket,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    counts: Mutex<BTreeMap<String, u64>>,
    /// Whoever waits for the first answer to CONNECT.
    opening: Mutex<Option<oneshot::Sender<Result<(), String>>>>,
}

impl Client {
    pub(crate) async fn open(name: &str, command: &Value) -> Result<Self, String> {
        let state = Arc::new(State::default());
        let opened = state.expect_answer();
        let builder = builder(command)?;
        let builder = with_handlers(builder, name, &state);
        let socket = builder.connect().await.map_err(|error| error.to_string())?;
        let client = Self {
            name: name.to_owned(),
            socket,
            state,
        };
        match timeout(deadline(command), opened).await {
            Ok(Ok(answer)) => answer.map(|()| client),
            _ => Err(format!("{name} did not connect in time")),
        }
    }

    pub(crate) fn description(&self) -> Value {
        json!({ "client": self.name, "socket": null, "transport": null })
    }

    pub(crate) fn counts(&self) -> Value {
        json!(
            *self
                .state
                .counts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        )
    }

    pub(crate) async fn emit(&self, command: &Value) -> Result<Value, String> {
        let sent = self.socket.emit(event(command), payload(command)?).await;
        sent.map(|()| Value::Null)
            .map_err(|error| error.to_string())
    }

    pub(crate) async fn emit_ack(&self, command: &Value) -> Result<Value, String> {
        let (sender, answer) = oneshot::channel();
        let mut sender = Some(sender);
        let take = move |payload: Payload, _: Socket| {
            if let Some(sender) = sender.take() {
                // Nobody waits any more after the deadline.
                let _ = sender.send(acknowledged(payload));
            }
            async {}.boxed()
        };
        let limit = deadline(command);
        let sent = self
            .socket
            .emit_with_ack(event(command), payload(command)?, limit, take);
        sent.await.map_err(|error| error.to_string())?;
        match timeout(limit, answer).await {
            Ok(Ok(args)) => Ok(args),
            _ => Err("operation has timed out".to_owned()),
        }
    }

    pub(crate) async fn disconnect(&self) -> Result<Value, String> {
        let done = self.socket.disconnect().await;
        done.map(|()| Value::Null)
            .map_err(|error| error.to_string())
    }
}

impl State {
    fn expect_answer(&self) -> oneshot::Receiver<Result<(), String>> {
        let (sender, receiver) = oneshot::channel();
        *self.opening.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    fn answer(&self, answer: Result<(), String>) {
        let waiting = self
            .opening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(sender) = waiting {
            // Whoever waited may have given up.
            let _ = sender.send(answer);
        }
    }

    fn count(&self, event: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(event.to_owned()).or_default() += 1;
    }
}

fn builder(command: &Value) -> Result<ClientBuilder, String> {
    let url = command["url"].as_str().ok_or("open needs a url")?;
    let transports: Vec<&str> = match &command["transports"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => vec!["websocket"],
    };
    let transport = match transports[..] {
        ["websocket"] => TransportType::Websocket,
        ["polling"] => TransportType::Polling,
        ["polling", "websocket"] => TransportType::WebsocketUpgrade,
        _ => return Err(format!("the library cannot do {transports:?}")),
    };
    let mut builder = ClientBuilder::new(url)
        .namespace(command["namespace"].as_str().unwrap_or("/"))
        .transport_type(transport)
        .reconnect(command["reconnection"].as_bool().unwrap_or(true));
    if let Some(delay) = command["reconnection_delay_ms"].as_u64() {
        builder = builder.reconnect_delay(delay, delay);
    }
    if !command["auth"].is_null() {
        builder = builder.auth(command["auth"].clone());
    }
    Ok(builder)
}

fn with_handlers(builder: ClientBuilder, name: &str, state: &Arc<State>) -> ClientBuilder {
    let (on_connect, on_close, on_error, on_any) = (
        (name.to_owned(), state.clone()),
        name.to_owned(),
        (name.to_owned(), state.clone()),
        (name.to_owned(), state.clone()),
    );
    builder
        .on(Event::Connect, move |_, _| {
            let (name, state) = &on_connect;
            report(
                "connect",
                json!({ "client": name, "socket": null, "transport": null, "recovered": false }),
            );
            state.answer(Ok(()));
            async {}.boxed()
        })
        .on(Event::Close, move |_, _| {
            report("disconnect", json!({ "client": on_close, "reason": null }));
            async {}.boxed()
        })
        .on(Event::Error, move |payload, _| {
            let (name, state) = &on_error;
            let (message, data) = refusal(&payload);
            report(
                "connect_error",
                json!({ "client": name, "message": message, "data": data, "active": null }),
            );
            state.answer(Err(message));
            async {}.boxed()
        })
        .on_any(move |event, payload, _| {
            let (name, state) = &on_any;
            let (event, args) = named(event, payload);
            state.count(&event);
            // The library does not tell whether an acknowledgement was asked for.
            report(
                "message",
                json!({ "client": name, "name": event, "args": args, "ack": null }),
            );
            async {}.boxed()
        })
}

fn event(command: &Value) -> &str {
    command["event"].as_str().unwrap_or_default()
}

fn deadline(command: &Value) -> Duration {
    Duration::from_millis(command["timeout_ms"].as_u64().unwrap_or(TIMEOUT_MS))
}

/// The library takes JSON values, or one binary and nothing beside it.
fn payload(command: &Value) -> Result<Payload, String> {
    let args = command["args"].as_array().cloned().unwrap_or_default();
    if let [only] = &args[..]
        && let Some(bytes) = binary_from_wire(only)
    {
        return Ok(Payload::from(bytes));
    }
    if has_binary(&command["args"]) {
        return Err("the library sends one binary as the only argument, or none".to_owned());
    }
    Ok(Payload::from(args))
}

fn has_binary(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_binary),
        Value::Object(fields) => fields.contains_key("$bin") || fields.values().any(has_binary),
        _ => false,
    }
}

fn args(payload: Payload) -> Value {
    match payload {
        Payload::Text(values) => Value::Array(values),
        Payload::Binary(bytes) => json!([binary_to_wire(&bytes)]),
        #[allow(deprecated)]
        Payload::String(text) => json!([text]),
    }
}

/// An acknowledgement's arguments come as one array.
fn acknowledged(payload: Payload) -> Value {
    match payload {
        Payload::Text(values) => values.into_iter().next().unwrap_or_default(),
        other => args(other),
    }
}

/// An event without arguments is handed on as `message` with its name as the argument.
fn named(event: Event, payload: Payload) -> (String, Value) {
    if event == Event::Message
        && let Payload::Text(values) = &payload
        && let [Value::String(name)] = &values[..]
    {
        return (name.clone(), json!([]));
    }
    (event.to_string(), args(payload))
}

/// What a CONNECT_ERROR packet said; any other error is text.
fn refusal(payload: &Payload) -> (String, Value) {
    let text = match payload {
        Payload::Text(values) => match values.first() {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        },
        other => format!("{other:?}"),
    };
    let packet = text
        .strip_prefix(REFUSED)
        .and_then(|json| serde_json::from_str::<Value>(json).ok());
    match packet {
        Some(packet) => {
            let message = packet["message"].as_str().unwrap_or_default().to_owned();
            (message, packet["data"].clone())
        }
        None => (text, Value::Null),
    }
}
