//! Long-polling, request by request.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use unisono::{Data, Namespace, Socket, Value};
use unisono_test::await_until;

use crate::raw::{PATIENCE, get, open, poll, post, request};
use crate::server::{TestServer, quick};

#[tokio::test]
async fn a_session_is_joined_used_and_left() {
    let server = TestServer::start().await;
    let sid = open(server.port).await;
    assert_eq!(post(server.port, &sid, "40{\"token\":1}").await.body, "ok");
    let first = poll(server.port, &sid).await.body;
    let (connect, auth) = first.split_once('\u{1e}').expect("two packets");
    assert!(connect.starts_with("40{\"sid\":\""), "{connect}");
    assert_eq!(auth, "42[\"auth\",{\"token\":1}]");
    // Several packets in one body, binary ones among them, come back in order.
    let body = "42[\"message\",1]\u{1e}451-[\"message\",{\"_placeholder\":true,\"num\":0}]\u{1e}bAQIDBA==\u{1e}423[\"message-with-ack\",\"x\"]";
    assert_eq!(post(server.port, &sid, body).await.body, "ok");
    let back = poll(server.port, &sid).await.body;
    let records: Vec<&str> = back.split('\u{1e}').collect();
    assert_eq!(
        records,
        [
            "42[\"message-back\",1]",
            "451-[\"message-back\",{\"_placeholder\":true,\"num\":0}]",
            "bAQIDBA==",
            "433[\"x\"]"
        ]
    );
    assert_eq!(post(server.port, &sid, "1").await.body, "ok");
    await_until("the session to end", PATIENCE, || {
        server.io.stats().connections_polling == 0
    })
    .await;
    assert_eq!(
        poll(server.port, &sid).await.body,
        r#"{"code":1,"message":"Session ID unknown"}"#
    );
}

#[tokio::test]
async fn a_second_poll_ends_the_session() {
    let server = TestServer::start().await;
    let sid = open(server.port).await;
    let mut first = TcpStream::connect(("127.0.0.1", server.port))
        .await
        .unwrap();
    let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    first
        .write_all(
            format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
        )
        .await
        .unwrap();
    // Whichever of the two comes first waits; the other is refused, and the first hears of the end.
    let second = poll(server.port, &sid).await;
    let mut bytes = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut first, &mut bytes)
        .await
        .unwrap();
    let first = String::from_utf8(bytes).unwrap();
    let refused =
        usize::from(second.status == 400) + usize::from(first.starts_with("HTTP/1.1 400"));
    let told = usize::from(second.body == "1") + usize::from(first.ends_with("\r\n\r\n1"));
    assert_eq!((refused, told), (1, 1), "{first} {second:?}");
    assert_eq!(server.refused("overlap"), 1);
    assert_eq!(poll(server.port, &sid).await.status, 400);
}

#[tokio::test]
async fn a_poll_that_is_given_up_ends_the_session() {
    let server = TestServer::start().await;
    let sid = open(server.port).await;
    let mut stream = TcpStream::connect(("127.0.0.1", server.port))
        .await
        .unwrap();
    let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    stream
        .write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        .await
        .unwrap();
    drop(stream);
    await_until("the session to end", PATIENCE, || {
        server.io.stats().connections_polling == 0
    })
    .await;
}

// The end of the stream must be able to arrive while the request is looked at, hence the threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_closes_its_side_behind_its_request_is_answered() {
    let server = TestServer::start().await;
    let sid = open(server.port).await;
    assert_eq!(post(server.port, &sid, "40").await.body, "ok");
    let query = "/socket.io/?EIO=4&transport=polling";
    let handshake = format!("GET {query} HTTP/1.1\r\nHost: x\r\n\r\n");
    let body = "42[\"message\",1]";
    let length = body.len();
    let post = format!(
        "POST {query}&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let port = server.port;
    let answers = tokio::task::spawn_blocking(move || {
        let ask = |request: &String| {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer.lines().next().unwrap_or_default().to_owned()
        };
        let requests = [handshake, post];
        let rounds = requests.iter().cycle().take(40);
        rounds.map(ask).collect::<Vec<_>>()
    });
    for answer in answers.await.unwrap() {
        assert_eq!(answer, "HTTP/1.1 200 OK");
    }
}

