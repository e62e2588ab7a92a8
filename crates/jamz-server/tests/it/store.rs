//! The contract of the session store, on memory and on a real Redis.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jamz_server::session::{Change, Guard, Part, Register, SessionId, SessionState};
use jamz_server::store::{
    MemoryStore, NEW_SESSION_TTL, Outcome, RedisStore, Replaced, SESSION_TTL, SharedSessions, Store,
};
use unisono_cluster::{Broker, MemoryBus, Subscription, Template};
use unisono_redis::{RedisBroker, RedisConfig};
use unisono_test::{Recorder, RedisServer, await_until};

use crate::support::PATIENCE;

/// A store, and an inbox that hears what it publishes.
struct Bench {
    store: Arc<dyn Store>,
    heard: Arc<Recorder>,
    // Kept alive for the store.
    _broker: Arc<dyn Broker>,
    _server: Option<RedisServer>,
}

const CHANNEL: &str = "tests#/#";

async fn memory() -> Bench {
    let broker: Arc<dyn Broker> = Arc::new(MemoryBus::new().broker());
    let store = Arc::new(MemoryStore::new(SharedSessions::default(), broker.clone()));
    bench(store, broker, None).await
}

async fn redis() -> Bench {
    let server = RedisServer::start();
    let broker = RedisBroker::start(RedisConfig::parse(&server.url()).unwrap());
    let store = Arc::new(RedisStore::new(broker.commander(), "socket.io"));
    bench(store, Arc::new(broker), Some(server)).await
}

async fn bench(
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    server: Option<RedisServer>,
) -> Bench {
    let heard = Recorder::new();
    broker.attach(heard.clone());
    broker.subscribe(Subscription::Channel(CHANNEL.to_owned()));
    await_until("the broker is up", PATIENCE, || broker.state().is_up()).await;
    Bench {
        store,
        heard,
        _broker: broker,
        _server: server,
    }
}

fn id(text: &str) -> SessionId {
    SessionId::named(text.to_owned()).unwrap()
}

fn message(name: &str) -> Template {
    let segments = [format!("{name}:"), ":".to_owned(), "!".to_owned()];
    Template {
        channel: CHANNEL.to_owned(),
        seq: 1,
        segments: segments.into_iter().map(Bytes::from).collect(),
    }
}

fn filled(name: &str, revision: u32) -> Bytes {
    message(name).fill(revision)
}

fn change(session: &str, set: &[(Part, &str)], now_ms: u64) -> Change {
    let set = set.iter().map(|(part, json)| (*part, (*json).to_owned()));
    Change {
        session: id(session),
        guard: None,
        set: set.collect(),
        now_ms,
        known_revision: 0,
    }
}

fn state(revision: u32, parts: &[(Part, u64, &str)]) -> SessionState {
    let mut state = SessionState::default().at_revision(revision);
    for (part, at, json) in parts {
        let json = (*json).to_owned();
        state.put(*part, Register { at: *at, json });
    }
    state
}

async fn commit(bench: &Bench, change: &Change, names: &[&str]) -> Outcome {
    let messages: Vec<Template> = names.iter().map(|name| message(name)).collect();
    bench.store.commit(change, &messages).await.unwrap()
}

async fn heard(bench: &Bench, expected: &[Bytes]) {
    let count = expected.len();
    await_until("the messages arrive", PATIENCE, || {
        bench.heard.messages().len() >= count
    })
    .await;
    let payloads: Vec<Bytes> = bench
        .heard
        .messages()
        .into_iter()
        .map(|(_, bytes)| bytes)
        .collect();
    assert_eq!(payloads, expected);
}

/// Every clause of the contract, one after another on one store.
async fn contract(bench: &Bench) {
    a_change_is_stored_and_published_with_its_revision(bench).await;
    a_guard_that_fails_changes_and_publishes_nothing(bench).await;
    a_store_behind_the_pod_takes_no_change(bench).await;
    a_lagging_clock_does_not_go_back(bench).await;
    a_state_is_replaced_only_where_it_was_read(bench).await;
    any_bytes_and_any_id_survive(bench).await;
}

