//! The way to Redis fails, or what stands at its end is no Redis.

use std::time::Duration;

use bytes::Bytes;
use jamz_server::config::names;
use unisono_test::{RedisServer, Way};

use super::check::{Outcome, check};
use super::pod::Pod;
use super::rows::{Lost, Noticed, Row, Seen};
use super::stage::Stage;
use crate::process::{FREE, binary};

const SILENT: Row = Row {
    accident: "packets are dropped, no connection is reset",
    test: "silent",
    lasts: Duration::from_secs(6),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "",
    seen: Seen {
        noticed: "1.02–1.06 s",
        back: "0.02–0.39 s",
        lost: "50–58",
    },
};

const SILENT_FOR_ONE: Row = Row {
    accident: "the same for one pod of two",
    test: "silent_for_one",
    lasts: Duration::from_secs(6),
    noticed: Noticed::By(&[1]),
    lost: Lost::Counted,
    remark: "The other pod goes on undisturbed.",
    seen: Seen {
        noticed: "1.01–1.05 s",
        back: "0.05–0.36 s",
        lost: "167–175",
    },
};

const ANSWERS_HELD: Row = Row {
    accident: "only what Redis says is dropped, it hears everything",
    test: "answers_held",
    lasts: Duration::from_secs(6),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "What pods publish is heard by others, what they do not see confirmed counts as `unisono_bus_unconfirmed_total`.",
    seen: Seen {
        noticed: "1.03–2.02 s",
        back: "0.06–0.47 s",
        lost: "50–54",
    },
};

const SLOW: Row = Row {
    accident: "packets take 200 ms each way",
    test: "slow",
    lasts: Duration::from_secs(5),
    noticed: Noticed::Never,
    lost: Lost::Nothing,
    remark: "A change takes as long as the way there and back.",
    seen: Seen {
        noticed: "–",
        back: "0.26–0.35 s",
        lost: "0",
    },
};

const ABANDONED: Row = Row {
    accident: "the open connections are dead (a firewall forgot them), new ones are fine",
    test: "abandoned",
    lasts: Duration::ZERO,
    noticed: Noticed::Briefly(&[0, 1]),
    lost: Lost::Counted,
    remark: "Redis keeps the dead connections until its `tcp-keepalive` (300 s) finds out. Until then they count as pods, and requests to all pods wait for them in vain.",
    seen: Seen {
        noticed: "1.04–2.04 s",
        back: "0.05–0.08 s",
        lost: "2–77",
    },
};

const MUTE: Row = Row {
    accident: "what listens there accepts and never answers",
    test: "mute",
    lasts: Duration::from_secs(4),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "",
    seen: Seen {
        noticed: "0.01–0.02 s",
        back: "0.04–0.08 s",
        lost: "0–1",
    },
};

const HANG_UP: Row = Row {
    accident: "… closes at the first command (`HELLO`)",
    test: "hang_up",
    lasts: Duration::from_secs(3),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "",
    seen: Seen {
        noticed: "0.00–0.02 s",
        back: "0.30–1.18 s",
        lost: "0–1",
    },
};

const NO_REDIS: Row = Row {
    accident: "… answers in HTTP",
    test: "no_redis",
    lasts: Duration::from_secs(3),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "",
    seen: Seen {
        noticed: "0.01–0.02 s",
        back: "0.45–0.86 s",
        lost: "0–1",
    },
};

const LIAR: Row = Row {
    accident: "… announces an answer of a thousand million elements, nested",
    test: "liar",
    lasts: Duration::from_secs(3),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "Nothing is allocated on its word.",
    seen: Seen {
        noticed: "0.00–0.02 s",
        back: "0.12–0.62 s",
        lost: "0–1",
    },
};

const GARBLED: Row = Row {
    accident: "garbage in the middle of the open connections",
    test: "garbled",
    lasts: Duration::ZERO,
    noticed: Noticed::Briefly(&[0, 1]),
    lost: Lost::Counted,
    remark: "The connection is closed and another opened.",
    seen: Seen {
        noticed: "0.02–0.05 s",
        back: "0.07–0.23 s",
        lost: "1–2",
    },
};

const UNRESOLVED: Row = Row {
    accident: "Redis dies and its name no longer resolves; later it does",
    test: "unresolved",
    lasts: Duration::from_secs(3),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "A name is resolved anew for each attempt. A pod that gets through just before the name is gone goes on alone, and the other misses what it says. (Skipped where user namespaces are forbidden.)",
    seen: Seen {
        noticed: "0.01–0.02 s",
        back: "0.23–0.86 s",
        lost: "0–93",
    },
};

