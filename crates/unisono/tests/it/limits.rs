//! What one client may ask of a node, and what all of them together may.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use unisono::{Data, IpNet, Namespace};
use unisono_proto::ws::Opcode;

use crate::raw::{Answer, Frame, PATIENCE, RawSocket, get, open, poll, post, request, sid_of};
use crate::server::TestServer;

const POLLING: &str = "EIO=4&transport=polling";
const WEBSOCKET: &str = "EIO=4&transport=websocket";

/// A server that believes what its neighbours say about where a request comes from.
async fn behind_a_proxy(limit: u32) -> TestServer {
    let local: IpNet = "127.0.0.0/8".parse().unwrap();
    TestServer::with(|io| io.connections_per_address(limit).trusted_proxies([local])).await
}

/// A long-polling handshake of a client at this address.
async fn open_from(port: u16, address: &str) -> Answer {
    let headers = format!("X-Forwarded-For: {address}\r\n");
    request(port, "GET", &format!("/socket.io/?{POLLING}"), &headers, "").await
}

async fn websocket_from(port: u16, address: &str) -> Result<RawSocket, Answer> {
    RawSocket::try_connect(port, WEBSOCKET, &format!("X-Forwarded-For: {address}\r\n")).await
}

/// Waits until the address can open exactly `limit` sessions again, no more and no less, and opens them.
async fn fill(port: u16, address: &str, limit: u32) -> Vec<RawSocket> {
    let mut sessions = Vec::new();
    let filled = timeout(PATIENCE, async {
        while sessions.len() < limit as usize {
            match websocket_from(port, address).await {
                Ok(socket) => sessions.push(socket),
                // The server has not seen the end of the last one yet.
                Err(answer) => assert_eq!(answer.status, 429, "{answer:?}"),
            }
        }
    });
    filled.await.expect("places that are given back");
    let one_more = open_from(port, address).await;
    assert_eq!(one_more.status, 429, "{one_more:?}");
    sessions
}

/// Ends the connection as a crash of the client's machine does.
fn reset(socket: Option<RawSocket>) {
    let socket = socket.expect("an open session");
    socket.stream.set_zero_linger().unwrap();
}

#[tokio::test]
async fn handshakes_beyond_the_rate_are_told_to_come_back() {
    const BURST: u32 = 5;
    let server = TestServer::with(|io| io.handshake_rate(1, BURST)).await;
    let begin = Instant::now();
    let (mut taken, mut refused) = (0, 0);
    for index in 0..30 {
        let answer = match index % 2 {
            0 => get(server.port, POLLING).await,
            _ => match RawSocket::try_connect(server.port, WEBSOCKET, "").await {
                Ok(_) => {
                    taken += 1;
                    continue;
                }
                Err(answer) => answer,
            },
        };
        if answer.status == 200 {
            taken += 1;
            continue;
        }
        refused += 1;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), Some("2"));
        // The head is all that is read of a refused WebSocket.
        if index % 2 == 0 {
            assert_eq!(answer.body, r#"{"message":"too many handshakes"}"#);
        }
    }
    // The first ones have all passed, and the rest as far as time brought tokens.
    let allowed = u64::from(BURST) + begin.elapsed().as_secs() + 1;
    assert!(taken >= u64::from(BURST) && taken <= allowed, "{taken}");
    assert_eq!(server.refused("handshake_rate"), refused);
}

#[tokio::test]
async fn whoever_is_in_pays_nothing_for_the_handshakes_of_others() {
    let server = TestServer::with(|io| io.handshake_rate(1, 1)).await;
    let sid = open(server.port).await;
    assert_eq!(post(server.port, &sid, "40").await.body, "ok");
    for _ in 0..5 {
        get(server.port, POLLING).await;
    }
    assert!(poll(server.port, &sid).await.body.starts_with("40{"));
    // What would be refused anyway takes no token from the others, nor does it get one.
    assert_eq!(get(server.port, "EIO=4").await.status, 400);
    assert!(server.refused("handshake_rate") >= 4);
}

