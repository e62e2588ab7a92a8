//! What is too much rather than wrong. The server is a process of its own with a single thread: its memory is read from outside, and
//! whatever keeps the thread busy keeps a bystander waiting, whose round trips are compared with those of an idle server in the same run.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use unisono_proto::ws::{self, Opcode};

use super::Future;
use super::attack::outcome;
use super::process::{Process, Watch};
use super::websocket::frame;
use crate::raw::{Frame, PATIENCE, RawSocket, get, open, poll, post, request, sid_of};

/// One flood.
pub(super) struct Flood {
    pub(super) id: &'static str,
    pub(super) input: &'static str,
    pub(super) got: &'static str,
    pub(super) counted: (&'static str, u64),
    /// The most that the server's memory may grow meanwhile.
    pub(super) mib: u64,
    /// Of the server's port.
    attack: fn(u16) -> Future<String>,
}

const fn flood(
    id: &'static str,
    input: &'static str,
    got: &'static str,
    counted: (&'static str, u64),
    mib: u64,
    attack: fn(u16) -> Future<String>,
) -> Flood {
    Flood {
        id,
        input,
        got,
        counted,
        mib,
        attack,
    }
}

/// The bystander's median round trip may grow this many times. One thread without optimisation serves both, and the attacker takes a processor
/// too: 70 times were measured. A server that works off a flood in one go makes it thousands.
pub(super) const SLOWDOWN: u32 = 250;

/// What a processor that has other things to do may make of a round trip; a flood that is worked off in one go takes a second and more.
const SOON: Duration = Duration::from_millis(250);

/// How long the idle server is watched.
const IDLE: Duration = Duration::from_millis(300);

const NONE: (&str, u64) = super::HARMLESS;

#[rustfmt::skip]
pub(super) const FRAMES: &[Flood] = &[
    flood("CVE-2026-48779", "a message of a million empty fragments", "close 1002", ("frame", 1), 8, |port| Box::pin(sent(port, [frame(0x01, b""), frame(0x00, b"").repeat(1_000_000)].concat()))),
    flood("CVE-2026-48779", "a message of a million fragments of one byte", "close 1002", ("frame", 1), 8, |port| Box::pin(sent(port, [frame(0x01, b"4"), frame(0x00, b"x").repeat(1_000_000)].concat()))),
    flood("CVE-2026-42786", "continuations of 100 bytes and never a last one, 10 MB", "close 1002", ("frame", 1), 8, |port| Box::pin(sent(port, [frame(0x02, b""), frame(0x00, &[7; 100]).repeat(100_000)].concat()))),
    flood("CVE-2014-0193", "continuations of 1,000 bytes and never a last one, 10 MB", "close 1009", ("too_large", 1), 8, |port| Box::pin(sent(port, [frame(0x02, b""), long_frame(0x00, 1000).repeat(10_000)].concat()))),
    flood("CVE-2014-0193", "50 connections with 990 kB of a message that never ends", "nothing", NONE, 80, |port| Box::pin(unfinished(port))),
    flood("derived", "300,000 pings from somebody who does not read", "hang-up", ("slow_reader", 1), 16, |port| Box::pin(unread(port, frame(0x89, &[7; 125]).repeat(300_000)))),
    flood("derived", "100,000 pings from somebody who reads", "100000 pongs, served", NONE, 8, |port| Box::pin(pings(port))),
    flood("CVE-2026-48802", "300,000 WebSocket pongs", "served", NONE, 8, |port| Box::pin(sent(port, frame(0x8a, b"hey").repeat(300_000)))),
    flood("CVE-2026-48802", "300,000 Engine.IO pongs", "served", NONE, 8, |port| Box::pin(sent(port, frame(0x81, b"3").repeat(300_000)))),
    flood("CVE-2026-48802", "300,000 Engine.IO noops before CONNECT", "hang-up", ("connect_timeout", 1), 8, |port| Box::pin(noops_before_connect(port))),
];

#[rustfmt::skip]
pub(super) const PACKETS: &[Flood] = &[
    flood("derived", "200,000 acks that nobody asked for", "served", NONE, 8, |port| Box::pin(sent(port, numbered(200_000, |n| format!("43{n}[]"))))),
    flood("derived", "200,000 events that nobody handles", "served", NONE, 8, |port| Box::pin(sent(port, frame(0x81, b"42[\"x\"]").repeat(200_000)))),
    flood("engine.io#420", "50,000 events that are answered, from somebody who does not read", "hang-up", ("slow_reader", 1), 16, |port| Box::pin(unread(port, long_echo(50_000)))),
    flood("engine.io#420", "20 clients who do not read what is broadcast to them, 20 MB each", "hang-up", ("slow_reader", 20), 24, |port| Box::pin(broadcast(port))),
    flood("derived", "CONNECT to 100,000 namespaces that do not exist", "100000 refusals, served", ("namespace", 100_000), 8, |port| Box::pin(namespaces(port))),
    flood("derived", "20,000 times CONNECT and DISCONNECT", "20000 sockets, served", NONE, 8, |port| Box::pin(connects(port))),
    flood("derived", "100 clients with credentials of 64 KiB, made to grow", "nothing", NONE, 160, |port| Box::pin(credentials(port))),
    flood("derived", "500,000 rooms joined and left, 1,000 at a time", "served", NONE, 16, |port| Box::pin(rooms(port))),
    flood("derived", "200 events of 50,000 zeros", "served", NONE, 64, |port| Box::pin(sent(port, zeros(200)))),
    flood("CVE-2026-48804", "10 clients with 3.9 MB of attachments and one owed", "nothing", NONE, 64, |port| Box::pin(owing(port))),
];

#[rustfmt::skip]
pub(super) const REQUESTS: &[Flood] = &[
    flood("CVE-2020-36048", "an EIO3 payload of 300,000 `1:2` on an EIO4 session", "200 ok", NONE, 16, |port| Box::pin(posted(port, "1:2".repeat(300_000)))),
    flood("CVE-2020-36048", "an EIO3 payload of 300,000 pings `1:2` on an EIO3 session that is not polled", "200 ok", ("slow_reader", 1), 16, |port| Box::pin(eio3_pings(port))),
    flood("CVE-2020-36048", "a payload of half a million noops: after 16,384 packets it is too many", "200 ok", ("packet", 1), 16, |port| Box::pin(posted(port, "6\u{1e}".repeat(499_999) + "1"))),
    flood("derived", "a gzip bomb as a body: not inflated", "200 ok", ("packet", 1), 16, |port| Box::pin(posted(port, "\u{1f}\u{8}\u{0}".repeat(300_000)))),
    flood("CVE-2026-48802", "1,000 sessions that never CONNECT", "1000 sessions", ("connect_timeout", 1000), 24, |port| Box::pin(silent_sessions(port))),
    flood("CVE-2026-48802", "300 WebSockets that never CONNECT", "300 times close", ("connect_timeout", 300), 16, |port| Box::pin(silent_websockets(port))),
    flood("Totodore/socketioxide#731", "200 sessions with an upgrade that is never finished", "nothing", ("upgrade", 200), 24, |port| Box::pin(upgrades(port))),
    flood("derived", "500 heads that never end", "nothing", NONE, 24, |port| Box::pin(heads(port))),
    flood("CVE-2022-41940", "2,000 connections reset at once", "nothing", NONE, 24, |port| Box::pin(resets(port))),
];

#[tokio::test]
async fn frames() {
    check(FRAMES).await;
}

#[tokio::test]
async fn packets() {
    check(PACKETS).await;
}

#[tokio::test]
async fn requests() {
    check(REQUESTS).await;
}

/// How often somebody else gets a turn, at least, while eight megabytes of events are worked off: 64 KiB at a time are 128 turns, each with
/// time for several round trips of its own.
const TURNS: u32 = 300;

#[tokio::test]
async fn a_flood_gives_way_to_what_arrives_elsewhere() {
    let server = Process::start();
    let watch = Watch::begin(server.port);
    let bytes = frame(0x81, b"42[\"x\"]").repeat(600_000);
    let start = std::time::Instant::now();
    assert_eq!(sent(server.port, bytes).await, "served");
    let took = start.elapsed();
    let round_trips = watch.end();
    let median = round_trips[round_trips.len() / 2];
    assert!(
        median * TURNS < took,
        "{median:?} while {took:?} are worked off"
    );
}

async fn check(floods: &[Flood]) {
    for flood in floods {
        check_flood(flood).await;
    }
}

async fn check_flood(flood: &Flood) {
    let server = Process::start();
    let idle = Watch::begin(server.port);
    tokio::time::sleep(IDLE).await;
    let idle = idle.end();
    let watch = Watch::begin(server.port);
    let name = format!("{}: {}", flood.id, flood.input);
    let before = settled(&server, &name, |stats| stats["=sockets"] == 1).await;
    let rss = server.begin_peak();
    let got = (flood.attack)(server.port).await;
    let (reason, count) = flood.counted;
    let after = settled(&server, &name, |stats| {
        let back = before.iter().filter(|(gauge, _)| gauge.starts_with('='));
        let back = back
            .into_iter()
            .all(|(gauge, value)| stats[gauge] == *value);
        back && stats
            .get(reason)
            .is_none_or(|n| n - before[reason] >= count)
    })
    .await;
    let moved = before.iter().filter(|(name, n)| after[*name] != **n);
    let moved: Vec<(&str, u64)> = moved.map(|(name, n)| (&**name, after[name] - n)).collect();
    let grown = server.peak().saturating_sub(rss) >> 10;
    let busy = watch.end();
    let (idle, median) = (idle[idle.len() / 2], busy[busy.len() / 2]);
    let slowest = busy.last().expect("at least one");
    println!(
        "{name} | {got} | {reason} {count} | +{grown} MiB | round trip {idle:?} idle, {median:?} during, {slowest:?} at most, of {}",
        busy.len()
    );
    assert_eq!(got, flood.got, "{name}");
    assert_eq!(
        moved,
        Vec::from_iter((count > 0).then_some(flood.counted)),
        "{name}"
    );
    assert!(grown <= flood.mib, "{name}: {grown} MiB more");
    assert!(
        median < SOON.max(idle * SLOWDOWN),
        "{name}: {median:?} against {idle:?}"
    );
}

/// The server's numbers once they are as they should be.
async fn settled(
    server: &Process,
    name: &str,
    holds: impl Fn(&BTreeMap<String, u64>) -> bool,
) -> BTreeMap<String, u64> {
    let start = std::time::Instant::now();
    loop {
        let stats = server.stats().await;
        if holds(&stats) {
            return stats;
        }
        assert!(start.elapsed() < PATIENCE, "{name}: left behind: {stats:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Sends it all after joining; what comes back.
async fn sent(port: u16, bytes: Vec<u8>) -> String {
    let mut socket = RawSocket::join(port).await;
    socket.send_raw(&bytes).await;
    outcome(&mut socket).await
}

fn long_frame(first: u8, len: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    ws::encode_masked(Opcode::Binary, &vec![7; len], [1; 4], &mut frame);
    frame[0] = first;
    frame
}

fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    ws::encode_masked(Opcode::Text, text.as_bytes(), [1; 4], &mut frame);
    frame
}

fn numbered(count: usize, text: impl Fn(usize) -> String) -> Vec<u8> {
    (0..count).flat_map(|n| text_frame(&text(n))).collect()
}

fn long_echo(count: usize) -> Vec<u8> {
    let text = format!("42[\"message\",\"{}\"]", "x".repeat(500));
    text_frame(&text).repeat(count)
}

fn zeros(count: usize) -> Vec<u8> {
    text_frame(&format!("42[\"x\"{}]", ",0".repeat(50_000))).repeat(count)
}

/// Sends for as long as the server takes it, and reads nothing.
async fn unread(port: u16, bytes: Vec<u8>) -> String {
    let mut socket = RawSocket::join(port).await;
    let written = socket.stream.write_all(&bytes).await;
    // What the kernel has kept comes first, if anything.
    assert!(written.is_err(), "it took everything");
    "hang-up".to_owned()
}

async fn unfinished(port: u16) -> String {
    let mut sockets = Vec::new();
    for _ in 0..50 {
        let mut socket = RawSocket::join(port).await;
        socket.send_raw(&long_frame(0x02, 990_000)).await;
        // Behind it, so that it has been read.
        socket.send_frame(Opcode::Ping, b"there?").await;
        assert_eq!(socket.next().await, Frame::Pong(b"there?".to_vec()));
        sockets.push(socket);
    }
    "nothing".to_owned()
}

async fn pings(port: u16) -> String {
    let mut socket = RawSocket::join(port).await;
    let mut pongs = 0;
    for _ in 0..100 {
        socket.send_raw(&frame(0x89, b"hey").repeat(1000)).await;
        for _ in 0..1000 {
            assert_eq!(socket.next().await, Frame::Pong(b"hey".to_vec()));
            pongs += 1;
        }
    }
    format!("{pongs} pongs, {}", outcome(&mut socket).await)
}

async fn noops_before_connect(port: u16) -> String {
    let mut socket = RawSocket::connect(port, "EIO=4&transport=websocket").await;
    assert!(socket.text().await.starts_with("0{"));
    let noops = frame(0x81, b"6").repeat(10_000);
    // They do not prolong the time to CONNECT.
    while socket.stream.write_all(&noops).await.is_ok() {}
    "hang-up".to_owned()
}

async fn broadcast(port: u16) -> String {
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let mut socket = RawSocket::join(port).await;
        socket.send("42[\"enter\",\"flooded\"]").await;
        assert_eq!(outcome(&mut socket).await, "served");
        sockets.push(socket);
    }
    let mut trigger = RawSocket::join(port).await;
    for _ in 0..200 {
        trigger.send("42[\"flood\"]").await;
        assert_eq!(outcome(&mut trigger).await, "served");
    }
    for socket in &mut sockets {
        // What the kernels have kept, then the end.
        let mut rest = Vec::new();
        let _ = socket.stream.read_to_end(&mut rest).await;
        assert!(rest.len() < 16 << 20, "{} bytes in kernels", rest.len());
    }
    "hang-up".to_owned()
}

async fn namespaces(port: u16) -> String {
    let mut socket = RawSocket::join(port).await;
    let mut refusals = 0;
    for round in 0..100 {
        let connects = numbered(1000, |n| format!("40/n{},", round * 1000 + n));
        socket.send_raw(&connects).await;
        for _ in 0..1000 {
            let answer = socket.text().await;
            assert_eq!(
                answer,
                format!("44/n{refusals},{{\"message\":\"Invalid namespace\"}}")
            );
            refusals += 1;
        }
    }
    format!("{refusals} refusals, {}", outcome(&mut socket).await)
}

async fn connects(port: u16) -> String {
    let mut socket = RawSocket::join(port).await;
    let again = [frame(0x81, b"41"), frame(0x81, b"40")].concat();
    let mut sockets = 0;
    while sockets < 20_000 {
        socket.send_raw(&again.repeat(1000)).await;
        let all = sockets + 1000;
        while sockets < all {
            sockets += usize::from(socket.text().await.starts_with("40{"));
        }
    }
    format!("{sockets} sockets, {}", outcome(&mut socket).await)
}

async fn credentials(port: u16) -> String {
    let auth = format!("40{{\"a\":[0{}]}}", ",0".repeat(32_000));
    let mut sockets = Vec::new();
    for _ in 0..100 {
        let mut socket = RawSocket::connect(port, "EIO=4&transport=websocket").await;
        assert!(socket.text().await.starts_with("0{"));
        socket.send(&auth).await;
        assert_eq!(outcome(&mut socket).await, "joined, served");
        sockets.push(socket);
    }
    "nothing".to_owned()
}

async fn rooms(port: u16) -> String {
    let mut socket = RawSocket::join(port).await;
    for round in 0..500 {
        let names: String = (0..1000).map(|n| format!(",\"{round}-{n}\"")).collect();
        socket.send(&format!("42[\"enter\"{names}]")).await;
        socket.send(&format!("42[\"exit\"{names}]")).await;
    }
    outcome(&mut socket).await
}

async fn owing(port: u16) -> String {
    let mut sockets = Vec::new();
    let five: String = (0..5)
        .map(|n| format!(",{{\"_placeholder\":true,\"num\":{n}}}"))
        .collect();
    for _ in 0..10 {
        let mut socket = RawSocket::join(port).await;
        socket.send(&format!("455-[\"x\"{five}]")).await;
        for _ in 0..4 {
            socket.send_raw(&long_frame(0x82, 980_000)).await;
        }
        socket.send_frame(Opcode::Ping, b"there?").await;
        assert_eq!(socket.next().await, Frame::Pong(b"there?".to_vec()));
        sockets.push(socket);
    }
    "nothing".to_owned()
}

async fn joined(port: u16) -> String {
    let sid = open(port).await;
    assert_eq!(post(port, &sid, "40").await.body, "ok");
    assert!(poll(port, &sid).await.body.starts_with("40{"));
    sid
}

async fn posted(port: u16, body: String) -> String {
    let sid = joined(port).await;
    let answer = post(port, &sid, &body).await;
    super::attack::in_words(&answer)
}

/// Each ping asks for a pong, which nobody fetches.
async fn eio3_pings(port: u16) -> String {
    let query = "EIO=3&transport=polling";
    let sid = sid_of(&get(port, query).await.body);
    let target = format!("/socket.io/?{query}&sid={sid}");
    let answer = request(port, "POST", &target, "", &"1:2".repeat(300_000)).await;
    super::attack::in_words(&answer)
}

async fn silent_sessions(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = request.replace("Host: x", "Host: x\r\nConnection: close");
    let requests = request.repeat(999) + &last;
    stream.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    format!("{} sessions", answers.matches("0{\"sid\"").count())
}

async fn silent_websockets(port: u16) -> String {
    let mut sockets = Vec::new();
    for _ in 0..300 {
        sockets.push(RawSocket::connect(port, "EIO=4&transport=websocket").await);
    }
    for socket in &mut sockets {
        let frames = socket.until_end().await;
        assert_eq!(frames.last(), Some(&Frame::Close(None)));
    }
    format!("{} times close", sockets.len())
}

async fn upgrades(port: u16) -> String {
    let mut probes = Vec::new();
    for _ in 0..200 {
        let sid = joined(port).await;
        let query = format!("EIO=4&transport=websocket&sid={sid}");
        let socket = RawSocket::connect(port, &query).await;
        probes.push((sid, socket));
    }
    for (sid, socket) in probes {
        drop(socket);
        assert_eq!(post(port, &sid, "1").await.body, "ok");
    }
    "nothing".to_owned()
}

async fn heads(port: u16) -> String {
    let mut streams = Vec::new();
    for _ in 0..500 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let head = b"GET /socket.io/?EIO=4 HTTP/1.1\r\nHost: x\r\nX: ";
        stream.write_all(head).await.unwrap();
        streams.push(stream);
    }
    "nothing".to_owned()
}

async fn resets(port: u16) -> String {
    for _ in 0..2000 {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_zero_linger().unwrap();
    }
    "nothing".to_owned()
}
