//! What comes out is what would have come out at once, and so is what comes after it.

use std::sync::Arc;

use http::HeaderValue;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, watch};
use unisono::{Cookie, Io, IoBuilder, Namespace};

use super::{Client, Parking, Slow, get};
use crate::raw::{self, open, poll, post, sid_of};
use crate::server::cors;

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// Without what is different each time.
fn comparable(answer: &str) -> String {
    let lines = answer.split_inclusive('\n');
    lines.filter(|line| !line.starts_with("date: ")).collect()
}

/// All that a connection says to a request and to the one after it, when the first is answered at once and when it has waited.
async fn told(parking: &Parking, release: &watch::Sender<bool>, request: &str, parks: bool) {
    let mut conversations = Vec::new();
    for waits in [false, true] {
        release.send_replace(!waits);
        let mut client = parking.connect().await;
        client.send(request).await;
        if waits && parks {
            parking.await_parked().await;
        } else if waits {
            parking.await_in_flight().await;
        }
        release.send_replace(true);
        let first = if request.starts_with("HEAD") {
            client.head().await
        } else {
            client.answer().await
        };
        let next = b"GET /next HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        // It may have been the last one.
        let _ = client.0.write_all(next).await;
        conversations.push(comparable(&(first + &client.rest().await)));
        parking.await_rest().await;
    }
    let [at_once, later] = &conversations[..] else {
        unreachable!("two ways")
    };
    assert!(at_once.contains("x-peer: 127.0.0.1\r\n"), "{at_once}");
    assert_eq!(at_once, later, "{request}");
}

#[tokio::test]
async fn of_any_kind_of_request() {
    let (parking, release) = Slow::serve().await;
    for (line, headers, parks) in [
        ("GET /slow HTTP/1.1", "", true),
        ("GET /slow HTTP/1.1", "connection: keep-alive\r\n", true),
        ("GET /slow HTTP/1.1", "Connection: x, Close\r\n", true),
        (
            "GET /slow HTTP/1.1",
            "connection: close\r\nconnection: keep-alive\r\n",
            true,
        ),
        ("GET /slow HTTP/1.1", "connection: upgrade\r\n", true),
        ("GET /slow HTTP/1.1", "expect: 100-continue\r\n", true),
        ("GET /slow HTTP/1.1", "content-length: 0\r\n", true),
        ("GET /slow HTTP/1.0", "", true),
        ("GET /slow HTTP/1.0", "connection: keep-alive\r\n", true),
        ("GET http://x/slow HTTP/1.1", "", true),
        ("HEAD /slow HTTP/1.1", "", false),
        ("POST /slow HTTP/1.1", "", false),
        (
            "GET /slow HTTP/1.1",
            "connection: upgrade\r\nupgrade: x\r\n",
            false,
        ),
        ("GET /slow HTTP/1.1", "content-length: 3\r\n\r\nabc", false),
        (
            "GET /slow HTTP/1.1",
            "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
            false,
        ),
    ] {
        // The end of the head, or of a body.
        let end = if headers.ends_with('c') { "" } else { "\r\n" };
        let request = format!("{line}\r\nhost: x\r\n{headers}{end}");
        told(&parking, &release, &request, parks).await;
    }
    assert_eq!(parking.given_up(), 0);
}

async fn serve(configure: impl FnOnce(IoBuilder) -> IoBuilder) -> (Io, Parking) {
    let io = configure(Io::builder().namespace(Namespace::new("/"))).build();
    let parking = Parking::of(io.service()).await;
    (io, parking)
}

