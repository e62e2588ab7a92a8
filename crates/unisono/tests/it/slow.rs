//! Clients that read slowly or not at all: what they miss, what they never miss, and when they are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::{Instant, MissedTickBehavior, interval};
use unisono::{Ack, Args, Binary, Io, IoBuilder, Namespace, SlowReaders, Space};
use unisono_test::await_until;

use crate::raw::{Frame, PATIENCE, RawSocket, open, poll, post};
use crate::server::TestServer;

/// Larger than the kernel's buffers in a few dozen events.
pub(crate) const BIG: usize = 100_000;

/// Messages that may wait.
const LIMIT: usize = 16;

pub(crate) struct Stage {
    pub(crate) server: TestServer,
    pub(crate) space: Space,
    pub(crate) disconnects: Arc<AtomicU64>,
}

impl Stage {
    pub(crate) async fn with(
        policy: SlowReaders,
        configure: impl FnOnce(IoBuilder) -> IoBuilder + Send,
    ) -> Self {
        let disconnects = Arc::new(AtomicU64::new(0));
        let count = disconnects.clone();
        let namespace = Namespace::new("/")
            .slow_readers(policy)
            .on("ask", async |Args(args): Args, ack: Ack| {
                ack.send(&args[0]).unwrap();
            })
            .on_disconnect(move || {
                count.fetch_add(1, SeqCst);
                async {}
            });
        let io = Io::builder().queue_limits(64 << 20, LIMIT);
        let server = TestServer::serve(configure(io).namespace(namespace).build()).await;
        let space = server.io.of("/").unwrap();
        Self {
            server,
            space,
            disconnects,
        }
    }

    /// Emits an event with its number, as an argument and in front of its attachment, and lets it leave if it can.
    pub(crate) async fn emit(&self, number: u32) {
        let mut bytes = vec![0; BIG];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let event = if number.is_multiple_of(3) { "a" } else { "b" };
        self.space
            .emit(event, &(number, Binary(bytes.into())))
            .unwrap();
        tokio::task::yield_now().await;
    }

    /// Emits to clients that do not read, until the kernel takes no more and then until `enough`. How many it was.
    pub(crate) async fn fill(&self, enough: impl Fn(&unisono::Stats) -> bool) -> u32 {
        let mut sent = 0;
        while !enough(&self.server.io.stats()) {
            self.emit(sent).await;
            sent += 1;
            assert!(sent < 2000, "a reader that reads nothing still has a queue");
        }
        sent
    }

    /// Emits until something waits for the only client and goes on waiting, which what is volatile shows: it does not leave. A kernel that refuses
    /// may take more a moment later, while its buffers still grow. How many events it was.
    pub(crate) async fn block(&self) -> u32 {
        let dropped = || self.server.io.stats().volatile_dropped;
        let (mut sent, mut in_a_row) = (0, 0);
        while in_a_row < 10 {
            let before = dropped();
            self.space.broadcast().volatile().emit("v", &()).unwrap();
            if dropped() > before {
                in_a_row += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            } else {
                in_a_row = 0;
                self.emit(sent).await;
                sent += 1;
                assert!(sent < 2000, "the kernel takes everything");
            }
        }
        sent
    }
}

/// The numbers of the events that come until `last`, each with its own attachment, and whatever came between them.
pub(crate) async fn numbers_until(reader: &mut RawSocket, last: u32) -> (Vec<u32>, Vec<String>) {
    let (mut numbers, mut others) = (Vec::new(), Vec::new());
    while numbers.last() != Some(&last) {
        let text = reader.text().await;
        let Some(rest) = text.strip_prefix("451-[\"") else {
            others.push(text);
            continue;
        };
        let number: u32 = rest.split(',').nth(1).unwrap().parse().unwrap();
        let Frame::Binary(bytes) = reader.next().await else {
            panic!("an event is followed by its attachment");
        };
        assert_eq!(bytes[..4], number.to_be_bytes());
        assert_eq!(bytes.len(), BIG);
        numbers.push(number);
    }
    (numbers, others)
}

