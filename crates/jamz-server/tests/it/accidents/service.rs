//! Redis is there and does something else than it should.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use unisono_test::{RedisServer, await_until};

use super::check::check;
use super::rows::{Lost, Noticed, Row, Seen};
use super::stage::Stage;
use crate::support::PATIENCE;

const CUT_PUBSUB: Row = Row {
    accident: "`CLIENT KILL TYPE pubsub`",
    test: "cut_pubsub",
    lasts: Duration::ZERO,
    noticed: Noticed::Briefly(&[0, 1]),
    lost: Lost::Counted,
    remark: "",
    seen: Seen {
        noticed: "0.01–0.02 s",
        back: "0.02–0.04 s",
        lost: "0",
    },
};

const CUT_NORMAL: Row = Row {
    accident: "`CLIENT KILL TYPE normal`",
    test: "cut_normal",
    lasts: Duration::ZERO,
    noticed: Noticed::Briefly(&[0, 1]),
    lost: Lost::Counted,
    remark: "That is the connection for commands; both are replaced.",
    seen: Seen {
        noticed: "0.00–0.02 s",
        back: "0.02–0.07 s",
        lost: "0–1",
    },
};

const CROWDED: Row = Row {
    accident: "pods are cut off and Redis is at `maxclients`",
    test: "crowded",
    lasts: Duration::from_secs(3),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "",
    seen: Seen {
        noticed: "0.01–0.02 s",
        back: "0.08–0.86 s",
        lost: "0",
    },
};

const PAUSED: Row = Row {
    accident: "`CLIENT PAUSE WRITE`, as a managed failover does",
    test: "paused",
    lasts: Duration::from_secs(6),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "Redis takes connections and lets them listen meanwhile; pods are not fooled, since publishing waits.",
    seen: Seen {
        noticed: "1.04–1.05 s",
        back: "0.17–0.56 s",
        lost: "53–64",
    },
};

const OVERFLOWN: Row = Row {
    accident: "messages larger than `client-output-buffer-limit pubsub`: Redis cuts us off, five times",
    test: "overflown",
    lasts: Duration::ZERO,
    noticed: Noticed::Briefly(&[0, 1]),
    lost: Lost::Counted,
    remark: "Each time one message too many is lost, and what follows until the pod is back.",
    seen: Seen {
        noticed: "0.03–0.09 s",
        back: "0.42–0.76 s",
        lost: "0–6",
    },
};

const READ_ONLY: Row = Row {
    accident: "Redis becomes a replica (`READONLY`), then is promoted, empty",
    test: "read_only",
    lasts: Duration::from_secs(5),
    noticed: Noticed::AtNextChange,
    lost: Lost::Counted,
    remark: "Plain broadcasts cross, since a replica publishes; the link is replaced now and then, should its address lead to another server. Changes take effect on their own pod, and are brought together afterwards.",
    seen: Seen {
        noticed: "–",
        back: "0.01–0.04 s",
        lost: "0–2",
    },
};

const FAILOVER: Row = Row {
    accident: "Redis dies and its address leads to a replica, which is promoted 2 s later",
    test: "failover",
    lasts: Duration::from_secs(2),
    noticed: Noticed::By(&[0, 1]),
    lost: Lost::Counted,
    remark: "Sessions are where they were.",
    seen: Seen {
        noticed: "0.01–0.02 s",
        back: "0.05–0.11 s",
        lost: "0–1",
    },
};

const FULL: Row = Row {
    accident: "Redis is full (`maxmemory` and `noeviction`): `OOM`",
    test: "full",
    lasts: Duration::from_secs(3),
    noticed: Noticed::AtNextChange,
    lost: Lost::Nothing,
    remark: "Plain broadcasts cross. Changes take effect on their own pod, and are brought together afterwards.",
    seen: Seen {
        noticed: "–",
        back: "0.02–0.04 s",
        lost: "0",
    },
};

const FORGETFUL: Row = Row {
    accident: "`FLUSHALL` and `SCRIPT FLUSH`",
    test: "forgetful",
    lasts: Duration::ZERO,
    noticed: Noticed::Never,
    lost: Lost::Nothing,
    remark: "The next change brings the session back.",
    seen: Seen {
        noticed: "–",
        back: "0.00–0.04 s",
        lost: "0",
    },
};

