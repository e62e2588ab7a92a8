//! Redis dies, freezes, and comes back.

use std::time::Duration;

use jamz_server::config::names;
use unisono_test::{RedisServer, await_until};

use super::check::check;
use super::pod::Pod;
use super::rows::{Lost, Noticed, Row, Seen};
use super::stage::Stage;
use crate::support::PATIENCE;

const ABSENT: Row = Row {
    accident: "Redis is not there when pods start",
    test: "absent_at_boot",
    lasts: Duration::from_secs(2),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Uncounted,
    remark: "The pod that is back first publishes what waited to nobody, and nobody knows of it.",
    seen: Seen {
        noticed: "0.00–0.02 s",
        back: "0.06–0.75 s",
        lost: "52–69",
    },
};

const KILLED: Row = Row {
    accident: "Redis is killed (`kill -9`) and started again, empty",
    test: "killed",
    lasts: Duration::from_secs(1),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "Sessions come back from the pods.",
    seen: Seen {
        noticed: "0.01–0.02 s",
        back: "0.23–0.92 s",
        lost: "0–1",
    },
};

const KILLED_FOR_LONG: Row = Row {
    accident: "the same, away for longer than messages wait (5 s)",
    test: "killed_for_longer_than_messages_wait",
    lasts: Duration::from_secs(8),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "What waited for longer is dropped: `unisono_bus_dropped_total{reason=\"expired\"}`.",
    seen: Seen {
        noticed: "0.00–0.02 s",
        back: "0.11–0.80 s",
        lost: "124–170",
    },
};

const FROZEN_1S: Row = Row {
    accident: "Redis is frozen (`SIGSTOP`) for 1 s",
    test: "frozen_for_one_second",
    lasts: Duration::from_secs(1),
    noticed: Noticed::Perhaps,
    lost: Lost::Counted,
    remark: "Too short for the probe. A publish that is not confirmed within a second gives the link up.",
    seen: Seen {
        noticed: "–",
        back: "0.01–0.21 s",
        lost: "1–2",
    },
};

const FROZEN_10S: Row = Row {
    accident: "… for 10 s",
    test: "frozen_for_ten_seconds",
    lasts: Duration::from_secs(10),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "",
    seen: Seen {
        noticed: "1.02–1.07 s",
        back: "0.03–0.13 s",
        lost: "236–252",
    },
};

const FROZEN_60S: Row = Row {
    accident: "… for 60 s",
    test: "frozen_for_a_minute",
    lasts: Duration::from_secs(60),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "",
    seen: Seen {
        noticed: "1.03–1.05 s",
        back: "0.01–0.93 s",
        lost: "2,468–2,752",
    },
};

const FLAPPING: Row = Row {
    accident: "Redis is killed and started six times, every 400 ms",
    test: "flapping",
    lasts: Duration::ZERO,
    noticed: Noticed::Briefly(&[0, 1]),
    lost: Lost::Counted,
    remark: "Pauses between attempts grow and begin anew after five seconds of calm.",
    seen: Seen {
        noticed: "0.01–0.02 s",
        back: "0.28–0.99 s",
        lost: "0–2",
    },
};

const KILLED_WHILE_HEALING: Row = Row {
    accident: "Redis is frozen, goes on, and is killed while pods heal",
    test: "killed_while_healing",
    lasts: Duration::ZERO,
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "",
    seen: Seen {
        noticed: "1.03–1.05 s",
        back: "0.05–0.13 s",
        lost: "1–30",
    },
};

const LOADING: Row = Row {
    accident: "Redis restarts with much data: `LOADING` for some seconds",
    test: "loading",
    lasts: Duration::ZERO,
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "Redis lets pods listen and publish while it loads, so plain broadcasts cross. Changes are refused with `LOADING` and take effect on their own pod; they are brought together when it has loaded.",
    seen: Seen {
        noticed: "0.02–0.03 s",
        back: "0.01–0.04 s",
        lost: "0–11",
    },
};

pub(super) const ROWS: &[&Row] = &[
    &ABSENT,
    &KILLED,
    &KILLED_FOR_LONG,
    &FLAPPING,
    &LOADING,
    &FROZEN_1S,
    &FROZEN_10S,
    &FROZEN_60S,
    &KILLED_WHILE_HEALING,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absent_at_boot() {
    let redis = RedisServer::stopped();
    let url = redis.url();
    let pods = [
        Pod::start(&[(names::REDIS_URL, &url)]).await,
        Pod::start(&[(names::REDIS_URL, &url)]).await,
    ];
    let stage = Stage::of(redis, pods).await;
    check(
        &ABSENT,
        stage,
        async |_| {},
        async |stage| {
            stage.redis.restart();
        },
    )
    .await;
}

async fn away(row: &Row) {
    check(
        row,
        Stage::usual().await,
        async |stage| stage.redis.kill9(),
        async |stage| stage.redis.restart(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed() {
    away(&KILLED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_for_longer_than_messages_wait() {
    away(&KILLED_FOR_LONG).await;
}

async fn frozen(row: &Row) {
    check(
        row,
        Stage::usual().await,
        async |stage| stage.redis.stop(),
        async |stage| stage.redis.cont(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_for_one_second() {
    frozen(&FROZEN_1S).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_for_ten_seconds() {
    frozen(&FROZEN_10S).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_for_a_minute() {
    frozen(&FROZEN_60S).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flapping() {
    check(
        &FLAPPING,
        Stage::usual().await,
        async |stage| {
            for _ in 0..6 {
                stage.redis.restart();
                // What is tested is the rhythm.
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
        },
        async |stage| stage.redis.restart(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_healing() {
    check(
        &KILLED_WHILE_HEALING,
        Stage::usual().await,
        async |stage| stage.redis.stop(),
        async |stage| {
            stage.redis.cont();
            let connects = || {
                let clients = stage.redis.command(&["CLIENT", "LIST"]);
                clients.contains("-bus") || clients.contains("-cmd")
            };
            await_until("a pod begins to heal", PATIENCE, connects).await;
            stage.redis.restart();
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loading() {
    check(
        &LOADING,
        Stage::usual().await,
        async |stage| {
            let fill = "for i = 1, 4000 do redis.call('SET', 'filler' .. i, i) end";
            stage.redis.command(&["EVAL", fill, "0"]);
            stage.redis.command(&["SAVE"]);
            stage.redis.restart_loading(&["--key-load-delay", "1000"]);
        },
        async |stage| {
            let loaded = || {
                let info = stage.redis.command(&["INFO", "persistence"]);
                info.lines().any(|line| line.trim() == "loading:0")
            };
            assert!(!loaded(), "it loads while pods look on");
            await_until("it has loaded", PATIENCE, loaded).await;
        },
    )
    .await;
}
