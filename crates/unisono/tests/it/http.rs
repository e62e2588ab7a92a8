//! Handshakes and what is refused.

use crate::raw::{RawSocket, get, open, poll, request};
use crate::server::{TestServer, cors};

#[tokio::test]
async fn the_open_packet_has_nodes_keys_in_nodes_order() {
    let server = TestServer::start().await;
    let answer = get(server.port, "EIO=4&transport=polling").await;
    let sid = crate::raw::sid_of(&answer.body);
    let expected = format!(
        "0{{\"sid\":\"{sid}\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}}"
    );
    assert_eq!(answer.body, expected);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=UTF-8")
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-unisono-sid"), Some(&*sid));
    let mut socket = RawSocket::connect(server.port, "EIO=4&transport=websocket").await;
    assert!(socket.head.to_ascii_lowercase().contains("x-unisono-sid: "));
    assert!(socket.text().await.contains("\"upgrades\":[]"));
}

#[tokio::test]
async fn what_is_refused_gets_nodes_status_and_body() {
    let server = TestServer::start().await;
    let sid = open(server.port).await;
    let known = format!("EIO=4&transport=polling&sid={sid}");
    for (method, query, status, body, reason) in [
        (
            "GET",
            "EIO=4",
            400,
            r#"{"code":0,"message":"Transport unknown"}"#,
            "unknown_transport",
        ),
        (
            "GET",
            "EIO=4&transport=__proto__",
            400,
            r#"{"code":0,"message":"Transport unknown"}"#,
            "unknown_transport",
        ),
        (
            "GET",
            "EIO=4&transport=webtransport",
            400,
            r#"{"code":0,"message":"Transport unknown"}"#,
            "unknown_transport",
        ),
        (
            "GET",
            "EIO=4&transport=polling&sid=nope",
            400,
            r#"{"code":1,"message":"Session ID unknown"}"#,
            "unknown_sid",
        ),
        (
            "GET",
            "EIO=4&transport=polling&sid=__proto__",
            400,
            r#"{"code":1,"message":"Session ID unknown"}"#,
            "unknown_sid",
        ),
        (
            "POST",
            "EIO=4&transport=polling",
            400,
            r#"{"code":2,"message":"Bad handshake method"}"#,
            "bad_method",
        ),
        (
            "PUT",
            "EIO=4&transport=polling",
            400,
            r#"{"code":2,"message":"Bad handshake method"}"#,
            "bad_method",
        ),
        (
            "GET",
            "EIO=4&transport=websocket",
            400,
            r#"{"code":3,"message":"Bad request"}"#,
            "bad_request",
        ),
        (
            "GET",
            "EIO=3&transport=polling",
            400,
            r#"{"code":5,"message":"Unsupported protocol version"}"#,
            "unsupported_version",
        ),
        (
            "GET",
            "transport=polling",
            400,
            r#"{"code":5,"message":"Unsupported protocol version"}"#,
            "unsupported_version",
        ),
        ("PUT", &known, 500, "", ""),
    ] {
        let before = if reason.is_empty() {
            0
        } else {
            server.refused(reason)
        };
        let answer = request(server.port, method, &format!("/socket.io/?{query}"), "", "").await;
        assert_eq!(
            (answer.status, &*answer.body),
            (status, body),
            "{method} {query}"
        );
        if !reason.is_empty() {
            assert_eq!(
                answer.header("content-type"),
                Some("application/json"),
                "{method} {query}"
            );
            assert_eq!(server.refused(reason), before + 1, "{method} {query}");
        }
    }
    // Only what lies under the path is ours.
    assert_eq!(
        request(
            server.port,
            "GET",
            "/socket.io?EIO=4&transport=polling",
            "",
            ""
        )
        .await
        .status,
        404
    );
    assert_eq!(
        request(
            server.port,
            "GET",
            "/socket.io/anything?EIO=4&transport=polling",
            "",
            ""
        )
        .await
        .status,
        200
    );
}

#[tokio::test]
async fn a_websocket_handshake_without_key_or_version_is_refused() {
    let server = TestServer::start().await;
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    for headers in [
        upgrade.to_owned(),
        format!("{upgrade}Sec-WebSocket-Key: short\r\n"),
        "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n".to_owned(),
        "Upgrade: h2c\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n".to_owned(),
    ] {
        let headers = format!("Connection: Upgrade\r\n{headers}");
        let answer = request(server.port, "GET", "/socket.io/?EIO=4&transport=websocket", &headers, "").await;
        assert_eq!(answer.status, 400, "{headers}");
    }
}

#[tokio::test]
async fn an_origin_is_judged_alike_on_both_transports() {
    let server = TestServer::with(|io| io.cors(cors())).await;
    let own = format!("http://127.0.0.1:{}", server.port);
    for (origin, allowed, named) in [
        ("https://jamz.example", true, true),
        (own.as_str(), true, false),
        ("https://evil.example", false, false),
        ("https://jamz.example.evil", false, false),
        ("null", false, false),
    ] {
        let header = format!("Origin: {origin}\r\n");
        let polling = request(
            server.port,
            "GET",
            "/socket.io/?EIO=4&transport=polling",
            &header,
            "",
        )
        .await;
        assert_eq!(polling.status, if allowed { 200 } else { 403 }, "{origin}");
        let expected = named.then_some(origin);
        assert_eq!(
            polling.header("access-control-allow-origin"),
            expected,
            "{origin}"
        );
        assert_eq!(
            polling.header("access-control-allow-credentials"),
            named.then_some("true"),
            "{origin}"
        );
        let websocket =
            RawSocket::try_connect(server.port, "EIO=4&transport=websocket", &header).await;
        assert_eq!(
            websocket.as_ref().map_err(|answer| answer.status).err(),
            (!allowed).then_some(403),
            "{origin}"
        );
    }
    assert_eq!(server.refused("origin"), 6);
}

#[tokio::test]
async fn a_preflight_is_answered() {
    let server = TestServer::with(|io| io.cors(cors())).await;
    let headers = "Origin: https://jamz.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-token\r\n";
    let answer = request(
        server.port,
        "OPTIONS",
        "/socket.io/?EIO=4&transport=polling",
        headers,
        "",
    )
    .await;
    assert_eq!(answer.status, 204);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://jamz.example")
    );
    assert_eq!(
        answer.header("access-control-allow-headers"),
        Some("x-token")
    );
    assert_eq!(answer.header("vary"), Some("Origin"));
}

#[tokio::test]
async fn a_full_server_says_so_before_any_work() {
    let server = TestServer::with(|io| io.max_connections(1)).await;
    let sid = open(server.port).await;
    let answer = get(server.port, "EIO=4&transport=polling").await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("2"))
    );
    assert_eq!(server.refused("full"), 1);
    // Whoever is in is served.
    assert_eq!(crate::raw::post(server.port, &sid, "40").await.body, "ok");
    assert!(poll(server.port, &sid).await.body.starts_with("40{"));
}

#[tokio::test]
async fn a_slow_head_is_hung_up_on() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = TestServer::start().await;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", server.port))
        .await
        .unwrap();
    stream
        .write_all(b"GET /socket.io/ HTTP/1.1\r\nHost: ")
        .await
        .unwrap();
    let mut rest = Vec::new();
    // The head has ten seconds; the connection must not outlive them by much.
    let ended = tokio::time::timeout(
        std::time::Duration::from_secs(20),
        stream.read_to_end(&mut rest),
    )
    .await;
    assert!(ended.is_ok(), "still open after twice the time");
}
