//! What every client must be able to do, each told once.

use serde_json::{Value, json};
use unisono_test::await_until;

use super::rows::Part;
use super::stage::Stage;
use crate::raw::PATIENCE;

/// One column of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scenario {
    Events,
    Acknowledgement,
    Binary,
    Namespace,
    Rooms,
    Reconnect,
    ConnectError,
}

pub(super) const SCENARIOS: [Scenario; 7] = [
    Scenario::Events,
    Scenario::Acknowledgement,
    Scenario::Binary,
    Scenario::Namespace,
    Scenario::Rooms,
    Scenario::Reconnect,
    Scenario::ConnectError,
];

impl Scenario {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Acknowledgement => "acknowledgement",
            Self::Binary => "binary",
            Self::Namespace => "namespace",
            Self::Rooms => "rooms",
            Self::Reconnect => "reconnect",
            Self::ConnectError => "connect error",
        }
    }

    pub(super) async fn play(self, stage: &mut Stage<'_>) {
        match self {
            Self::Events => events(stage).await,
            Self::Acknowledgement => acknowledgement(stage).await,
            Self::Binary => binary(stage).await,
            Self::Namespace => namespace(stage).await,
            Self::Rooms => rooms(stage).await,
            Self::Reconnect => reconnect(stage).await,
            Self::ConnectError => connect_error(stage).await,
        }
    }
}

/// Both ways, in order, with every kind of value; and what the client says of itself when it connects.
async fn events(stage: &mut Stage<'_>) {
    let auth = json!({ "token": "t", "n": [1, null] });
    stage.open("a", json!({ "auth": auth })).await;
    let auth = stage.row.told_auth(&auth);
    assert_eq!(stage.peer.message("a", "auth").await, auth);
    let args = json!([1, "zwei \u{20ac} \u{1f600}", { "deep": [null, true, 1.5, {}] }, [], -0.25]);
    stage.echo("a", args).await;
    for n in 0..50 {
        stage.peer.emit("a", "echo", json!([n])).await;
    }
    let expected: Vec<Value> = (0..50).map(|n| json!([n])).collect();
    assert_eq!(messages(stage, "echo", 50).await, expected);
    let space = stage.server.io.of("/").unwrap();
    for n in 0..50 {
        space.emit("news", &json!({ "n": n })).unwrap();
    }
    let expected: Vec<Value> = (0..50).map(|n| json!([{ "n": n }])).collect();
    assert_eq!(messages(stage, "news", 50).await, expected);
    if !stage.is_polling() || stage.row.can(Part::Large) {
        let large = "x".repeat(200_000);
        stage.echo("a", json!([large])).await;
    }
    stage.assert_transport(1);
}

/// The next events of this name, sorted where the library does not keep their order.
async fn messages(stage: &mut Stage<'_>, event: &str, count: usize) -> Vec<Value> {
    let mut messages = Vec::new();
    for _ in 0..count {
        messages.push(stage.peer.message("a", event).await);
    }
    if !stage.row.can(Part::Order) {
        let number = |args: &Value| args[0].as_u64().or(args[0]["n"].as_u64());
        messages.sort_by_key(number);
    }
    messages
}

/// The server acknowledges the client's events, and the client the server's.
async fn acknowledgement(stage: &mut Stage<'_>) {
    stage.open("a", json!({})).await;
    for args in [json!([]), json!([1]), json!(["a", { "b": [2] }, null])] {
        let answer = stage.peer.emit_ack("a", "message-with-ack", args.clone());
        assert_eq!(answer.await, args);
    }
    if !stage.row.can(Part::Answers) {
        return;
    }
    let answer = json!(["yes", { "n": 1 }]);
    let fields = json!({ "client": "a", "event": "question", "args": answer });
    stage.peer.command("answer", fields).await;
    let asked = stage
        .peer
        .emit_ack("a", "ask-back", json!(["question", 1, "two"]));
    assert_eq!(asked.await, answer);
    assert_eq!(stage.peer.message("a", "question").await, json!([1, "two"]));
}

/// Bytes alone, and at any depth, in events and in acknowledgements of both sides.
async fn binary(stage: &mut Stage<'_>) {
    stage.open("a", json!({})).await;
    let bytes = json!({ "$bin": "AAEC/f7/" });
    stage.echo("a", json!([bytes])).await;
    if !stage.row.can(Part::BinaryAnywhere) {
        return;
    }
    let args = json!([bytes, { "deep": [1, bytes, { "$bin": "" }] }, "text"]);
    stage.echo("a", args.clone()).await;
    let answer = stage.peer.emit_ack("a", "message-with-ack", args.clone());
    assert_eq!(answer.await, args);
    let fields = json!({ "client": "a", "event": "question", "args": args });
    stage.peer.command("answer", fields).await;
    let asked = stage
        .peer
        .emit_ack("a", "ask-back", json!(["question", bytes]));
    assert_eq!(asked.await, args);
}