#[tokio::test]
async fn of_any_kind_of_poll() {
    let (io, parking) = serve(|io| {
        let io = io.cors(cors()).allow_eio3(true).jsonp(true);
        io.response_headers(|context, headers| {
            let origin = context.headers.get("origin").cloned();
            let origin = origin.unwrap_or(HeaderValue::from_static("none"));
            let told = format!("{} {}", context.uri, context.sid.unwrap_or("none"));
            headers.insert("x-origin", origin);
            headers.insert("x-told", told.parse().unwrap());
        })
    })
    .await;
    let port = parking.port;
    let origin = "origin: https://jamz.example\r\n";
    for (version, more, headers) in [
        (4, "", ""),
        (4, "", origin),
        (4, "&j=3", ""),
        (3, "", origin),
        (3, "&b64=1", ""),
        (3, "&j=0", ""),
    ] {
        let mut answers = Vec::new();
        for waits in [false, true] {
            let opening = format!("EIO={version}&transport=polling");
            let sid = sid_of(&raw::get(port, &opening).await.body);
            let query = format!("{opening}&sid={sid}");
            if version == 4 {
                assert_eq!(post(port, &sid, "40").await.body, "ok");
            }
            assert!(raw::get(port, &query).await.body.contains("40"));
            parking.await_rest().await;
            let emit = || io.of("/").unwrap().emit("news", "ünï").unwrap();
            if !waits {
                emit();
            }
            let mut client = parking.connect().await;
            let target = format!("/socket.io/?{query}{more}");
            let head = format!("GET {target} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
            client.send(&head).await;
            if waits {
                parking.await_parked().await;
                emit();
            }
            let answer = client.answer().await;
            assert!(answer.contains("news"), "{answer}");
            assert!(answer.contains(&format!("x-told: {target} {sid}\r\n")));
            answers.push(comparable(&answer).replace(&sid, "sid"));
            drop(client);
            parking.await_rest().await;
        }
        assert_eq!(answers[0], answers[1], "{version} {more} {headers}");
    }
}

#[tokio::test]
async fn of_a_handshake() {
    let gate = Arc::new(Semaphore::new(0));
    let passing = gate.clone();
    let (_io, parking) = serve(|io| {
        let io = io.cookie(Cookie::default());
        io.allow_request(move |_| {
            let passing = passing.clone();
            async move {
                passing.acquire().await.unwrap().forget();
                Ok(())
            }
        })
    })
    .await;
    let mut client = parking.parked(&get(POLLING)).await;
    gate.add_permits(1);
    let answer = client.answer().await;
    let sid = sid_of(&answer);
    assert!(answer.contains(&format!("x-unisono-sid: {sid}\r\n")));
    assert!(answer.contains(&format!("set-cookie: io={sid};")));
    assert_eq!(post(parking.port, &sid, "40").await.body, "ok");
}

/// A connection of a session whose poll has waited alone and is answered.
async fn after_a_poll(io: &Io, parking: &Parking) -> Client {
    let sid = open(parking.port).await;
    assert_eq!(post(parking.port, &sid, "40").await.body, "ok");
    assert!(poll(parking.port, &sid).await.body.starts_with("40{"));
    parking.await_rest().await;
    let mut client = parking.parked(&get(&format!("{POLLING}&sid={sid}"))).await;
    io.of("/").unwrap().emit("news", &1).unwrap();
    assert!(client.answer().await.ends_with("42[\"news\",1]"));
    client
}

#[tokio::test]
async fn of_the_request_after_it_is_limited_as_ever() {
    let (io, parking) = serve(|io| io.connections_per_address(1)).await;
    let mut client = after_a_poll(&io, &parking).await;
    client.send(&get(POLLING)).await;
    let answer = client.answer().await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    let refused = io.stats().refused;
    let refused = refused.iter().find(|(name, _)| *name == "address_limit");
    assert_eq!(refused.map(|(_, count)| *count), Some(1));
}

#[tokio::test]
async fn of_the_request_after_it_may_be_a_websocket() {
    let (io, parking) = serve(|io| io).await;
    let mut client = after_a_poll(&io, &parking).await;
    let head = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: x\r\n\
        upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.send(head).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    let mut frame = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut client.0, &mut frame)
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&frame);
    assert!(text.contains("0{\"sid\""), "{text}");
}

#[tokio::test]
async fn of_a_poll_whose_body_comes_later() {
    let (io, parking) = serve(|io| io).await;
    let sid = open(parking.port).await;
    assert_eq!(post(parking.port, &sid, "40").await.body, "ok");
    assert!(poll(parking.port, &sid).await.body.starts_with("40{"));
    parking.await_rest().await;
    let mut client = parking.connect().await;
    let head = format!("GET {POLLING}&sid={sid} HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n");
    client.send(&head).await;
    parking.await_in_flight().await;
    client.send("abc").await;
    // Whoever comes later and is answered says that the body was read.
    open(parking.port).await;
    io.of("/").unwrap().emit("news", &1).unwrap();
    assert!(client.answer().await.ends_with("42[\"news\",1]"));
    // The connection goes on, since its body was wanted until then.
    client.send(&get(POLLING)).await;
    assert!(client.answer().await.starts_with("HTTP/1.1 200 OK\r\n"));
}
