//! A node that goes away.

use std::time::Duration;

use serde_json::json;
use unisono_test::Conversation;

use crate::raw::{RawSocket, get};
use crate::server::TestServer;

#[tokio::test]
async fn draining_refuses_new_sessions_and_closes_the_transport_of_the_old() {
    let server = TestServer::start().await;
    let mut clients = Conversation::clients().await;
    let open =
        json!({ "client": "c", "url": server.url(), "count": 20, "transports": ["websocket"] });
    clients.command("open", open).await;
    clients
        .command(
            "open",
            json!({ "client": "p", "url": server.url(), "count": 5, "transports": ["polling"] }),
        )
        .await;
    let io = server.io.clone();
    assert!(io.drain(Duration::from_secs(10)).await, "somebody was left");
    for name in (0..20)
        .map(|n| format!("c-{n}"))
        .chain((0..5).map(|n| format!("p-{n}")))
    {
        let event = clients
            .event_where(|e| e["event"] == "disconnect" && e["client"] == *name)
            .await;
        // `io server disconnect` would keep a stock client from coming back.
        assert_eq!(event["reason"], "transport close", "{name}");
    }
    let answer = get(server.port, "EIO=4&transport=polling").await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("2"))
    );
    assert!(
        RawSocket::try_connect(server.port, "EIO=4&transport=websocket", "")
            .await
            .is_err()
    );
    let stats = io.stats();
    assert_eq!(
        (
            stats.connections_polling,
            stats.connections_websocket,
            stats.sockets
        ),
        (0, 0, 0)
    );
}