/// Namespaces do not hear each other, and one that does not exist cannot be joined.
async fn namespace(stage: &mut Stage<'_>) {
    stage.open("main", json!({})).await;
    let auth = json!({ "from": "custom" });
    let fields = json!({ "namespace": "/custom", "auth": auth });
    stage.open("custom", fields).await;
    assert_eq!(stage.peer.message("custom", "auth").await, json!([auth]));
    stage.echo("custom", json!(["there"])).await;
    let answer = stage
        .peer
        .emit_ack("custom", "message-with-ack", json!([2]));
    assert_eq!(answer.await, json!([2]));
    let io = &stage.server.io;
    io.of("/custom").unwrap().emit("inside", &1).unwrap();
    assert_eq!(stage.peer.message("custom", "inside").await, json!([1]));
    // What comes after it has arrived, so it did not.
    stage.echo("main", json!(["here"])).await;
    assert_eq!(stage.peer.kept_messages("main", "inside"), [] as [Value; 0]);
    let fields = json!({ "namespace": "/nowhere", "reconnection": false });
    let refused = stage.try_open("lost", fields).await.unwrap_err();
    assert_eq!(refused, "Invalid namespace");
}

/// Members of a room hear what is for it, and nobody else.
async fn rooms(stage: &mut Stage<'_>) {
    for client in ["a", "b", "c"] {
        stage.open(client, json!({})).await;
    }
    for client in ["a", "b"] {
        let rooms = stage.peer.emit_ack(client, "join", json!(["room"])).await;
        assert!(
            rooms[0].as_array().unwrap().contains(&json!("room")),
            "{rooms}"
        );
    }
    let peer = &mut *stage.peer;
    peer.emit("a", "in-room", json!(["room", "all", 1])).await;
    peer.emit("a", "to-room", json!(["room", "others", 2]))
        .await;
    peer.emit("a", "broadcast", json!(["everybody-else", 3]))
        .await;
    assert_eq!(peer.message("a", "all").await, json!([1]));
    assert_eq!(peer.message("b", "all").await, json!([1]));
    assert_eq!(peer.message("b", "others").await, json!([2]));
    assert_eq!(peer.message("b", "everybody-else").await, json!([3]));
    assert_eq!(peer.message("c", "everybody-else").await, json!([3]));
    peer.emit_ack("b", "leave", json!(["room"])).await;
    peer.emit("a", "in-room", json!(["room", "few", 4])).await;
    assert_eq!(peer.message("a", "few").await, json!([4]));
    for client in ["a", "b", "c"] {
        stage.echo(client, json!(["last"])).await;
    }
    let unheard = [
        ("a", "others"),
        ("a", "everybody-else"),
        ("b", "few"),
        ("c", "all"),
        ("c", "others"),
        ("c", "few"),
    ];
    for (client, event) in unheard {
        let heard = stage.peer.kept_messages(client, event);
        assert!(heard.is_empty(), "{client} heard {event}: {heard:?}");
    }
}

/// The network breaks: the server notices, the client comes back by itself as a new socket, with the same `auth`.
async fn reconnect(stage: &mut Stage<'_>) {
    let auth = json!({ "token": "again" });
    stage.open("a", json!({ "auth": auth })).await;
    let auth = stage.row.told_auth(&auth);
    assert_eq!(stage.peer.message("a", "auth").await, auth);
    stage.connected("a").await;
    for _ in 0..2 {
        stage.cut_off("a").await;
        assert_eq!(stage.peer.message("a", "auth").await, auth);
        stage.echo("a", json!(["back"])).await;
        let one = || stage.server.io.stats().sockets == 1;
        await_until("the new socket is alone", PATIENCE, one).await;
    }
}

/// A client that is not let in is told why, with data for its program.
async fn connect_error(stage: &mut Stage<'_>) {
    let fields = |token: &str| json!({ "namespace": "/guarded", "auth": { "token": token }, "reconnection": false });
    let refused = stage.try_open("wrong", fields("wrong")).await.unwrap_err();
    let told = stage
        .peer
        .event_where(|event| event["event"] == "connect_error" && event["client"] == "wrong")
        .await;
    assert_eq!(told["data"], json!({ "code": 7 }));
    if stage.row.can(Part::RefusalWithData) {
        assert_eq!(refused, "not allowed");
        assert_eq!(told["message"], "not allowed");
    }
    stage.open("right", fields("right")).await;
    stage.echo("right", json!(["in"])).await;
}