#[tokio::test]
async fn what_a_post_may_not_be() {
    let server = TestServer::with(|io| io.max_payload(1000)).await;
    for (headers, body, status, survives) in [
        ("", "x".repeat(1001), 413, true),
        (
            "Content-Type: application/octet-stream\r\n",
            "40".to_owned(),
            400,
            false,
        ),
        ("", String::new(), 200, false),
        ("", "9".to_owned(), 200, false),
        ("", "42[\"e\"]".to_owned(), 200, false),
        ("", "4\u{1e}40".to_owned(), 200, false),
        ("", "40".to_owned() + &" ".repeat(998), 200, false),
        ("", "40".to_owned(), 200, true),
    ] {
        let sid = open(server.port).await;
        let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        let shown = &body[..body.len().min(20)];
        let answer = request(server.port, "POST", &target, headers, &body).await;
        assert_eq!(answer.status, status, "{shown}");
        let after = post(server.port, &sid, if shown == "40" { "3" } else { "40" }).await;
        assert_eq!(after.body == "ok", survives, "{shown} {after:?}");
    }
}

#[tokio::test]
async fn an_unanswered_ping_ends_the_session_on_time() {
    let server = TestServer::with(quick).await;
    let sid = open(server.port).await;
    assert_eq!(poll(server.port, &sid).await.body, "2");
    assert_eq!(poll(server.port, &sid).await.body, "1");
    let disconnects = server.io.stats();
    assert_eq!(disconnects.connections_polling, 0);
    assert_eq!(
        get(server.port, &format!("EIO=4&transport=polling&sid={sid}"))
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn a_client_that_joins_nothing_is_closed() {
    let server =
        TestServer::with(|io| quick(io).connect_timeout(std::time::Duration::from_millis(100)))
            .await;
    let sid = open(server.port).await;
    assert_eq!(poll(server.port, &sid).await.body, "1");
    assert_eq!(server.refused("connect_timeout"), 1);
}

#[tokio::test]
async fn a_post_of_more_events_than_may_wait_is_worked_off() {
    let server = TestServer::start().await;
    let sid = open(server.port).await;
    let mut body = "40".to_owned();
    for n in 0..1000 {
        body.push_str(&format!("\u{1e}42[\"message\",{n}]"));
    }
    assert_eq!(post(server.port, &sid, &body).await.body, "ok");
    let mut seen = 0;
    while seen < 1000 {
        let records = poll(server.port, &sid).await.body;
        for record in records
            .split('\u{1e}')
            .filter(|r| r.contains("message-back"))
        {
            assert_eq!(record, format!("42[\"message-back\",{seen}]"));
            seen += 1;
        }
    }
}

#[tokio::test]
async fn an_answer_carries_what_the_python_client_takes_at_once() {
    let server = TestServer::start().await;
    let sid = open(server.port).await;
    post(server.port, &sid, "40").await;
    poll(server.port, &sid).await;
    let space = server.io.of("/").unwrap();
    let packets = async || {
        let body = poll(server.port, &sid).await.body;
        body.split('\u{1e}').count()
    };
    for n in 0..40 {
        space.emit("news", &n).unwrap();
    }
    assert_eq!(
        [packets().await, packets().await, packets().await],
        [16, 16, 8]
    );
    // A message stays whole with its attachments.
    let pair = [Value::Bin(vec![1].into()), Value::Bin(vec![2].into())];
    for _ in 0..7 {
        space.emit("news", &pair).unwrap();
    }
    assert_eq!([packets().await, packets().await], [15, 6]);
    // Who is far behind gets everything.
    for n in 0..257 {
        space.emit("news", &n).unwrap();
    }
    assert_eq!(packets().await, 257);
}

#[tokio::test]
async fn a_farewell_comes_in_answers_that_the_python_client_takes() {
    let namespace = Namespace::new("/").on("bye", async |socket: Socket, Data(count): Data<u8>| {
        for n in 0..count {
            socket.emit("news", &n).unwrap();
        }
        socket.disconnect_and_close();
    });
    let server = TestServer::of(namespace).await;
    // Events, then the packets of each answer: DISCONNECT and CLOSE are behind the events.
    for (events, expected) in [
        (3, &[5][..]),
        (14, &[16]),
        (15, &[16, 1]),
        (40, &[16, 16, 10]),
    ] {
        let sid = open(server.port).await;
        post(server.port, &sid, "40").await;
        poll(server.port, &sid).await;
        post(server.port, &sid, &format!("42[\"bye\",{events}]")).await;
        let mut answers = Vec::new();
        loop {
            let body = poll(server.port, &sid).await.body;
            answers.push(body.split('\u{1e}').count());
            if body.ends_with('1') && body.rsplit('\u{1e}').next() == Some("1") {
                break;
            }
        }
        assert_eq!(answers, expected, "{events} events");
    }
}