#[tokio::test]
async fn an_address_has_its_share_of_sessions_on_both_transports() {
    let server = behind_a_proxy(2).await;
    let first = open_from(server.port, "1.1.1.1").await;
    assert_eq!(first.status, 200);
    let _second = websocket_from(server.port, "1.1.1.1").await.ok().unwrap();
    let third = open_from(server.port, "1.1.1.1").await;
    assert_eq!(third.status, 429);
    assert_eq!(third.header("retry-after"), Some("2"));
    assert_eq!(third.header("content-type"), Some("application/json"));
    assert_eq!(
        third.body,
        r#"{"message":"too many connections from this address"}"#
    );
    let fourth = websocket_from(server.port, "1.1.1.1").await;
    assert_eq!(fourth.err().unwrap().status, 429);
    assert_eq!(server.refused("address_limit"), 2);
    // Requests of an open session are no sessions.
    let sid = sid_of(&first.body);
    assert_eq!(post(server.port, &sid, "40").await.body, "ok");
    assert_eq!(open_from(server.port, "1.1.1.2").await.status, 200);
}

#[tokio::test]
async fn a_network_of_ipv6_has_one_share() {
    let server = behind_a_proxy(1).await;
    for (address, status) in [
        ("2001:db8:1:2::1", 200),
        ("2001:db8:1:2:ffff::9", 429),
        ("2001:db8:1:3::1", 200),
        ("::ffff:1.2.3.4", 200),
        ("1.2.3.4", 429),
    ] {
        let answer = open_from(server.port, address).await;
        assert_eq!(answer.status, status, "{address}");
    }
}

#[tokio::test]
async fn only_trusted_proxies_say_whose_a_request_is() {
    let server = TestServer::with(|io| io.connections_per_address(1)).await;
    assert_eq!(open_from(server.port, "1.1.1.1").await.status, 200);
    assert_eq!(open_from(server.port, "2.2.2.2").await.status, 429);
    let server = behind_a_proxy(1).await;
    // The client's own inventions stand to the left.
    for (forwarded, status) in [
        ("9.9.9.9, 1.1.1.1", 200),
        ("8.8.8.8, 1.1.1.1, 127.0.0.2", 429),
        ("7.7.7.7\r\nX-Forwarded-For: 1.1.1.1", 429),
        // Nobody but the proxy itself can be blamed for what it passes on from an unknown.
        ("1.1.1.1, unknown", 200),
        ("2.2.2.2, unknown", 429),
    ] {
        let answer = open_from(server.port, forwarded).await;
        assert_eq!(answer.status, status, "{forwarded}");
    }
}

#[tokio::test]
async fn a_place_comes_back_however_the_session_ends() {
    const LIMIT: u32 = 4;
    let server = behind_a_proxy(LIMIT).await;
    let port = server.port;
    let mut sessions = fill(port, "1.1.1.1", LIMIT).await;
    // A close frame, an abrupt end of the stream, a reset, a frame that breaks the protocol.
    sessions[0].send_frame(Opcode::Close, &[]).await;
    drop(sessions.pop());
    reset(sessions.pop());
    sessions[1].send_raw(&[0xff, 0xff, 0xff]).await;
    let again = fill(port, "1.1.1.1", LIMIT).await;
    again.into_iter().map(Some).for_each(reset);
    let again = fill(port, "1.1.1.1", LIMIT).await;
    drop((sessions, again));
    // The same with long-polling: a close packet, an undecodable one, a second poll at the same time, a poll that is given up.
    let mut sids = Vec::new();
    timeout(PATIENCE, async {
        while sids.len() < LIMIT as usize {
            let answer = open_from(port, "1.1.1.1").await;
            if answer.status == 200 {
                sids.push(sid_of(&answer.body));
            }
        }
    })
    .await
    .expect("places that are given back");
    post(port, &sids[0], "1").await;
    post(port, &sids[1], "x").await;
    let (one, other) = tokio::join!(poll(port, &sids[2]), poll(port, &sids[2]));
    assert!(one.status == 400 || other.status == 400);
    let given_up = timeout(Duration::from_millis(50), poll(port, &sids[3])).await;
    assert!(given_up.is_err(), "nothing was there to be polled");
    // What ends with a goodbye waits two seconds for the poll that takes it.
    let _sessions = fill(port, "1.1.1.1", LIMIT).await;
}

