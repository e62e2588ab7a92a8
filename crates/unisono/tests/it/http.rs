//! Handshakes and what is refused.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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

const UNKNOWN_TRANSPORT: &str = r#"{"code":0,"message":"Transport unknown"}"#;
const UNKNOWN_SID: &str = r#"{"code":1,"message":"Session ID unknown"}"#;
const BAD_METHOD: &str = r#"{"code":2,"message":"Bad handshake method"}"#;
const BAD_REQUEST: &str = r#"{"code":3,"message":"Bad request"}"#;
const UNSUPPORTED: &str = r#"{"code":5,"message":"Unsupported protocol version"}"#;

/// The headers of a WebSocket's opening handshake.
const UPGRADE: &str = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Sends a request and compares the whole refusal: status, type, body and the counter.
async fn refused(server: &TestServer, method: &str, query: &str, headers: &str, expected: &str) {
    let shown = format!("{method} {query} {}", headers.escape_default());
    let (body, reason) = match expected {
        UNKNOWN_TRANSPORT => (expected, "unknown_transport"),
        UNKNOWN_SID => (expected, "unknown_sid"),
        BAD_METHOD => (expected, "bad_method"),
        BAD_REQUEST => (expected, "bad_request"),
        UNSUPPORTED => (expected, "unsupported_version"),
        _ => panic!("no refusal: {expected}"),
    };
    let before = server.refused(reason);
    let target = format!("/socket.io/?{query}");
    let answer = request(server.port, method, &target, headers, "").await;
    // The answer to a HEAD has no body (RFC 9110, section 9.3.2).
    let body = if method == "HEAD" { "" } else { body };
    assert_eq!((answer.status, &*answer.body), (400, body), "{shown}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{shown}"
    );
    assert_eq!(server.refused(reason), before + 1, "{shown}");
}

#[tokio::test]
async fn a_refused_handshake_gets_nodes_status_and_body() {
    let server = TestServer::start().await;
    for (method, query, body) in [
        ("GET", "", UNKNOWN_TRANSPORT),
        ("GET", "EIO=4", UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=", UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=Polling", UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=__proto__", UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=constructor", UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=toString", UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=webtransport", UNKNOWN_TRANSPORT),
        // The last of two counts, as with Node.
        (
            "GET",
            "EIO=4&transport=polling&transport=x",
            UNKNOWN_TRANSPORT,
        ),
        ("GET", "EIO=4&transport=polling&EIO=3", UNSUPPORTED),
        ("GET", "EIO=4&transport=polling&sid=nope", UNKNOWN_SID),
        ("GET", "EIO=4&transport=polling&sid=__proto__", UNKNOWN_SID),
        (
            "GET",
            "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA",
            UNKNOWN_SID,
        ),
        (
            "POST",
            "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA",
            UNKNOWN_SID,
        ),
        ("POST", "EIO=4&transport=polling", BAD_METHOD),
        ("PUT", "EIO=4&transport=polling", BAD_METHOD),
        ("DELETE", "EIO=4&transport=polling", BAD_METHOD),
        ("OPTIONS", "EIO=4&transport=polling", BAD_METHOD),
        ("HEAD", "EIO=4&transport=polling", BAD_METHOD),
        ("GET", "EIO=4&transport=websocket", BAD_REQUEST),
        ("GET", "EIO=3&transport=polling", UNSUPPORTED),
        ("GET", "EIO=44&transport=polling", UNSUPPORTED),
        ("GET", "transport=polling", UNSUPPORTED),
    ] {
        refused(&server, method, query, "", body).await;
    }
    let both = "EIO=3&transport=x&EIO=4&transport=polling";
    assert_eq!(
        get(server.port, both).await.status,
        200,
        "the last of two counts"
    );
}

