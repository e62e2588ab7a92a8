//! The stock JavaScript clients of versions 2 (Engine.IO 3) and 3, alone and among those of version 4.

use serde_json::{Value, json};
use tokio::sync::mpsc;
use unisono::{DisconnectReason, Io, Namespace, Socket, State};
use unisono_test::{Conversation, await_until};

use crate::raw::PATIENCE;
use crate::server::{TestServer, namespace, quick};

const TRANSPORTS: [&[&str]; 3] = [&["websocket"], &["polling"], &["polling", "websocket"]];

async fn start() -> TestServer {
    TestServer::with(|io| io.allow_eio3(true)).await
}

/// Opens a client; `more` is what the command takes besides.
async fn open(
    clients: &mut Conversation,
    name: &str,
    server: &TestServer,
    version: u8,
    transports: &[&str],
    more: Value,
) -> Value {
    let mut fields = json!({ "client": name, "url": server.url(), "version": version, "transports": transports });
    for (key, value) in more.as_object().unwrap() {
        fields[key] = value.clone();
    }
    clients.command("open", fields).await
}

async fn reason_of(clients: &mut Conversation, name: &str) -> String {
    let event = clients
        .event_where(|e| e["event"] == "disconnect" && e["client"] == name)
        .await;
    event["reason"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn events_acknowledgements_and_binary_work_on_every_transport() {
    let server = start().await;
    let mut clients = Conversation::clients().await;
    for version in [2, 3] {
        for (index, transports) in TRANSPORTS.into_iter().enumerate() {
            let name = format!("v{version}-{index}");
            let upgrades = server.io.stats().upgrades;
            let opened = open(&mut clients, &name, &server, version, transports, json!({})).await;
            let bin = json!({ "$bin": "AQID" });
            let args = json!([1, "zwei \u{20ac}\u{1f3b5}", { "deep": [bin, null, true, 1.5] }, bin, { "$bin": "" }]);
            clients.emit(&name, "echo", args.clone()).await;
            assert_eq!(clients.message(&name, "echo").await, args, "{name}");
            let answer = clients
                .emit_ack(&name, "message-with-ack", args.clone())
                .await;
            assert_eq!(answer, args, "{name}");
            if transports.len() == 2 {
                await_until("the upgrade", PATIENCE, || {
                    server.io.stats().upgrades == upgrades + 1
                })
                .await;
                clients.emit(&name, "echo", args.clone()).await;
                assert_eq!(clients.message(&name, "echo").await, args, "{name}");
            }
            // And the other way round: an answer to the server, with bytes in it.
            clients
                .command(
                    "answer",
                    json!({ "client": name, "event": "ask", "args": args }),
                )
                .await;
            let space = server.io.of("/").unwrap();
            let id = opened["socket"].as_str().unwrap();
            let socket = space
                .local_socket(id)
                .expect("the id that the client knows");
            let answer = socket.emit_with_ack("ask", "?", PATIENCE).await.unwrap();
            assert_eq!(answer.len(), 5, "{name}");
            assert_eq!(answer[3].as_bin().unwrap()[..], [1, 2, 3], "{name}");
        }
    }
}

#[tokio::test]
async fn namespaces_have_queries_ids_and_errors() {
    let denied = Namespace::new("/denied").middleware(async |socket: Socket| {
        match socket.auth().get("token").and_then(|token| token.as_str()) {
            Some("a,b") => Ok(()),
            _ => Err(unisono::ConnectError::new("no token")),
        }
    });
    let io = Io::builder()
        .allow_eio3(true)
        .namespace(namespace("/"))
        .namespace(namespace("/custom"))
        .namespace(denied);
    let server = TestServer::serve(io.build()).await;
    let mut clients = Conversation::clients().await;
    for (index, transports) in TRANSPORTS.into_iter().enumerate() {
        let name = format!("c{index}");
        let query = json!({ "token": "a,b", "n": 1 });
        let more = json!({ "namespace": "/custom", "query": query });
        let opened = open(&mut clients, &name, &server, 2, transports, more).await;
        let auth = json!([{ "token": "a,b", "n": "1" }]);
        assert_eq!(clients.message(&name, "auth").await, auth);
        let rooms = clients.emit_ack(&name, "join", json!(["room"])).await;
        assert_eq!(rooms, json!([[opened["socket"], "room"]]));
        assert!(opened["socket"].as_str().unwrap().starts_with("/custom#"));
        let more = json!({ "namespace": "/denied", "query": query });
        open(
            &mut clients,
            &format!("in{index}"),
            &server,
            2,
            transports,
            more,
        )
        .await;
        for (nsp, expected) in [("/denied", "no token"), ("/nowhere", "Invalid namespace")] {
            let fields = json!({
                "client": format!("out{index}{nsp}"), "url": server.url(), "version": 2, "transports": transports, "namespace": nsp
            });
            let refused = clients.try_command("open", fields).await;
            assert_eq!(refused, Err(expected.to_owned()));
        }
    }
}

#[tokio::test]
async fn rooms_reach_clients_of_every_version() {
    let server = start().await;
    let mut clients = Conversation::clients().await;
    let mut names = Vec::new();
    for version in [2, 3, 4] {
        for (index, transports) in TRANSPORTS.into_iter().enumerate() {
            let name = format!("v{version}-{index}");
            open(&mut clients, &name, &server, version, transports, json!({})).await;
            let room = if index == 1 { "b" } else { "a" };
            clients.emit_ack(&name, "join", json!(["all", room])).await;
            names.push(name);
        }
    }
    await_until("the upgrades", PATIENCE, || server.io.stats().upgrades == 3).await;
    let args = json!(["\u{20ac}\u{1f3b5}", { "$bin": "AQIDBA==" }, { "deep": [{ "$bin": "" }] }]);
    let sent = |event: &str, room: &str| {
        let mut sent = vec![json!(room), json!(event)];
        sent.extend(args.as_array().unwrap().iter().cloned());
        Value::from(sent)
    };
    for from in &names {
        clients.emit(from, "in-room", sent("in", "a")).await;
        clients.emit(from, "to-room", sent("to", "b")).await;
        clients.emit(from, "in-room", sent("fence", "all")).await;
        for name in &names {
            assert_eq!(clients.message(name, "fence").await, args, "{from} {name}");
            let in_a = usize::from(!name.ends_with('1'));
            let to_b = usize::from(name.ends_with('1') && name != from);
            for (event, expected) in [("in", in_a), ("to", to_b)] {
                let got = clients.kept_messages(name, event);
                assert_eq!(got, vec![args.clone(); expected], "{event} {from} {name}");
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_lost_or_reordered_while_a_client_upgrades() {
    let server = start().await;
    let mut clients = Conversation::clients().await;
    for round in 0..5 {
        let name = format!("c{round}");
        open(
            &mut clients,
            &name,
            &server,
            2,
            &["polling", "websocket"],
            json!({}),
        )
        .await;
        for n in 0..50 {
            clients
                .emit(&name, "echo", json!([n, { "$bin": "AQ==" }]))
                .await;
        }
        for n in 0..50 {
            let expected = json!([n, { "$bin": "AQ==" }]);
            assert_eq!(clients.message(&name, "echo").await, expected, "{name}");
        }
    }
    await_until("the upgrades", PATIENCE, || server.io.stats().upgrades == 5).await;
}

#[tokio::test]
async fn a_large_message_passes_both_ways() {
    let server = TestServer::with(|io| io.allow_eio3(true).max_payload(8 << 20)).await;
    let mut clients = Conversation::clients().await;
    for (index, transports) in TRANSPORTS.into_iter().enumerate() {
        let name = format!("c{index}");
        open(&mut clients, &name, &server, 2, transports, json!({})).await;
        let large = json!(["\u{20ac}".repeat(1 << 20)]);
        let answer = clients
            .emit_ack(&name, "message-with-ack", large.clone())
            .await;
        assert_eq!(answer, large, "{transports:?}");
    }
}

#[tokio::test]
async fn both_sides_hear_why_a_client_is_gone() {
    let (reasons, mut reason) = mpsc::channel(8);
    let namespace = Namespace::with_state("/", reasons)
        .on_disconnect(
            async |State(reasons): State<mpsc::Sender<_>>, reason: DisconnectReason| {
                reasons.send(reason.as_str()).await.unwrap();
            },
        )
        .on("kick", async |socket: Socket| socket.disconnect())
        .on("kick-all", async |socket: Socket| {
            socket.disconnect_and_close();
        });
    let io = Io::builder().allow_eio3(true).namespace(namespace).build();
    let server = TestServer::serve(io).await;
    let mut clients = Conversation::clients().await;
    for (index, transports) in TRANSPORTS.into_iter().enumerate() {
        for (how, theirs, ours) in [
            (
                "disconnect",
                "io client disconnect",
                "client namespace disconnect",
            ),
            ("drop", "transport close", "transport close"),
            (
                "kick",
                "io server disconnect",
                "server namespace disconnect",
            ),
            (
                "kick-all",
                "io server disconnect",
                "server namespace disconnect",
            ),
        ] {
            let name = format!("c{index}-{how}");
            let upgrades = server.io.stats().upgrades;
            let more = json!({ "reconnection": false });
            open(&mut clients, &name, &server, 2, transports, more).await;
            if transports.len() == 2 {
                await_until("the upgrade", PATIENCE, || {
                    server.io.stats().upgrades == upgrades + 1
                })
                .await;
            }
            if how.starts_with("kick") {
                clients.emit(&name, how, json!([])).await;
            } else {
                clients.command(how, json!({ "client": name })).await;
            }
            // On polling, the stock client calls its own end of the transport a forced one.
            let got = reason_of(&mut clients, &name).await;
            assert!(
                got == theirs || how == "drop" && got == "forced close",
                "{name}: {got}"
            );
            assert_eq!(reason.recv().await, Some(ours), "{name}");
        }
    }
    await_until("all sessions to be gone", PATIENCE, || {
        let stats = server.io.stats();
        (
            stats.sockets,
            stats.connections_polling,
            stats.connections_websocket,
        ) == (0, 0, 0)
    })
    .await;
}

#[tokio::test]
async fn a_client_whose_node_goes_away_comes_back() {
    let server = start().await;
    let mut clients = Conversation::clients().await;
    for (index, transports) in TRANSPORTS.into_iter().enumerate() {
        open(
            &mut clients,
            &format!("c{index}"),
            &server,
            2,
            transports,
            json!({}),
        )
        .await;
    }
    await_until("the upgrade", PATIENCE, || server.io.stats().upgrades == 1).await;
    assert!(server.io.drain(PATIENCE).await, "somebody was left");
    for index in 0..3 {
        let reason = reason_of(&mut clients, &format!("c{index}")).await;
        assert_eq!(reason, "transport close");
    }
    let port = server.stop().await;
    let io = Io::builder()
        .allow_eio3(true)
        .namespace(namespace("/"))
        .build();
    let _server = TestServer::serve_on(port, io).await;
    for index in 0..3 {
        let name = format!("c{index}");
        clients
            .event_where(|e| e["event"] == "reconnect" && e["client"] == *name)
            .await;
        let answer = clients
            .emit_ack(&name, "message-with-ack", json!([index]))
            .await;
        assert_eq!(answer, json!([index]));
    }
}

#[tokio::test]
async fn idle_clients_stay_for_longer_than_every_time_out() {
    let server = TestServer::with(|io| quick(io).allow_eio3(true)).await;
    let mut clients = Conversation::clients().await;
    for (index, transports) in TRANSPORTS.into_iter().enumerate() {
        open(
            &mut clients,
            &format!("c{index}"),
            &server,
            2,
            transports,
            json!({}),
        )
        .await;
    }
    let space = server.io.of("/").unwrap();
    let mut ticks = tokio::time::interval(std::time::Duration::from_secs(1));
    for n in 0..3 {
        ticks.tick().await;
        space.emit("tick", &n).unwrap();
        for index in 0..3 {
            let name = format!("c{index}");
            assert_eq!(clients.message(&name, "tick").await, json!([n]), "{name}");
        }
    }
    assert!(clients.kept(|e| e["event"] == "disconnect").is_empty());
}

#[tokio::test]
async fn a_server_that_does_not_allow_it_says_so() {
    let server = TestServer::start().await;
    let mut clients = Conversation::clients().await;
    for (index, transports) in TRANSPORTS.into_iter().enumerate() {
        let fields = json!({
            "client": format!("c{index}"), "url": server.url(), "version": 2, "transports": transports, "reconnection": false
        });
        let refused = clients.try_command("open", fields).await;
        assert!(refused.is_err(), "{transports:?}");
    }
    assert_eq!(server.refused("unsupported_version"), 3);
}