async fn a_change_is_stored_and_published_with_its_revision(bench: &Bench) {
    assert!(bench.store.load(&id("a")).await.unwrap().is_unknown());
    let first = change("a", &[(Part::Controller, "1"), (Part::Playlist, "[]")], 10);
    assert_eq!(
        commit(bench, &first, &["x", "y"]).await,
        Outcome::Committed { revision: 1 }
    );
    let second = change("a", &[(Part::Controller, "2")], 20);
    assert_eq!(
        commit(bench, &second, &["z"]).await,
        Outcome::Committed { revision: 2 }
    );
    let stored = bench.store.load(&id("a")).await.unwrap();
    let expected = state(
        2,
        &[(Part::Controller, 20, "2"), (Part::Playlist, 10, "[]")],
    );
    assert_eq!(stored, expected);
    heard(bench, &[filled("x", 1), filled("y", 1), filled("z", 2)]).await;
}

async fn a_guard_that_fails_changes_and_publishes_nothing(bench: &Bench) {
    let guarded = |equals: Option<&str>| {
        let guard = Guard {
            part: Part::Controller,
            equals: equals.map(str::to_owned),
        };
        let guard = Some(guard);
        Change {
            guard,
            ..change("b", &[(Part::Controller, "1")], 5)
        }
    };
    let refused = |current| Outcome::Refused { current };
    let before = bench.heard.messages().len();
    let outcome = commit(bench, &guarded(Some("0")), &["no"]).await;
    assert_eq!(outcome, refused(SessionState::default()));
    let outcome = commit(bench, &guarded(None), &[]).await;
    assert_eq!(outcome, Outcome::Committed { revision: 1 });
    let current = state(1, &[(Part::Controller, 5, "1")]);
    assert_eq!(
        commit(bench, &guarded(None), &["no"]).await,
        refused(current.clone())
    );
    assert_eq!(
        commit(bench, &guarded(Some("2")), &["no"]).await,
        refused(current)
    );
    let outcome = commit(bench, &guarded(Some("1")), &["yes"]).await;
    assert_eq!(outcome, Outcome::Committed { revision: 2 });
    await_until("the message arrives", PATIENCE, || {
        bench.heard.messages().len() > before
    })
    .await;
    let last = bench.heard.messages().pop().map(|(_, bytes)| bytes);
    assert_eq!(last, Some(filled("yes", 2)));
    assert_eq!(bench.heard.messages().len(), before + 1);
}

async fn a_store_behind_the_pod_takes_no_change(bench: &Bench) {
    let mut ahead = change("c", &[(Part::Controller, "1")], 5);
    ahead.known_revision = 7;
    let current = SessionState::default();
    assert_eq!(
        commit(bench, &ahead, &["no"]).await,
        Outcome::Behind { current }
    );
    assert!(bench.store.load(&id("c")).await.unwrap().is_unknown());
}

async fn a_lagging_clock_does_not_go_back(bench: &Bench) {
    commit(bench, &change("d", &[(Part::Controller, "1")], 100), &[]).await;
    commit(bench, &change("d", &[(Part::Controller, "2")], 40), &[]).await;
    let stored = bench.store.load(&id("d")).await.unwrap();
    assert_eq!(stored, state(2, &[(Part::Controller, 101, "2")]));
}

async fn a_state_is_replaced_only_where_it_was_read(bench: &Bench) {
    let replace = async |expected: u32, state: &SessionState, name: &str| {
        let messages = [message(name)];
        let session = id("e");
        let replaced = bench.store.replace(&session, expected, state, &messages);
        replaced.await.unwrap()
    };
    let before = bench.heard.messages().len();
    let next = state(
        9,
        &[
            (Part::Controller, 1_800_000_000_000, "1"),
            (Part::Playback, 3, "{}"),
        ],
    );
    assert_eq!(replace(1, &next, "no").await, Replaced::Conflict);
    assert_eq!(replace(0, &next, "yes").await, Replaced::Done);
    assert_eq!(bench.store.load(&id("e")).await.unwrap(), next);
    let fewer = state(10, &[(Part::Playlist, 4, "[]")]);
    assert_eq!(replace(8, &fewer, "no").await, Replaced::Conflict);
    assert_eq!(replace(9, &fewer, "again").await, Replaced::Done);
    assert_eq!(bench.store.load(&id("e")).await.unwrap(), fewer);
    await_until("both arrive", PATIENCE, || {
        bench.heard.messages().len() == before + 2
    })
    .await;
}

