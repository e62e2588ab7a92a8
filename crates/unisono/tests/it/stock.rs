//! The stock JavaScript client on each transport.

use serde_json::json;
use unisono_test::{Conversation, await_until};

use crate::raw::PATIENCE;
use crate::server::TestServer;

const TRANSPORTS: [&[&str]; 3] = [&["websocket"], &["polling"], &["polling", "websocket"]];

#[tokio::test]
async fn events_acknowledgements_and_binary_work_on_every_transport() {
    let server = TestServer::start().await;
    let mut clients = Conversation::clients().await;
    for (index, transports) in TRANSPORTS.into_iter().enumerate() {
        let name = format!("c{index}");
        clients.open(&name, &server.url(), transports).await;
        let bin = json!({ "$bin": "AQID" });
        let args = json!([1, "zwei \u{20ac}", { "deep": [bin, null, true, 1.5] }, bin]);
        clients.emit(&name, "echo", args.clone()).await;
        assert_eq!(clients.message(&name, "echo").await, args, "{transports:?}");
        assert_eq!(
            clients
                .emit_ack(&name, "message-with-ack", args.clone())
                .await,
            args,
            "{transports:?}"
        );
        if transports.len() == 2 {
            await_until("the upgrade", PATIENCE, || server.io.stats().upgrades == 1).await;
            clients.emit(&name, "echo", json!([2])).await;
            assert_eq!(clients.message(&name, "echo").await, json!([2]));
        }
    }
    let stats = server.io.stats();
    assert_eq!(
        (stats.connections_polling, stats.connections_websocket),
        (1, 2)
    );
    server
        .io
        .of("/")
        .unwrap()
        .emit("all", &json!({ "n": 1 }))
        .unwrap();
    for index in 0..3 {
        assert_eq!(
            clients.message(&format!("c{index}"), "all").await,
            json!([{ "n": 1 }])
        );
    }
}

#[tokio::test]
async fn nothing_is_lost_or_reordered_while_a_client_upgrades() {
    let server = TestServer::start().await;
    let mut clients = Conversation::clients().await;
    for round in 0..5 {
        let name = format!("c{round}");
        clients
            .open(&name, &server.url(), &["polling", "websocket"])
            .await;
        // Sent in both directions while the upgrade is under way.
        for n in 0..50 {
            clients.emit(&name, "echo", json!([n])).await;
        }
        for n in 0..50 {
            assert_eq!(clients.message(&name, "echo").await, json!([n]), "{name}");
        }
    }
    await_until("the upgrades", PATIENCE, || server.io.stats().upgrades == 5).await;
}

#[tokio::test]
async fn a_large_message_passes_both_ways() {
    let server = TestServer::with(|io| io.max_payload(8 << 20)).await;
    let mut clients = Conversation::clients().await;
    for (index, transports) in TRANSPORTS.into_iter().enumerate() {
        let name = format!("c{index}");
        clients.open(&name, &server.url(), transports).await;
        let large = json!(["x".repeat(3 << 20)]);
        assert_eq!(
            clients
                .emit_ack(&name, "message-with-ack", large.clone())
                .await,
            large,
            "{transports:?}"
        );
    }
}

#[tokio::test]
async fn it_sits_beside_routes_of_an_axum_server() {
    let space = crate::server::namespace("/");
    let io = unisono::Io::builder().namespace(space).build();
    let app = axum::Router::new()
        .route("/hello", axum::routing::get(|| async { "hello" }))
        .layer(io.layer());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await });
    assert_eq!(
        crate::raw::request(port, "GET", "/hello", "", "")
            .await
            .body,
        "hello"
    );
    assert_eq!(
        crate::raw::request(port, "GET", "/nothing", "", "")
            .await
            .status,
        404
    );
    let mut clients = Conversation::clients().await;
    for (index, transports) in TRANSPORTS.into_iter().enumerate() {
        let name = format!("c{index}");
        clients
            .open(&name, &format!("http://127.0.0.1:{port}"), transports)
            .await;
        assert_eq!(
            clients
                .emit_ack(&name, "message-with-ack", json!([index]))
                .await,
            json!([index])
        );
    }
    await_until("the upgrade", PATIENCE, || io.stats().upgrades == 1).await;
}
