//! Whatever somebody publishes who has no business there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use unisono_cluster::{Broker, LinkState, Subscription};
use unisono_redis::{RedisBroker, RedisConfig};
use unisono_test::{Recorder, RedisServer, await_until};

use super::check::check;
use super::rows::{Lost, Noticed, Row, Seen};
use super::stage::Stage;
use crate::support::PATIENCE;

const FOREIGN_BYTES: Row = Row {
    accident: "a megabyte of random bytes, every prefix of a message, wrong arity, unknown types, forged answers, on every channel",
    test: "foreign_bytes",
    lasts: Duration::ZERO,
    noticed: Noticed::Never,
    lost: Lost::Nothing,
    remark: "`unisono_node_undecodable_total`, `unisono_refused_total{reason=\"bus\"}`",
    seen: Seen {
        noticed: "–",
        back: "0.00–0.04 s",
        lost: "0",
    },
};

const OWN_NAMES: Row = Row {
    accident: "messages in the name of a pod",
    test: "own_names",
    lasts: Duration::ZERO,
    noticed: Noticed::Never,
    lost: Lost::Nothing,
    remark: "The pod whose name it is takes them for echoes, others believe them: whoever may publish may say anything.",
    seen: Seen {
        noticed: "–",
        back: "0.00–0.05 s",
        lost: "0",
    },
};

pub(super) const ROWS: &[&Row] = &[&FOREIGN_BYTES, &OWN_NAMES];

const BROADCASTS: &str = "socket.io#/#";
const OF_SESSION: &str = "socket.io#/#audio-s1#";

/// Somebody on the same Redis.
struct Stranger {
    broker: RedisBroker,
    heard: Arc<Recorder>,
}

impl Stranger {
    async fn on(redis: &RedisServer) -> Self {
        let broker = RedisBroker::start(RedisConfig::parse(&redis.url()).unwrap());
        let heard = Recorder::new();
        broker.attach(heard.clone());
        broker.subscribe(Subscription::Channel(OF_SESSION.to_owned()));
        heard.await_state(LinkState::Subscribed).await;
        Self { broker, heard }
    }

    /// A real message of a pod.
    async fn overhear(&self) -> Bytes {
        await_until("a pod speaks", PATIENCE, || {
            !self.heard.messages().is_empty()
        })
        .await;
        self.heard.messages().swap_remove(0).1
    }

    fn publish(&self, channel: &str, payload: impl Into<Bytes>) {
        self.broker.publish(channel, payload.into()).unwrap();
    }

    /// Waits until all is published.
    async fn flush(&self) {
        self.broker.flush().await;
        let stats = self.broker.stats();
        assert_eq!(stats.dropped_expired + stats.unconfirmed, 0);
    }
}

/// What is no message: noise, and what looks like one.
fn nonsense(real: &Bytes) -> Vec<Bytes> {
    let mut noise = vec![0; 1 << 20];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for byte in &mut noise {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        *byte = seed as u8;
    }
    let mut all = vec![Bytes::from(noise), Bytes::from("[".repeat(1 << 20))];
    all.extend((0..real.len()).map(|end| real.slice(..end)));
    let texts = [
        "{}",
        "null",
        r#"{"type":99}"#,
        r#"{"type":-1,"requestId":"r"}"#,
        r#"{"type":4,"opts":{}}"#,
        r#"{"type":6,"data":[]}"#,
        r#"{"type":8,"requestId":"r","clientCount":1e99}"#,
        r#"{"requestId":"r","sockets":[1,2,3]}"#,
        r#"{"requestId":"r","rooms":{}}"#,
    ];
    all.extend(texts.map(Bytes::from));
    let packed: [&[u8]; 8] = [
        // Arrays of none, of one, of two, and of ten that are not there.
        b"\x90",
        b"\x91\xa1x",
        b"\x92\xa1x\x80",
        b"\x9a",
        // Announces four thousand million elements; a map; a byte string.
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        // The three that belong there, of the wrong types.
        b"\x93\x01\x02\x03",
    ];
    all.extend(packed.map(Bytes::from_static));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_bytes() {
    let mut published = 0;
    let outcome = check(
        &FOREIGN_BYTES,
        Stage::usual().await,
        async |stage| {
            let stranger = Stranger::on(&stage.redis).await;
            let nonsense = nonsense(&stranger.overhear().await);
            let listened = stage.redis.command(&["PUBSUB", "CHANNELS"]);
            let mut channels: Vec<_> = listened.lines().collect();
            assert!(
                channels.len() >= 6,
                "requests, answers, probes: {channels:?}"
            );
            channels.extend([
                BROADCASTS,
                OF_SESSION,
                "socket.io#/#audio-s1",
                "socket.io#/#\u{1f4a5}#",
            ]);
            for channel in channels {
                for payload in &nonsense {
                    stranger.publish(channel, payload.clone());
                }
                stranger.flush().await;
            }
            published = nonsense.len() as u64;
            stranger.broker.close();
            let gone = || stage.subscriptions().are_of_two();
            await_until("the stranger is gone", PATIENCE, gone).await;
        },
        async |_| {},
    )
    .await;
    for side in [0, 1] {
        // On the channels of broadcasts and requests; but a pod looks no further at what bears its own name.
        let undecodable = outcome.grown(side, "unisono_node_undecodable_total");
        assert!(undecodable >= published, "{undecodable} of {published}");
        assert_eq!(outcome.grown(side, "unisono_node_out_of_order_total"), 0);
    }
}

/// A broadcast of `forged` to everybody, in the name of this node.
fn forged(uid: &[u8]) -> Bytes {
    let packet = b"\x83\xa4type\x02\xa4data\x91\xa6forged\xa3nsp\xa1/";
    let options = b"\x83\xa5rooms\x90\xa6except\x90\xa5flags\x80";
    [b"\x93", uid, packet, options].concat().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_names() {
    check(
        &OWN_NAMES,
        Stage::usual().await,
        async |stage| {
            let stranger = Stranger::on(&stage.redis).await;
            let real = stranger.overhear().await;
            // A text of less than 32 bytes: its length, and itself.
            let uid = &real[1..2 + usize::from(real[1] & 0x1f)];
            for _ in 0..100 {
                stranger.publish(BROADCASTS, forged(uid));
            }
            let name = String::from_utf8_lossy(&uid[1..]).into_owned();
            for kind in [1, 5, 7] {
                let request = serde_json::json!({"uid": name, "requestId": "r", "type": kind, "opts": {"rooms": [], "except": []}});
                stranger.publish("socket.io-request#/#", request.to_string());
            }
            stranger.flush().await;
            stranger.broker.close();
            // The pod whose name it is takes them for its own and tells nobody; the other believes them.
            let heard = || stage.sides.iter().map(|side| side.listener.times_heard("forged"));
            let told = || heard().collect::<Vec<_>>();
            await_until("one pod believes it", PATIENCE, || told().contains(&100)).await;
            assert!(told().contains(&0), "{:?}", told());
            let gone = || stage.subscriptions().are_of_two();
            await_until("the stranger is gone", PATIENCE, gone).await;
        },
        async |_| {},
    )
    .await;
}
