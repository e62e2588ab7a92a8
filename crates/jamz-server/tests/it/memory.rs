//! A Redis that is full: nothing is written beyond its limit, and pods go on by themselves.

use std::sync::Arc;

use jamz_server::config::names;
use jamz_server::metrics::CommitResult;
use jamz_server::session::{Change, Part, Register, SessionId, SessionState};
use jamz_server::store::{RedisStore, Replaced, Store};
use unisono_cluster::{Broker, LinkState};
use unisono_redis::{RedisBroker, RedisConfig};
use unisono_test::{RedisServer, await_until};

use crate::support::{PATIENCE, TestPod};

const LIMIT_BYTES: u64 = 6 << 20;
/// What Redis may use more for its own ends while everything is refused.
const SLACK_BYTES: u64 = 512 << 10;

fn redis() -> RedisServer {
    let limit = LIMIT_BYTES.to_string();
    let options = ["--maxmemory", &limit, "--maxmemory-policy", "noeviction"];
    RedisServer::start_with(&options)
}

fn used_bytes(redis: &RedisServer) -> u64 {
    let info = redis.command(&["INFO", "memory"]);
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    line.unwrap().trim().parse().unwrap()
}

/// Fills it so far that nothing it frees by itself makes room again.
fn fill(redis: &RedisServer) {
    redis.command(&["SETRANGE", "filler", "0", "x"]);
    let room = LIMIT_BYTES - used_bytes(redis);
    let end = (room + 2 * SLACK_BYTES).to_string();
    redis.command(&["SETRANGE", "filler", &end, "x"]);
    assert!(used_bytes(redis) > LIMIT_BYTES + SLACK_BYTES);
}

fn id(number: u32) -> SessionId {
    SessionId::named(format!("s{number}")).unwrap()
}

fn large(revision: u32) -> SessionState {
    let mut state = SessionState::default().at_revision(revision);
    let json = format!("[\"{}\"]", "x".repeat(64 << 10));
    state.put(Part::Playlist, Register { at: 1, json });
    state
}

#[tokio::test]
async fn a_full_redis_refuses_every_step_and_grows_no_further() {
    let redis = redis();
    let broker = RedisBroker::start(RedisConfig::parse(&redis.url()).unwrap());
    let store = RedisStore::new(broker.commander(), "socket.io");
    await_until("the broker is up", PATIENCE, || {
        broker.state() == LinkState::Subscribed
    })
    .await;
    let before = large(1);
    assert_eq!(
        store.replace(&id(0), 0, &before, &[]).await,
        Ok(Replaced::Done)
    );
    fill(&redis);
    let (used, keys) = (used_bytes(&redis), redis.command(&["DBSIZE"]));
    for number in 0..100 {
        let known = u32::from(number == 0);
        let replaced = store
            .replace(&id(number), known, &large(known + 1), &[])
            .await;
        assert!(replaced.is_err(), "{replaced:?}");
        let register = large(1).register(Part::Playlist).unwrap().clone();
        let change = Change {
            session: id(number),
            guard: None,
            set: vec![(Part::Playlist, register.json)],
            now_ms: 2,
            known_revision: 0,
        };
        let committed = store.commit(&change, &[]).await;
        assert!(committed.is_err(), "{committed:?}");
    }
    assert!(used_bytes(&redis) < used + SLACK_BYTES);
    assert_eq!(redis.command(&["DBSIZE"]), keys);
    assert_eq!(store.load(&id(0)).await, Ok(before), "nothing is half done");
    redis.command(&["DEL", "filler"]);
    assert_eq!(
        store.replace(&id(0), 1, &large(2), &[]).await,
        Ok(Replaced::Done)
    );
}

const CHANGED: &str = "music-control-changed";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_one_pod_hear_each_other_when_redis_is_full_and_all_do_when_there_is_room() {
    let redis = Arc::new(redis());
    let url = redis.url();
    let settings = [(names::REDIS_URL, url.as_str())];
    let (one, two) = (
        TestPod::start(&settings).await,
        TestPod::start(&settings).await,
    );
    one.await_link().await;
    two.await_link().await;
    let (mut a, mut b, mut far) = (one.client().await, one.client().await, two.client().await);
    for client in [&mut a, &mut b, &mut far] {
        client.join("s1", None).await;
    }
    a.take("s1", "before").await;
    for client in [&mut a, &mut b, &mut far] {
        assert_eq!(client.next(CHANGED).await["userId"], "before");
    }
    fill(&redis);
    let used = used_bytes(&redis);
    for round in 0..20 {
        let user = format!("full-{round}");
        a.take("s1", &user).await;
        for client in [&mut a, &mut b] {
            while client.next(CHANGED).await["userId"] != user.as_str() {}
        }
    }
    assert!(used_bytes(&redis) < used + SLACK_BYTES);
    assert_eq!(one.app.metrics().commits(CommitResult::Local), 20);
    let stored = redis.command(&["HGET", "jamz:session:s1", "controller"]);
    assert!(stored.contains("before"), "{stored}");
    assert!(one.app.link().state().is_up() && two.app.link().state().is_up());
    redis.command(&["DEL", "filler"]);
    // The pod tries until there is room.
    while far.next(CHANGED).await["userId"] != "full-19" {}
    far.take("s1", "after").await;
    for client in [&mut a, &mut b, &mut far] {
        while client.next(CHANGED).await["userId"] != "after" {}
    }
}