#[tokio::test]
async fn a_handshake_that_fails_takes_no_place() {
    let server = TestServer::with(|io| {
        let local: IpNet = "127.0.0.0/8".parse().unwrap();
        io.connections_per_address(1)
            .trusted_proxies([local])
            .allow_request(async |request| match request.headers.get("x-panic") {
                Some(_) => panic!("a hook may panic"),
                None if request.headers.contains_key("x-no") => Err("no".to_owned()),
                None => Ok(()),
            })
    })
    .await;
    let target = format!("/socket.io/?{WEBSOCKET}");
    for headers in [
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "X-No: 1\r\n",
        "X-Panic: 1\r\n",
    ] {
        let headers = format!("{headers}X-Forwarded-For: 1.1.1.1\r\n");
        let target = if headers.starts_with("Con") {
            target.clone()
        } else {
            format!("/socket.io/?{POLLING}")
        };
        let answer = request(server.port, "GET", &target, &headers, "").await;
        assert!([400, 403, 500].contains(&answer.status), "{answer:?}");
    }
    // A client that hangs up right behind its request.
    for _ in 0..5 {
        use tokio::io::AsyncWriteExt;
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", server.port))
            .await
            .unwrap();
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.1.1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.set_zero_linger().unwrap();
    }
    let _session = fill(server.port, "1.1.1.1", 1).await;
}

#[tokio::test]
async fn an_upgrade_keeps_the_place_of_its_session() {
    let server = behind_a_proxy(1).await;
    let sid = sid_of(&open_from(server.port, "1.1.1.1").await.body);
    // One that fails leaves the session where it was, one that succeeds takes it along.
    let mut socket = RawSocket::connect(server.port, &format!("{WEBSOCKET}&sid={sid}")).await;
    socket.send("nonsense").await;
    assert_eq!(socket.until_end().await, []);
    assert_eq!(open_from(server.port, "1.1.1.1").await.status, 429);
    let mut socket = RawSocket::connect(server.port, &format!("{WEBSOCKET}&sid={sid}")).await;
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");
    socket.send("5").await;
    socket.send("40").await;
    assert!(socket.text().await.starts_with("40{"));
    assert_eq!(open_from(server.port, "1.1.1.1").await.status, 429);
    reset(Some(socket));
    let _session = fill(server.port, "1.1.1.1", 1).await;
}

#[tokio::test]
async fn a_drain_gives_all_places_back() {
    let server = behind_a_proxy(3).await;
    let mut sessions = fill(server.port, "1.1.1.1", 3).await;
    assert!(server.io.drain(PATIENCE).await);
    for session in &mut sessions {
        session.until_end().await;
    }
    // Nobody can come in to count them: a draining node refuses before it counts.
    assert_eq!(open_from(server.port, "1.1.1.1").await.status, 503);
    assert_eq!(server.io.stats().connections_websocket, 0);
}

/// A server whose clients may send so many packets, or so many bytes, at once, and hardly any more later.
async fn metered(packets: Option<u32>, bytes: Option<u32>) -> TestServer {
    TestServer::with(|io| {
        let io = io.max_payload(1000);
        let io = io.event_rate(packets.map_or(0, |_| 1), packets.unwrap_or_default());
        io.byte_rate(bytes.map_or(0, |_| 1), bytes.unwrap_or_default())
    })
    .await
}

/// What a client is told that has sent too much.
const CLOSED: Frame = Frame::Close(Some(1008));