fn is_ascending(numbers: &[u32]) -> bool {
    numbers.is_sorted_by(|a, b| a < b)
}

#[tokio::test]
async fn drop_oldest_leaves_a_gap_and_the_newest_in_order() {
    let stage = Stage::with(SlowReaders::DropOldest, |io| io).await;
    let mut reader = RawSocket::enter(stage.server.port).await;
    stage.fill(|stats| stats.slow_dropped > 0).await;
    // An answer is not an event: it is never dropped, although much comes behind it.
    reader.send("427[\"ask\",\"still here\"]").await;
    let io = &stage.server.io;
    await_until("the question", PATIENCE, || io.stats().events_received == 1).await;
    let before = stage.server.io.stats();
    for number in 5000..5100 {
        stage.emit(number).await;
    }
    let (numbers, others) = numbers_until(&mut reader, 5099).await;
    assert!(is_ascending(&numbers), "{numbers:?}");
    // The answer waits among them.
    let newest = &numbers[numbers.len() - (LIMIT - 2)..];
    assert_eq!(newest[0], 5100 - newest.len() as u32, "{numbers:?}");
    assert_eq!(others, ["437[\"still here\"]"]);
    let stats = io.stats();
    assert_eq!(
        stats.events_sent - numbers.len() as u64,
        stats.slow_dropped,
        "what is missing was counted"
    );
    assert!(stats.slow_dropped > before.slow_dropped);
    assert_eq!(stage.server.refused("slow_reader"), 0);
    // The connection is as good as before.
    reader.send("428[\"ask\",2]").await;
    assert_eq!(reader.text().await, "438[2]");
}

#[tokio::test]
async fn keep_latest_leaves_the_newest_of_each_key() {
    let policy = SlowReaders::keep_latest(|event, _| Some(event.to_owned()));
    let stage = Stage::with(policy, |io| io).await;
    let mut reader = RawSocket::enter(stage.server.port).await;
    stage.fill(|stats| stats.slow_replaced > 100).await;
    for number in 5000..5100 {
        stage.emit(number).await;
    }
    let (numbers, _) = numbers_until(&mut reader, 5099).await;
    assert!(is_ascending(&numbers), "{numbers:?}");
    // 5097 is the last of "a", 5099 of "b"; of what was emitted when nothing left any more no other is there.
    assert_eq!(numbers[numbers.len() - 2..], [5097, 5099]);
    let late = numbers.iter().filter(|number| **number >= 5000).count();
    assert_eq!(late, 2, "{numbers:?}");
    let stats = stage.server.io.stats();
    assert_eq!(
        stats.events_sent - numbers.len() as u64,
        stats.slow_replaced
    );
    assert_eq!(stats.slow_dropped, 0);
}

