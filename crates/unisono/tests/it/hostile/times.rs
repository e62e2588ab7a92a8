//! What is too slow rather than wrong: everything has a deadline. The clock stands still until a row moves it; sockets go on meanwhile.

use std::sync::mpsc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time;

use super::arena::{breathe, check, until};
use super::attack::in_words;
use super::{Arena, Attack, BELOW, Got, HARMLESS, Row, row};
use crate::raw::{Frame, RawSocket, open, parse, poll, post};
use crate::server::quick;

use Attack::Own;

const UPGRADE: (&str, u64) = ("upgrade", 1);

#[rustfmt::skip]
pub(super) const TIMES: &[Row] = &[
    row("slow loris", "a connection that says nothing", "hang-up after 10 s", BELOW, Own(|arena| Box::pin(head(arena, "", "")))),
    row("slow loris", "a head at one byte a second", "hang-up after 10 s", BELOW, Own(|arena| Box::pin(head(arena, "", "GET /socket.io/?EIO=4")))),
    row("slow loris", "the head of an upgrade whose last line never ends", "hang-up after 10 s", BELOW, Own(|arena| Box::pin(head(arena, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nUpgrade: websocket\r\nX: ", "xxxxxxxxxxxxxxxxxxxxx")))),
    row("slow loris", "a head that begins after eight seconds", "hang-up after 10 s", BELOW, Own(|arena| Box::pin(late_head(arena)))),
    row("slow loris", "an answered connection that says nothing more", "hang-up after 10 s", BELOW, Own(|arena| Box::pin(keep_alive(arena)))),
    row("slow loris", "a body at one byte a second", "408 after 30 s; the session ends", ("bad_request", 1), Own(|arena| Box::pin(body(arena, "3")))),
    row("slow loris", "a body that is announced and never comes", "408 after 30 s; the session ends", ("bad_request", 1), Own(|arena| Box::pin(body(arena, "")))),
    row("engine.io#420", "an answer of 8 MB that is never read", "hang-up after 30 s; the session stays", BELOW, Own(|arena| Box::pin(unread_answer(arena)))),
    row("CVE-2026-48802", "a polling session that never joins", "1 after 10 s", ("connect_timeout", 1), Own(|arena| Box::pin(silent_session(arena)))),
    row("CVE-2026-48802", "a WebSocket that never joins", "close after 10 s", ("connect_timeout", 1), Own(|arena| Box::pin(silent_websocket(arena)))),
    row("Totodore/socketioxide#731", "an upgrade that says nothing", "hang-up after 10 s; the session stays", UPGRADE, Own(|arena| Box::pin(upgrade(arena, &[])))),
    row("Totodore/socketioxide#731", "an upgrade without its `5`", "hang-up after 10 s; the session stays", UPGRADE, Own(|arena| Box::pin(upgrade(arena, &["2probe"])))),
    row("derived", "a close frame, and a connection that stays open behind it", "close 1000, hang-up after 2 s", HARMLESS, Own(|arena| Box::pin(lingering(arena)))),
    row("derived", "a WebSocket that answers no ping", "close after the ping time-out", HARMLESS, Own(|_| Box::pin(mute()))),
];

#[tokio::test]
async fn times() {
    let _frozen = Frozen::begin();
    // Nobody is to be pinged in between.
    let long = Duration::from_secs(1_000_000);
    let arena = Arena::with(|io| io.ping_interval(long).max_payload(16 << 20)).await;
    check(&arena, TIMES).await;
}

/// The runtime's clock stands still while this lives.
pub(crate) struct Frozen {
    _release: mpsc::Sender<()>,
}

impl Frozen {
    pub(crate) fn begin() -> Self {
        time::pause();
        // A paused clock jumps to the next timer whenever the runtime waits for a socket, but not while something blocks.
        let (release, held) = mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || held.recv());
        Self { _release: release }
    }
}

/// A second goes by.
pub(crate) async fn second() {
    time::advance(Duration::from_secs(1)).await;
    breathe().await;
}

async fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    breathe().await;
    stream
}

/// What has come, and whether this was the end.
fn read_now(stream: &TcpStream, answer: &mut Vec<u8>) -> bool {
    loop {
        match stream.try_read_buf(answer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

/// Lets seconds go by until the server hangs up, doing `each` in every one; what it said, and when. A second more or less depends on what
/// had arrived when the clock was moved.
async fn seconds_until_end(stream: &mut TcpStream, expected: u64, drip: &str) -> (Vec<u8>, String) {
    let mut answer = Vec::new();
    let mut drops = drip.bytes();
    for seconds in 0..=expected + 2 {
        if read_now(stream, &mut answer) {
            assert!(seconds >= expected - 1, "after {seconds} s already");
            return (answer, format!("after {expected} s"));
        }
        if let Some(byte) = drops.next() {
            let _ = stream.write_all(&[byte]).await;
        }
        second().await;
    }
    panic!("still open after {} s", expected + 2);
}

async fn head(arena: Arena, first: &str, drip: &str) -> Got {
    let mut stream = connect(arena.port()).await;
    stream.write_all(first.as_bytes()).await.unwrap();
    breathe().await;
    let (answer, when) = seconds_until_end(&mut stream, 10, drip).await;
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    format!("hang-up {when}").into()
}

async fn late_head(arena: Arena) -> Got {
    let mut stream = connect(arena.port()).await;
    for _ in 0..8 {
        second().await;
    }
    stream.write_all(b"GET /socket.io/?EIO=4").await.unwrap();
    breathe().await;
    let (answer, _) = seconds_until_end(&mut stream, 2, "").await;
    assert!(answer.is_empty());
    "hang-up after 10 s".into()
}

async fn keep_alive(arena: Arena) -> Got {
    let mut stream = connect(arena.port()).await;
    stream
        .write_all(b"GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    until("the first answer", || {
        read_now(&stream, &mut answer);
        answer.starts_with(b"HTTP/1.1 404")
    })
    .await;
    let (rest, when) = seconds_until_end(&mut stream, 10, "").await;
    assert!(rest.is_empty());
    format!("hang-up {when}").into()
}

async fn body(arena: Arena, byte: &str) -> Got {
    let sid = arena.joined().await;
    let mut stream = connect(arena.port()).await;
    let head = format!(
        "POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    breathe().await;
    let (answer, when) = seconds_until_end(&mut stream, 30, &byte.repeat(100)).await;
    Got::on(format!("{} {when}", in_words(&parse(&answer))), sid)
}

/// So large that no kernel takes all of it from the server.
async fn unread_answer(arena: Arena) -> Got {
    let sid = arena.joined().await;
    let text = format!("42[\"message\",\"{}\"]", "x".repeat(8_000_000));
    assert_eq!(post(arena.port(), &sid, &text).await.body, "ok");
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let server = ([127, 0, 0, 1], arena.port()).into();
    let mut stream = socket.connect(server).await.unwrap();
    let head =
        format!("GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    until("the answer begins", || {
        stream.try_read(&mut [0; 16]).is_ok()
    })
    .await;
    for seconds in 0..=32 {
        // A reset is seen by who writes; nothing is read.
        if stream.write_all(b"x").await.is_err() {
            assert!(seconds >= 29, "after {seconds} s already");
            return Got::on("hang-up after 30 s", sid);
        }
        second().await;
    }
    panic!("still open");
}

async fn silent_session(arena: Arena) -> Got {
    let sid = open(arena.port()).await;
    for _ in 0..9 {
        assert_eq!(arena.server.io.stats().joining, 1);
        second().await;
    }
    second().await;
    second().await;
    let answer = poll(arena.port(), &sid).await;
    format!("{} after 10 s", answer.body).into()
}

async fn silent_websocket(arena: Arena) -> Got {
    let mut socket = RawSocket::connect(arena.port(), "EIO=4&transport=websocket").await;
    assert!(socket.text().await.starts_with("0{"));
    for _ in 0..9 {
        assert_eq!(arena.server.io.stats().joining, 1);
        second().await;
    }
    second().await;
    second().await;
    assert_eq!(socket.until_end().await, [Frame::Close(None)]);
    "close after 10 s".into()
}

async fn upgrade(arena: Arena, texts: &[&str]) -> Got {
    let sid = arena.joined().await;
    let query = format!("EIO=4&transport=websocket&sid={sid}");
    let mut socket = RawSocket::connect(arena.port(), &query).await;
    for text in texts {
        socket.send(text).await;
        assert_eq!(socket.text().await, "3probe");
        second().await;
        assert_eq!(poll(arena.port(), &sid).await.body, "6");
    }
    assert_eq!(arena.server.io.stats().probing, 1);
    let left = 10 - texts.len() as u64;
    let (rest, _) = seconds_until_end(&mut socket.stream, left, "").await;
    assert!(rest.is_empty());
    Got::on("hang-up after 10 s", sid)
}

async fn lingering(arena: Arena) -> Got {
    let before = arena.server.io.stats().connections_websocket;
    let mut socket = RawSocket::join(arena.port()).await;
    socket
        .send_frame(unisono_proto::ws::Opcode::Close, b"\x03\xe8")
        .await;
    assert_eq!(socket.until_end().await, [Frame::Close(Some(1000))]);
    let open = || arena.server.io.stats().connections_websocket > before;
    second().await;
    assert!(open(), "the client's side is not closed yet");
    second().await;
    second().await;
    until("the descriptor is closed", || !open()).await;
    "close 1000, hang-up after 2 s".into()
}

async fn mute() -> Got {
    let arena = Arena::with(quick).await;
    let mut socket = RawSocket::join(arena.port()).await;
    time::advance(Duration::from_millis(301)).await;
    assert_eq!(socket.text().await, "2");
    time::advance(Duration::from_millis(201)).await;
    assert_eq!(socket.until_end().await, [Frame::Close(None)]);
    "close after the ping time-out".into()
}
