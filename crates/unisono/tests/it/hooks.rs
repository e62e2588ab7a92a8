//! Where the application has a say in HTTP, and the options of the handshake.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use unisono::{Cookie, IpNet, Namespace, SameSite, Socket};

use crate::raw::{PATIENCE, RawSocket, get, open, poll, post, request, sid_of};
use crate::server::{TestServer, cors};

const POLLING: &str = "EIO=4&transport=polling";
const WEBSOCKET: &str = "EIO=4&transport=websocket";

#[tokio::test]
async fn a_polling_handshake_sets_the_cookie_and_nothing_else_does() {
    let server = TestServer::with(|io| io.cookie(Cookie::default())).await;
    let answer = get(server.port, POLLING).await;
    let sid = sid_of(&answer.body);
    let expected = format!("io={sid}; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(answer.header("set-cookie"), Some(&*expected));
    let posted = post(server.port, &sid, "40").await;
    let polled = poll(server.port, &sid).await;
    let refused = get(server.port, "EIO=4").await;
    for answer in [posted, polled, refused] {
        assert_eq!(answer.header("set-cookie"), None);
    }
    let socket = RawSocket::connect(server.port, WEBSOCKET).await;
    assert!(!socket.head.to_ascii_lowercase().contains("set-cookie"));
    let server = TestServer::start().await;
    assert_eq!(get(server.port, POLLING).await.header("set-cookie"), None);
}

#[tokio::test]
async fn a_cookie_may_be_made_for_pages_of_other_sites() {
    let cookie = Cookie::new("sticky").unwrap().path("/socket.io/").unwrap();
    let cookie = cookie.same_site(SameSite::None).partitioned(true);
    let server = TestServer::with(|io| io.cookie(cookie.max_age(Duration::from_secs(60)))).await;
    let answer = get(server.port, POLLING).await;
    let expected = format!(
        "sticky={}; Max-Age=60; Path=/socket.io/; HttpOnly; Secure; Partitioned; SameSite=None",
        sid_of(&answer.body)
    );
    assert_eq!(answer.header("set-cookie"), Some(&*expected));
}

#[tokio::test]
async fn the_application_decides_about_handshakes() {
    let server = TestServer::with(|io| {
        let proxy: IpNet = "127.0.0.1".parse::<IpAddr>().unwrap().into();
        io.trusted_proxies([proxy]).allow_request(async |request| {
            assert_eq!(request.method, "GET");
            assert_eq!(
                request.client_address,
                Some(Ipv4Addr::new(1, 2, 3, 4).into())
            );
            match request.uri.query() {
                Some(query) if query.contains("key=good") => Ok(()),
                Some(query) if query.contains("key=quiet") => Err(String::new()),
                _ => Err("no \"key\"".to_owned()),
            }
        })
    })
    .await;
    let from = "X-Forwarded-For: 1.2.3.4\r\n";
    for (key, status, body) in [
        ("bad", 403, r#"{"code":4,"message":"no \"key\""}"#),
        ("quiet", 403, r#"{"code":4,"message":"Forbidden"}"#),
        ("good", 200, ""),
    ] {
        let target = format!("/socket.io/?{POLLING}&key={key}");
        let answer = request(server.port, "GET", &target, from, "").await;
        assert_eq!(answer.status, status, "{key}");
        if status == 403 {
            assert_eq!(answer.body, body);
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
        let query = format!("{WEBSOCKET}&key={key}");
        let socket = RawSocket::try_connect(server.port, &query, from).await;
        let refused = socket.err().map(|answer| answer.status);
        assert_eq!(refused, (status == 403).then_some(403), "{key}");
    }
    assert_eq!(server.refused("forbidden"), 4);
}

#[tokio::test]
async fn only_handshakes_that_nothing_else_is_against_reach_the_application() {
    let asked = Arc::new(Mutex::new(0));
    let counting = asked.clone();
    let server = TestServer::with(|io| {
        io.max_connections(1).allow_request(move |_| {
            *counting.lock().unwrap() += 1;
            async { Ok(()) }
        })
    })
    .await;
    let sid = open(server.port).await;
    post(server.port, &sid, "40").await;
    poll(server.port, &sid).await;
    for query in [
        "EIO=4&transport=x",
        "EIO=2&transport=polling",
        "EIO=4&transport=websocket",
        POLLING,
    ] {
        assert_ne!(get(server.port, query).await.status, 200, "{query}");
    }
    assert_eq!(*asked.lock().unwrap(), 1);
}

#[tokio::test]
async fn handshakes_that_wait_for_the_application_do_not_pile_up() {
    let gate = Arc::new(Semaphore::new(0));
    let passing = gate.clone();
    let (asks, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let server = TestServer::with(|io| {
        io.max_connections(2).allow_request(move |_| {
            let (passing, asks) = (passing.clone(), asks.clone());
            async move {
                asks.send(()).unwrap();
                let _pass = passing.acquire().await.unwrap();
                Ok(())
            }
        })
    })
    .await;
    let port = server.port;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        waiting.push(tokio::spawn(async move { get(port, POLLING).await }));
        timeout(PATIENCE, asked.recv()).await.unwrap();
    }
    assert_eq!(get(port, POLLING).await.status, 503);
    assert_eq!(server.refused("full"), 1);
    // A client that gives up makes room.
    waiting.pop().unwrap().abort();
    let third = async {
        loop {
            let mut answer = tokio::spawn(async move { get(port, POLLING).await });
            tokio::select! {
                _ = asked.recv() => break Some(answer),
                refused = &mut answer => assert_eq!(refused.unwrap().status, 503),
            }
        }
    };
    let third = timeout(PATIENCE, third).await;
    gate.add_permits(1);
    let third = third.expect("the place of whoever gave up");
    assert_eq!(third.unwrap().await.unwrap().status, 200);
    assert_eq!(waiting.pop().unwrap().await.unwrap().status, 200);
}

#[tokio::test]
async fn an_application_that_never_decides_is_not_waited_for() {
    let server = TestServer::with(|io| io.allow_request(|_| std::future::pending())).await;
    let (answer, socket) = tokio::join!(
        get(server.port, POLLING),
        RawSocket::try_connect(server.port, WEBSOCKET, "")
    );
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("2"))
    );
    assert_eq!(answer.body, r#"{"message":"the server is busy"}"#);
    assert_eq!(socket.err().unwrap().status, 503);
    assert_eq!(server.refused("allow_timeout"), 2);
}

#[tokio::test]
async fn hooks_that_panic_cost_their_request_and_nothing_else() {
    let server = TestServer::with(|io| {
        io.allow_request(async |request| match request.uri.query() {
            Some(query) if query.contains("panic") => panic!("a hook may panic"),
            _ => Ok(()),
        })
        .response_headers(|context, headers| {
            headers.insert("x-before", HeaderValue::from_static("1"));
            assert_ne!(context.status, 500, "a hook may panic");
        })
    })
    .await;
    let answer = get(server.port, &format!("{POLLING}&panic=1")).await;
    assert_eq!((answer.status, answer.header("x-before")), (500, Some("1")));
    assert_eq!(server.refused("panic"), 2);
    assert_eq!(get(server.port, POLLING).await.status, 200);
}

#[tokio::test]
async fn the_application_adds_to_the_head_of_every_answer() {
    let server = TestServer::with(|io| {
        io.cors(cors()).response_headers(|context, headers| {
            let kind = if context.is_handshake { "opens" } else { "-" };
            let told = format!(
                "{} {} {kind} {} {}",
                context.method,
                context.status.as_u16(),
                context.sid.unwrap_or("none"),
                context.headers.contains_key("origin"),
            );
            headers.insert("x-told", told.parse().unwrap());
        })
    })
    .await;
    let origin = "Origin: https://jamz.example\r\n";
    let target = format!("/socket.io/?{POLLING}");
    let opened = request(server.port, "GET", &target, origin, "").await;
    let sid = sid_of(&opened.body);
    let told = |answer: &crate::raw::Answer| answer.header("x-told").unwrap_or("-").to_owned();
    assert_eq!(told(&opened), format!("GET 200 opens {sid} true"));
    assert_eq!(opened.header("vary"), Some("Origin"));
    let posted = post(server.port, &sid, "40").await;
    assert_eq!(told(&posted), format!("POST 200 - {sid} false"));
    let polled = poll(server.port, &sid).await;
    assert_eq!(told(&polled), format!("GET 200 - {sid} false"));
    let preflight = request(server.port, "OPTIONS", &target, origin, "").await;
    assert_eq!(told(&preflight), "OPTIONS 204 - none true");
    let unknown = get(server.port, &format!("{POLLING}&sid=AAAAAAAAAAAAAAAAAAAA")).await;
    assert_eq!(told(&unknown), "GET 400 - none false");
    let foreign = request(server.port, "GET", &target, "Origin: https://x\r\n", "").await;
    assert_eq!(told(&foreign), "GET 403 - none true");
    let socket = RawSocket::connect(server.port, WEBSOCKET).await;
    assert!(socket.head.contains("x-told: GET 101 opens "));
    let upgrade = RawSocket::connect(server.port, &format!("{WEBSOCKET}&sid={sid}")).await;
    assert!(
        upgrade
            .head
            .contains(&format!("x-told: GET 101 - {sid} false"))
    );
}

#[tokio::test]
async fn upgrades_may_be_turned_off() {
    let server = TestServer::with(|io| io.allow_upgrades(false)).await;
    let answer = get(server.port, POLLING).await;
    assert!(answer.body.contains("\"upgrades\":[]"), "{}", answer.body);
    let sid = sid_of(&answer.body);
    let upgrade = RawSocket::try_connect(server.port, &format!("{WEBSOCKET}&sid={sid}"), "").await;
    assert_eq!(upgrade.err().unwrap().status, 400);
    // The session goes on, and a WebSocket of its own is no upgrade.
    assert_eq!(post(server.port, &sid, "40").await.body, "ok");
    RawSocket::join(server.port).await;
}

#[tokio::test]
async fn an_upgrade_has_its_time() {
    let server = TestServer::with(|io| io.upgrade_timeout(Duration::from_millis(50))).await;
    let sid = open(server.port).await;
    let mut socket = RawSocket::connect(server.port, &format!("{WEBSOCKET}&sid={sid}")).await;
    assert_eq!(socket.until_end().await, []);
    assert_eq!(server.refused("upgrade"), 1);
    assert_eq!(post(server.port, &sid, "40").await.body, "ok");
}

#[tokio::test]
async fn a_socket_knows_its_clients_address() {
    let space = Namespace::new("/").on_connect(async |socket: Socket| {
        let address = socket.handshake().client_address().unwrap();
        socket.emit("you are", &address.to_string()).unwrap();
    });
    let proxy: IpNet = "127.0.0.0/8".parse().unwrap();
    let io = unisono::Io::builder()
        .trusted_proxies([proxy])
        .namespace(space);
    let server = TestServer::serve(io.build()).await;
    for (headers, address) in [
        ("", "127.0.0.1"),
        ("X-Forwarded-For: 1.2.3.4\r\n", "1.2.3.4"),
        (
            "X-Forwarded-For: 6.6.6.6, [2001:db8::1]:99, 127.0.0.3\r\n",
            "2001:db8::1",
        ),
    ] {
        let socket = RawSocket::try_connect(server.port, WEBSOCKET, headers).await;
        let mut socket = socket.ok().unwrap();
        assert!(socket.text().await.starts_with('0'));
        socket.send("40").await;
        assert!(socket.text().await.starts_with("40"));
        assert_eq!(
            socket.text().await,
            format!("42[\"you are\",\"{address}\"]")
        );
    }
}