#[tokio::test]
async fn an_event_without_a_key_closes_a_reader_whose_queue_is_full() {
    let policy = SlowReaders::keep_latest(|event, _| (event == "never").then(|| event.to_owned()));
    let stage = Stage::with(policy, |io| io).await;
    let _reader = RawSocket::enter(stage.server.port).await;
    let io = &stage.server.io;
    let refused = |stats: &unisono::Stats| stats.refused.contains(&("slow_reader", 1));
    stage.fill(refused).await;
    await_until("the reader to be gone", PATIENCE, || {
        io.stats().connections_websocket == 0 && stage.disconnects.load(SeqCst) == 1
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_has_stopped_is_gone_within_its_deadline_whatever_the_policy() {
    for policy in [
        SlowReaders::Close,
        SlowReaders::DropOldest,
        SlowReaders::keep_latest(|event, _| Some(event.to_owned())),
    ] {
        gone_within_the_deadline(policy).await;
    }
}

async fn gone_within_the_deadline(policy: SlowReaders) {
    let started = Instant::now();
    let limit = Duration::from_millis(300);
    let name = format!("{policy:?}");
    // No queue is full before the time is over.
    let roomy = |io: IoBuilder| io.queue_limits(256 << 20, 4096).write_timeout(limit);
    let stage = Stage::with(policy, roomy).await;
    let mut stopped = RawSocket::enter(stage.server.port).await;
    // What keeps a client alive that only looks alive.
    stopped.send("3").await;
    let mut sent = stage.block().await;
    // As long as the kernel's buffer grows, it takes what waits.
    while stage.server.io.stats().connections_websocket > 0 {
        stage.emit(sent).await;
        sent += 1;
        tokio::time::sleep(limit / 30).await;
        assert!(started.elapsed() < PATIENCE, "{name}: it is still there");
    }
    let mut reading = RawSocket::enter(stage.server.port).await;
    assert!(started.elapsed() >= limit, "{name}");
    assert_eq!(stage.server.refused("slow_reader"), 1, "{name}");
    // Its descriptor is closed: whatever the kernel still had is followed by the end.
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stopped.stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "{name}: the stream does not end");
    assert_eq!(stage.disconnects.load(SeqCst), 1, "{name}");
    stage.emit(sent).await;
    assert_eq!(numbers_until(&mut reading, sent).await.0, [sent], "{name}");
}

#[tokio::test]
async fn a_reader_that_is_slow_but_goes_on_is_not_cut() {
    let limit = Duration::from_millis(1500);
    let stage = Stage::with(SlowReaders::DropOldest, |io| io.write_timeout(limit)).await;
    let mut reader = RawSocket::enter(stage.server.port).await;
    let sent = stage.fill(|stats| stats.slow_dropped > 0).await;
    // A pace of some megabytes a second, below that of the events.
    let mut pace = interval(Duration::from_millis(50));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begun = Instant::now();
    let mut bytes = vec![0; 200_000];
    let mut number = sent;
    while begun.elapsed() < 3 * limit {
        pace.tick().await;
        reader.stream.read_exact(&mut bytes).await.unwrap();
        for _ in 0..4 {
            stage.emit(number).await;
            number += 1;
        }
    }
    assert_eq!(stage.server.refused("slow_reader"), 0);
    assert_eq!(stage.server.io.stats().connections_websocket, 1);
}

#[tokio::test]
async fn a_polling_client_that_does_not_poll_is_gone_within_the_deadline() {
    let limit = Duration::from_millis(300);
    let stage = Stage::with(SlowReaders::Close, |io| io.write_timeout(limit)).await;
    let port = stage.server.port;
    let sid = open(port).await;
    assert_eq!(post(port, &sid, "40").await.body, "ok");
    assert!(poll(port, &sid).await.body.starts_with("40{"));
    // With nothing to take, silence is no crime.
    tokio::time::sleep(2 * limit).await;
    assert_eq!(stage.server.io.stats().connections_polling, 1);
    stage.emit(1).await;
    await_until("the session to be gone", PATIENCE, || {
        stage.server.io.stats().sockets == 0
    })
    .await;
    assert_eq!(stage.server.refused("slow_reader"), 1);
    assert_eq!(stage.disconnects.load(SeqCst), 1);
}

#[tokio::test]
async fn a_key_is_one_namespaces_own() {
    let policy = SlowReaders::keep_latest(|event, _| Some(event.to_owned()));
    let other = Namespace::new("/other").slow_readers(policy.clone());
    let stage = Stage::with(policy, |io| io.namespace(other)).await;
    let mut reader = RawSocket::enter(stage.server.port).await;
    reader.send("40/other,").await;
    assert!(reader.text().await.starts_with("40/other,"));
    let sent = stage.fill(|stats| stats.slow_replaced > 100).await;
    stage.emit(sent).await;
    let other = stage.server.io.of("/other").unwrap();
    for event in ["a", "b"] {
        other.emit(event, &()).unwrap();
    }
    let (_, others) = numbers_until(&mut reader, sent).await;
    assert!(others.is_empty(), "{others:?}");
    for event in ["a", "b"] {
        assert_eq!(reader.text().await, format!("42/other,[\"{event}\"]"));
    }
}