pub(super) const ROWS: &[&Row] = &[
    &SILENT,
    &SILENT_FOR_ONE,
    &ANSWERS_HELD,
    &SLOW,
    &ABANDONED,
    &MUTE,
    &HANG_UP,
    &NO_REDIS,
    &LIAR,
    &GARBLED,
    &UNRESOLVED,
];

/// The ways to Redis are like this, then open again.
async fn ways(row: &Row, stage: Stage, way: Way, proxies: std::ops::Range<usize>) -> Outcome {
    let set = |stage: &Stage, way: &Way| {
        let proxies = &stage.proxies[proxies.clone()];
        proxies.iter().for_each(|proxy| proxy.set(way.clone()));
    };
    check(
        row,
        stage,
        async |stage| set(stage, &way),
        async |stage| set(stage, &Way::Open),
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent() {
    ways(&SILENT, Stage::behind_proxies().await, Way::Silent, 0..2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_for_one() {
    let stage = Stage::behind_proxies().await;
    ways(&SILENT_FOR_ONE, stage, Way::Silent, 1..2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_held() {
    let stage = Stage::behind_proxies().await;
    ways(&ANSWERS_HELD, stage, Way::AnswersHeld, 0..2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow() {
    let way = Way::Slow(Duration::from_millis(200));
    ways(&SLOW, Stage::behind_proxies().await, way, 0..2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abandoned() {
    check(
        &ABANDONED,
        Stage::behind_proxies().await,
        async |stage| stage.proxies.iter().for_each(|proxy| proxy.abandon()),
        // Redis finds out by itself, `tcp-keepalive` later.
        async |stage| stage.proxies.iter().for_each(|proxy| proxy.bury()),
    )
    .await;
}

/// What is there now is no Redis.
async fn replaced(row: &Row, way: Way) {
    check(
        row,
        Stage::behind_proxies().await,
        async |stage| {
            for proxy in &stage.proxies {
                proxy.set(way.clone());
                proxy.cut();
            }
        },
        async |stage| {
            for proxy in &stage.proxies {
                proxy.set(Way::Open);
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mute() {
    replaced(&MUTE, Way::Silent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hang_up() {
    replaced(&HANG_UP, Way::HangUp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_redis() {
    let answer = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    replaced(
        &NO_REDIS,
        Way::Garbage(Bytes::from_static(answer.as_bytes())),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn liar() {
    let answer = "*1000000000\r\n".repeat(1_000);
    replaced(&LIAR, Way::Garbage(Bytes::from(answer))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbled() {
    let garbage: Vec<u8> = (0..=255).collect();
    check(
        &GARBLED,
        Stage::behind_proxies().await,
        async |stage| {
            for proxy in &stage.proxies {
                proxy.set(Way::Garbage(Bytes::from(garbage.clone())));
            }
        },
        async |stage| {
            for proxy in &stage.proxies {
                proxy.set(Way::Open);
            }
        },
    )
    .await;
}

/// A pod with a file of its own for `/etc/hosts`.
async fn pod_with_hosts(hosts: &std::path::Path, url: &str) -> Pod {
    let settings = [FREE.as_slice(), &[(names::REDIS_URL, url)]].concat();
    let served = binary(&[], &settings);
    let mut command = std::process::Command::new("unshare");
    let script = "mount --bind \"$0\" /etc/hosts && exec \"$1\"";
    command.args(["--map-root-user", "--mount", "sh", "-c", script]);
    command.arg(hosts).arg(served.get_program()).env_clear();
    for (name, value) in served.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    Pod::spawn(command).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unresolved() {
    let allowed = std::process::Command::new("unshare")
        .args(["--map-root-user", "--mount", "true"])
        .status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!(
            "not run: a file of hosts of one's own needs user namespaces, which this system does not allow"
        );
        return;
    }
    let redis = RedisServer::start();
    let directory = std::env::temp_dir().join(format!("jamz-hosts-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let hosts = directory.join("hosts");
    let known = "127.0.0.1 redis-service.accidents\n";
    std::fs::write(&hosts, known).unwrap();
    let url = format!("redis://redis-service.accidents:{}", redis.port());
    let pods = [
        pod_with_hosts(&hosts, &url).await,
        pod_with_hosts(&hosts, &url).await,
    ];
    check(
        &UNRESOLVED,
        Stage::of_joined(redis, pods).await,
        async |stage| {
            std::fs::write(&hosts, "").unwrap();
            stage.redis.restart();
        },
        async |_| std::fs::write(&hosts, known).unwrap(),
    )
    .await;
    std::fs::remove_dir_all(&directory).unwrap();
}
