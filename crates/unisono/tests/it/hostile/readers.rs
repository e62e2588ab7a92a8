//! Many who do not read what they have asked for: when they are gone, nothing of them is left, and meanwhile each costs no more than its queue.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use unisono_proto::ws::{self, Opcode};

use super::arena::Bystander;
use super::process::{Process, SMALL_QUEUE};
use crate::raw::{PATIENCE, RawSocket, request};

const READERS: usize = 200;

/// What each asks for, of 100 kB: several times what its queue and both kernels keep.
const EVENTS: usize = 50;

/// What a connection may hold beside its queue: what one write takes, and the event that is in it.
const IN_HANDS: usize = (256 << 10) + 100_000;

/// For a process of debug code: sockets, tasks, and what the allocator keeps.
const OVERHEAD_KIB: usize = 16 << 10;

#[tokio::test]
async fn two_hundred_who_do_not_read_leave_nothing_behind() {
    let server = Process::start_small();
    let mut bystander = Bystander::join(server.port).await;
    let before = server.descriptors();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(RawSocket::join(server.port).await);
    }
    assert_eq!(server.descriptors(), before + READERS);
    let resident = server.begin_peak();
    let mut ask = Vec::new();
    ws::encode_masked(Opcode::Text, b"42[\"own\"]", [1; 4], &mut ask);
    let ask = ask.repeat(EVENTS);
    for reader in &mut readers {
        reader.send_raw(&ask).await;
    }
    until(&server, "all to be cut", async || {
        let stats = server.stats().await;
        stats["slow_reader"] == READERS as u64 && stats["=websocket"] == 1
    })
    .await;
    // The clients still hold their ends.
    until(&server, "the descriptors", async || {
        server.descriptors() == before
    })
    .await;
    let grown = server.peak().saturating_sub(resident) as usize;
    let bound = READERS * (SMALL_QUEUE + IN_HANDS) / 1024 + OVERHEAD_KIB;
    println!("{READERS} readers: +{grown} KiB of at most {bound}");
    assert!(grown <= bound, "{grown} KiB, more than {bound}");
    let disconnects = request(server.port, "GET", "/disconnects", "", "").await;
    assert_eq!(disconnects.body, READERS.to_string());
    for mut reader in readers {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, reader.stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "a stream does not end");
    }
    bystander.echo().await;
    let disconnects = request(server.port, "GET", "/disconnects", "", "").await;
    assert_eq!(disconnects.body, READERS.to_string(), "each once");
}

async fn until(server: &Process, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(
            start.elapsed() < PATIENCE,
            "waited in vain for {what}: {} descriptors, {:?}",
            server.descriptors(),
            server.stats().await
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