#[tokio::test]
async fn a_refused_websocket_gets_the_same_answers() {
    let server = TestServer::start().await;
    let headers = format!("Connection: Upgrade\r\n{UPGRADE}");
    for (method, query, body) in [
        ("GET", "EIO=4", UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=__proto__", UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=constructor", UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=webtransport", UNKNOWN_TRANSPORT),
        ("GET", "EIO=4&transport=websocket&sid=nope", UNKNOWN_SID),
        ("GET", "EIO=4&transport=polling", BAD_REQUEST),
        ("POST", "EIO=4&transport=websocket", BAD_METHOD),
        ("GET", "EIO=3&transport=websocket", UNSUPPORTED),
        ("GET", "transport=websocket", UNSUPPORTED),
    ] {
        refused(&server, method, query, &headers, body).await;
    }
}

#[tokio::test]
async fn an_origin_that_is_not_text_is_a_bad_request() {
    let server = TestServer::with(|io| io.cors(cors())).await;
    for upgrade in ["", UPGRADE] {
        let kind = if upgrade.is_empty() {
            "close"
        } else {
            "Upgrade"
        };
        let transport = if upgrade.is_empty() {
            "polling"
        } else {
            "websocket"
        };
        let mut stream = TcpStream::connect(("127.0.0.1", server.port))
            .await
            .unwrap();
        let head = format!(
            "GET /socket.io/?EIO=4&transport={transport} HTTP/1.1\r\nHost: x\r\nConnection: {kind}\r\n{upgrade}Origin: https://"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(b"\xe9\xff.example\r\n\r\n").await.unwrap();
        let mut answer = vec![0; BAD_REQUEST.len()];
        let mut all = Vec::new();
        while !all.ends_with(BAD_REQUEST.as_bytes()) {
            let n = stream.read(&mut answer).await.unwrap();
            assert_ne!(n, 0, "{}", String::from_utf8_lossy(&all));
            all.extend_from_slice(&answer[..n]);
        }
        assert!(all.starts_with(b"HTTP/1.1 400 "));
    }
    assert_eq!(server.refused("bad_request"), 2);
}

#[tokio::test]
async fn a_request_that_contradicts_its_session_is_refused_and_the_session_lives() {
    let server = TestServer::start().await;
    let sid = open(server.port).await;
    let upgrade = format!("Connection: Upgrade\r\n{UPGRADE}");
    for (query, headers) in [
        ("EIO=4&transport=websocket", ""),
        ("EIO=3&transport=polling", ""),
        ("transport=polling", ""),
        ("EIO=4&transport=polling", &*upgrade),
        ("EIO=3&transport=websocket", &*upgrade),
    ] {
        refused(
            &server,
            "GET",
            &format!("{query}&sid={sid}"),
            headers,
            BAD_REQUEST,
        )
        .await;
    }
    for method in ["PUT", "DELETE", "HEAD", "OPTIONS"] {
        let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        let answer = request(server.port, method, &target, "", "").await;
        assert_eq!((answer.status, &*answer.body), (500, ""), "{method}");
    }
    assert_eq!(crate::raw::post(server.port, &sid, "40").await.body, "ok");
    assert!(poll(server.port, &sid).await.body.starts_with("40{"));
}

#[tokio::test]
async fn only_what_lies_under_the_path_is_ours() {
    let own = "?EIO=4&transport=polling";
    for (path, slash, ours, others) in [
        (
            "/socket.io/",
            true,
            &["/socket.io/", "/socket.io/anything", "/socket.io//"][..],
            &[
                "/socket.io",
                "/socket.iox/",
                "/",
                "/x/socket.io/",
                "/SOCKET.IO/",
            ][..],
        ),
        (
            "a/b",
            true,
            &["/a/b/", "/a/b/c"][..],
            &["/a/b", "/a/", "/b/"][..],
        ),
        (
            "/socket.io",
            false,
            &["/socket.io", "/socket.io/", "/socket.io/x"][..],
            &["/socket.iox", "/"][..],
        ),
        ("/", true, &["/", "/x", "/x/y"][..], &[][..]),
    ] {
        let server = TestServer::with(|io| io.path(path).add_trailing_slash(slash)).await;
        let statuses = ours.iter().map(|t| (t, 200));
        for (target, status) in statuses.chain(others.iter().map(|t| (t, 404))) {
            let answer = request(server.port, "GET", &format!("{target}{own}"), "", "").await;
            assert_eq!(answer.status, status, "{target} under {path}");
        }
    }
}

#[tokio::test]
async fn a_websocket_handshake_without_key_or_version_or_with_a_body_is_refused() {
    let server = TestServer::start().await;
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    for headers in [
        upgrade.to_owned(),
        format!("{upgrade}Sec-WebSocket-Key: short\r\n"),
        "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n".to_owned(),
        "Upgrade: h2c\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n".to_owned(),
        format!("{UPGRADE}Content-Length: 5\r\n"),
        format!("{UPGRADE}Transfer-Encoding: chunked\r\n"),
    ] {
        let headers = format!("Connection: Upgrade\r\n{headers}");
        let answer = request(server.port, "GET", "/socket.io/?EIO=4&transport=websocket", &headers, "5\r\nhello\r\n0\r\n\r\n").await;
        assert_eq!(answer.status, 400, "{headers}");
        // RFC 6455, section 4.4; what asks for no WebSocket at all need not be told.
        let version = (!headers.contains("h2c")).then_some("13");
        assert_eq!(answer.header("sec-websocket-version"), version, "{headers}");
    }
}

#[tokio::test]
async fn a_websocket_key_may_have_any_last_letter() {
    let server = TestServer::start().await;
    for (key, status) in [
        ("dGhlIHNhbXBsZSBub25jZQ==", 101),
        ("dGhlIHNhbXBsZSBub25jZR==", 101),
        ("+/hlIHNhbXBsZSBub25jZ9==", 101),
        ("dGhlIHNhbXBsZSBub25jZQ", 400),
        ("dGhlIHNhbXBsZSBub25jZQ=", 400),
        ("dGhlIHNhbXBsZSBub25j====", 400),
        ("dGhlIHNhbXBsZSBub25j-Q==", 400),
        ("dGhlIHNhbXBsZSBub25jZQAA", 400),
        ("dGhlIHNhbXBsZSBub25jZQAA==", 400),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port))
            .await
            .unwrap();
        let head = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, format!("HTTP/1.1 {status}").as_bytes(), "{key}");
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
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(("127.0.0.1", server.port))
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