pub(super) const ROWS: &[&Row] = &[
    &CUT_PUBSUB,
    &CUT_NORMAL,
    &CROWDED,
    &PAUSED,
    &OVERFLOWN,
    &READ_ONLY,
    &FAILOVER,
    &FULL,
    &FORGETFUL,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_pubsub() {
    cut(&CUT_PUBSUB, "pubsub").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_normal() {
    cut(&CUT_NORMAL, "normal").await;
}

async fn cut(row: &Row, kind: &str) {
    check(
        row,
        Stage::usual().await,
        async |stage| {
            stage.redis.command(&["CLIENT", "KILL", "TYPE", kind]);
        },
        async |_| {},
    )
    .await;
}

/// A connection to Redis that is there already when no more are taken.
struct Insider(TcpStream);

impl Insider {
    fn at(redis: &RedisServer) -> Self {
        Self(TcpStream::connect((Ipv4Addr::LOCALHOST, redis.port())).unwrap())
    }

    fn say(&self, line: &str) {
        (&self.0)
            .write_all(format!("{line}\r\n").as_bytes())
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crowded() {
    let stage = Stage::usual().await;
    let insider = Insider::at(&stage.redis);
    check(
        &CROWDED,
        stage,
        async |_| {
            insider.say("CONFIG SET maxclients 1");
            insider.say("CLIENT KILL TYPE pubsub");
            insider.say("CLIENT KILL TYPE normal SKIPME yes");
        },
        async |stage| {
            insider.say("CONFIG SET maxclients 10000");
            let port = stage.redis.port();
            let let_in = || {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
                stream.is_ok_and(is_let_in)
            };
            await_until("Redis takes clients", PATIENCE, let_in).await;
        },
    )
    .await;
}

/// Whether a connection gets an answer other than a refusal.
fn is_let_in(mut stream: TcpStream) -> bool {
    use std::io::Read;
    let mut answer = [0; 5];
    stream.write_all(b"PING\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && &answer == b"+PONG"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused() {
    check(
        &PAUSED,
        Stage::usual().await,
        async |stage| {
            stage.redis.command(&["CLIENT", "PAUSE", "60000", "WRITE"]);
        },
        async |stage| {
            stage.redis.command(&["CLIENT", "UNPAUSE"]);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overflown() {
    let limit = ["CONFIG", "SET", "client-output-buffer-limit"];
    check(
        &OVERFLOWN,
        Stage::usual().await,
        async |stage| {
            let redis = &stage.redis;
            redis.command(&[&limit[..], &["pubsub 65536 0 0"]].concat());
            let large = "x".repeat(4 << 20);
            for _ in 0..5 {
                let listen = || stage.subscriptions().are_of_two();
                await_until("both pods listen", PATIENCE, listen).await;
                redis.command(&["PUBLISH", "socket.io#/#", &large]);
            }
        },
        async |stage| {
            let limit = [&limit[..], &["pubsub 33554432 8388608 60"]].concat();
            stage.redis.command(&limit);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_only() {
    let primary = RedisServer::start();
    let port = primary.port().to_string();
    check(
        &READ_ONLY,
        Stage::usual().await,
        async |stage| {
            let redis = &stage.redis;
            redis.command(&["REPLICAOF", "127.0.0.1", &port]);
            await_until("it follows", PATIENCE, || follows(redis)).await;
        },
        async |stage| {
            stage.redis.command(&["REPLICAOF", "NO", "ONE"]);
        },
    )
    .await;
}

/// Whether a replica has what its primary has.
fn follows(replica: &RedisServer) -> bool {
    let info = replica.command(&["INFO", "replication"]);
    info.contains("master_link_status:up")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover() {
    let replica = RedisServer::start();
    let stage = Stage::behind_proxies().await;
    let port = stage.redis.port().to_string();
    replica.command(&["REPLICAOF", "127.0.0.1", &port]);
    await_until("it follows", PATIENCE, || follows(&replica)).await;
    check(
        &FAILOVER,
        stage,
        async |stage| {
            for proxy in &stage.proxies {
                proxy.redirect(replica.port());
            }
            stage.redis = replica;
            for proxy in &stage.proxies {
                proxy.cut();
            }
        },
        async |stage| {
            stage.redis.command(&["REPLICAOF", "NO", "ONE"]);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full() {
    let options = ["--maxmemory-policy", "noeviction"];
    let redis = RedisServer::start_with(&options);
    let url = redis.url();
    check(
        &FULL,
        Stage::joined(redis, [&url, &url]).await,
        async |stage| {
            stage.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
        },
        async |stage| {
            stage.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetful() {
    check(
        &FORGETFUL,
        Stage::usual().await,
        async |stage| {
            stage.redis.command(&["FLUSHALL"]);
            stage.redis.command(&["SCRIPT", "FLUSH"]);
        },
        async |_| {},
    )
    .await;
}