async fn any_bytes_and_any_id_survive(bench: &Bench) {
    let text = "{\"ü\":\"\\u0000\r\n*1\r\n$3\r\n\"}";
    let odd = "*?[x] \r\n:ü";
    let outcome = commit(bench, &change(odd, &[(Part::Playlist, text)], 1), &[]).await;
    assert_eq!(outcome, Outcome::Committed { revision: 1 });
    assert_eq!(
        bench
            .store
            .load(&id(odd))
            .await
            .unwrap()
            .json(Part::Playlist),
        Some(text)
    );
    let default = Change {
        session: SessionId::Default,
        ..change("x", &[(Part::Playlist, "[1]")], 1)
    };
    commit(bench, &default, &[]).await;
    let stored = bench.store.load(&SessionId::Default).await.unwrap();
    assert_eq!(stored.json(Part::Playlist), Some("[1]"));
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract(&memory().await).await;
}

#[tokio::test]
async fn redis_keeps_the_contract() {
    contract(&redis().await).await;
}

#[tokio::test]
async fn sessions_in_redis_have_names_and_an_end() {
    let bench = redis().await;
    let server = bench._server.as_ref().unwrap();
    let check = |revision: u32, lives: Duration| {
        let stored = server.command(&["HGET", "jamz:session:s1", "revision"]);
        assert_eq!(stored, revision.to_string());
        let ttl: u64 = server.command(&["TTL", "jamz:session:s1"]).parse().unwrap();
        let most = lives.as_secs();
        assert!((most - 60..=most).contains(&ttl), "{revision}: {ttl}");
    };
    // Somebody who was here once may never come back.
    commit(&bench, &change("s1", &[(Part::Controller, "1")], 1), &[]).await;
    check(1, NEW_SESSION_TTL);
    commit(&bench, &change("s1", &[(Part::Controller, "2")], 2), &[]).await;
    check(2, SESSION_TTL);
    let next = state(3, &[(Part::Controller, 3, "3")]);
    let replaced = bench.store.replace(&id("s1"), 2, &next, &[]).await;
    assert_eq!(replaced, Ok(Replaced::Done));
    check(3, SESSION_TTL);
}

#[tokio::test]
async fn a_redis_that_is_away_is_unavailable_at_once() {
    let server = RedisServer::stopped();
    let broker = RedisBroker::start(RedisConfig::parse(&server.url()).unwrap());
    let store = RedisStore::new(broker.commander(), "socket.io");
    assert!(store.load(&id("a")).await.is_err());
    assert!(store.commit(&change("a", &[], 1), &[]).await.is_err());
}

/// As if it had not been asked: nothing is stored of which nobody is told.
#[tokio::test]
async fn a_step_whose_message_is_refused_leaves_the_session_as_it_was() {
    let server = RedisServer::start();
    let rights = ["resetchannels", "&unisono-probe#*", "~*", "+@all"];
    server.command(&[&["ACL", "SETUSER", "mute", "on", ">pw"], rights.as_slice()].concat());
    let own = RedisBroker::start(RedisConfig::parse(&server.url()).unwrap());
    let all = RedisStore::new(own.commander(), "socket.io");
    let url = server.url().replace("redis://", "redis://mute:pw@");
    let broker = RedisBroker::start(RedisConfig::parse(&url).unwrap());
    let mute = RedisStore::new(broker.commander(), "socket.io");
    await_until("both are up", PATIENCE, || {
        own.state().is_up() && broker.state().is_up()
    })
    .await;
    let change = |json| change("known", &[(Part::Controller, json)], 10);
    all.commit(&change("\"a\""), &[]).await.unwrap();
    let hash = |session: &str| server.command(&["HGETALL", &format!("jamz:session:{session}")]);
    let known = hash("known");
    let messages = [message("one"), message("two")];
    let next = state(7, &[(Part::Playlist, 5, "[]")]);
    for session in ["known", "new"] {
        let before = hash(session);
        let mut change = change("\"b\"");
        change.session = id(session);
        let refused = mute.commit(&change, &messages).await.unwrap_err();
        assert_eq!(refused.code.as_deref(), Some("NOPERM"), "{refused}");
        assert_eq!(hash(session), before);
        let revision = u32::from(session == "known");
        let replaced = mute.replace(&change.session, revision, &next, &messages);
        let refused = replaced.await.unwrap_err();
        assert_eq!(refused.code.as_deref(), Some("NOPERM"), "{refused}");
        assert_eq!(hash(session), before);
    }
    assert_eq!(hash("known"), known);
    // And what is allowed goes on from there.
    server.command(&["ACL", "SETUSER", "mute", "&*"]);
    let done = mute.commit(&change("\"b\""), &messages).await;
    assert_eq!(done, Ok(Outcome::Committed { revision: 2 }));
}