#[tokio::test]
async fn a_flood_of_any_kind_ends_its_connection_and_no_other() {
    let server = metered(Some(50), None).await;
    let mut bystander = RawSocket::join(server.port).await;
    let floods: [(&str, Opcode, &[&str]); 7] = [
        ("events", Opcode::Text, &["42[\"nobody listens\"]"]),
        ("acknowledgements", Opcode::Text, &["437[]"]),
        (
            "joining and leaving",
            Opcode::Text,
            &["40/custom,", "41/custom,"],
        ),
        ("pongs nobody asked for", Opcode::Text, &["3"]),
        ("noops", Opcode::Text, &["6"]),
        ("pings of the websocket", Opcode::Ping, &["x"]),
        ("pongs of the websocket", Opcode::Pong, &[""]),
    ];
    for (index, (name, opcode, payloads)) in floods.into_iter().enumerate() {
        let mut flooder = RawSocket::join(server.port).await;
        for payload in payloads.iter().cycle().take(200) {
            flooder.send_frame(opcode, payload.as_bytes()).await;
        }
        let frames = flooder.until_end().await;
        assert_eq!(frames.last(), Some(&CLOSED), "{name}");
        assert!(frames.len() < 100, "{name}: {} answers", frames.len());
        assert_eq!(server.refused("event_rate"), index as u64 + 1, "{name}");
    }
    bystander.send("42[\"message\",1]").await;
    assert_eq!(bystander.text().await, "42[\"message-back\",1]");
}

#[tokio::test]
async fn what_came_before_the_flood_is_handled() {
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let server = {
        let space = Namespace::new("/").on("n", move |Data(n): Data<u32>| {
            let heard = heard.clone();
            async move { heard.send(n).unwrap() }
        });
        let io = unisono::Io::builder().event_rate(1, 20).namespace(space);
        TestServer::serve(io.build()).await
    };
    let mut flooder = RawSocket::enter(server.port).await;
    for n in 0..100 {
        flooder.send(&format!("42[\"n\",{n}]")).await;
    }
    assert_eq!(flooder.until_end().await.last(), Some(&CLOSED));
    // One of the twenty was CONNECT.
    for n in 0..19 {
        assert_eq!(timeout(PATIENCE, hears.recv()).await.unwrap(), Some(n));
    }
}

#[tokio::test]
async fn a_flood_by_long_polling_ends_its_session() {
    let server = metered(Some(50), None).await;
    let sid = open(server.port).await;
    assert_eq!(post(server.port, &sid, "40").await.body, "ok");
    let flood = vec!["42[\"x\"]"; 100].join("\u{1e}");
    post(server.port, &sid, &flood).await;
    assert!(poll(server.port, &sid).await.body.ends_with('1'));
    assert_eq!(server.refused("event_rate"), 1);
}

#[tokio::test]
async fn more_bytes_than_allowed_end_the_connection_and_the_largest_message_passes() {
    // Raised to twice the largest message.
    let server = metered(None, Some(1)).await;
    let mut flooder = RawSocket::join(server.port).await;
    let large = format!("42[\"message\",\"{}\"]", "x".repeat(900));
    flooder.send(&large).await;
    assert_eq!(flooder.text().await.len(), large.len() + "-back".len());
    for _ in 0..3 {
        flooder.send(&large).await;
    }
    assert_eq!(flooder.until_end().await.last(), Some(&CLOSED));
    assert_eq!(server.refused("byte_rate"), 1);
    let sid = open(server.port).await;
    post(server.port, &sid, "40").await;
    for _ in 0..3 {
        post(server.port, &sid, &large).await;
    }
    assert_eq!(server.refused("byte_rate"), 2);
}

#[tokio::test]
async fn a_client_within_its_rates_is_not_bothered() {
    // Far more in all than at once.
    let server =
        TestServer::with(|io| io.event_rate(1_000_000, 100).byte_rate(100_000_000, 1)).await;
    let mut socket = RawSocket::join(server.port).await;
    for n in 0..1000 {
        socket.send(&format!("42[\"message\",{n}]")).await;
        assert_eq!(socket.text().await, format!("42[\"message-back\",{n}]"));
    }
    assert_eq!(
        server.refused("event_rate") + server.refused("byte_rate"),
        0
    );
}
