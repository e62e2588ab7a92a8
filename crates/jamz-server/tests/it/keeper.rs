//! What a pod reads again, and how often, from a store that fails for some sessions. In virtual time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jamz_server::metrics::Metrics;
use jamz_server::session::{Change, SessionId, SessionState, Sessions};
use jamz_server::store::{
    MemoryStore, Outcome, Replaced, SharedSessions, Store, StoreFuture, Unavailable,
};
use tokio::time::{Instant, sleep};
use unisono::{Io, Namespace};
use unisono_cluster::{Broker, MemoryBus, Template};

/// How a session is called that cannot be read.
const BAD: &str = "bad";

/// How long it takes until a question to a node that hangs is given up.
const HANGS: Duration = Duration::from_secs(1);

/// Fails for some sessions, at once or after a while, and notes when it is asked for which.
struct Partial {
    inner: MemoryStore,
    fails: AtomicBool,
    hangs: AtomicBool,
    asked: Mutex<HashMap<SessionId, Vec<Instant>>>,
}

impl Partial {
    /// When the session was asked for.
    fn asked(&self, id: &SessionId) -> Vec<Instant> {
        let asked = self.asked.lock().expect("nobody panics here");
        asked.get(id).cloned().unwrap_or_default()
    }

    fn is_read_since(&self, since: Instant, id: &SessionId) -> bool {
        self.asked(id).last().is_some_and(|last| *last >= since)
    }
}

impl Store for Partial {
    fn load<'a>(&'a self, session: &'a SessionId) -> StoreFuture<'a, SessionState> {
        let asked = self.asked.lock();
        let mut asked = asked.expect("nobody panics here");
        let times = asked.entry(session.clone()).or_default();
        times.push(Instant::now());
        drop(asked);
        let is_bad = session.as_deref().is_some_and(|id| id.starts_with(BAD));
        if is_bad && self.fails.load(SeqCst) {
            let pause = self.hangs.load(SeqCst).then_some(HANGS);
            return Box::pin(async move {
                if let Some(pause) = pause {
                    sleep(pause).await;
                }
                Err(Unavailable::refused("no", "NOPERM"))
            });
        }
        self.inner.load(session)
    }

    fn commit<'a>(
        &'a self,
        change: &'a Change,
        messages: &'a [Template],
    ) -> StoreFuture<'a, Outcome> {
        self.inner.commit(change, messages)
    }

    fn replace<'a>(
        &'a self,
        session: &'a SessionId,
        expected_revision: u32,
        state: &'a SessionState,
        messages: &'a [Template],
    ) -> StoreFuture<'a, Replaced> {
        self.inner
            .replace(session, expected_revision, state, messages)
    }
}

/// A pod with so many sessions of either kind, all of them read.
struct Scene {
    store: Arc<Partial>,
    sessions: Sessions,
    good: Vec<SessionId>,
    bad: Vec<SessionId>,
    _io: Io,
}

impl Scene {
    async fn with(good: usize, bad: usize) -> Self {
        let broker: Arc<dyn Broker> = Arc::new(MemoryBus::new().broker());
        let store = Arc::new(Partial {
            inner: MemoryStore::new(SharedSessions::default(), broker.clone()),
            fails: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
            asked: Mutex::default(),
        });
        let metrics = Arc::new(Metrics::default());
        let sessions = Sessions::new(store.clone(), broker.clone(), metrics);
        let heard = sessions.clone();
        let space = Namespace::new("/").on_note(move |note| heard.on_note(note));
        let io = Io::builder()
            .broker(broker, "tests")
            .namespace(space)
            .build();
        sessions.attach(io.of("/").expect("it was just given"));
        let ids = |kind: &'static str, count| {
            let ids = (0..count).map(move |number| SessionId::Named(format!("{kind}-{number}")));
            ids.collect::<Vec<_>>()
        };
        let (good, bad) = (ids("good", good), ids(BAD, bad));
        for id in good.iter().chain(&bad) {
            let entry = sessions.open(id).await.expect("there are few");
            sessions.add_member(&entry);
        }
        let keeper = sessions.clone();
        tokio::spawn(async move { keeper.keep().await });
        // Nothing is suspect now.
        sleep(Duration::from_secs(2)).await;
        Self {
            store,
            sessions,
            good,
            bad,
            _io: io,
        }
    }

    /// How often it was asked for those that cannot be read.
    fn asked_for_bad(&self) -> usize {
        let times = self.bad.iter().map(|id| self.store.asked(id).len());
        times.sum()
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_that_cannot_be_read_hold_up_no_others() {
    let scene = Scene::with(8, 1_000).await;
    scene.store.fails.store(true, SeqCst);
    for _ in 0..5 {
        let lost = Instant::now();
        scene.sessions.suspect_all();
        sleep(Duration::from_millis(500)).await;
        for id in &scene.good {
            assert!(scene.store.is_read_since(lost, id), "{id:?}");
        }
        sleep(Duration::from_secs(2)).await;
    }
    let before = scene.asked_for_bad();
    sleep(Duration::from_secs(20)).await;
    let retried = scene.asked_for_bad() - before;
    assert!((1_000..=160 * 20).contains(&retried), "{retried} times");
    // And they have their turn themselves, all of them.
    scene.store.fails.store(false, SeqCst);
    let whole = Instant::now();
    sleep(Duration::from_secs(5)).await;
    for id in &scene.bad {
        assert!(scene.store.is_read_since(whole, id), "{id:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_that_hang_hold_up_no_others() {
    let scene = Scene::with(3_333, 1_667).await;
    scene.store.fails.store(true, SeqCst);
    scene.store.hangs.store(true, SeqCst);
    for _ in 0..3 {
        let lost = Instant::now();
        scene.sessions.suspect_all();
        sleep(Duration::from_secs(4)).await;
        for id in &scene.good {
            assert!(scene.store.is_read_since(lost, id), "{id:?}");
        }
        sleep(Duration::from_secs(6)).await;
    }
    let before = scene.asked_for_bad();
    sleep(Duration::from_secs(10)).await;
    let retried = scene.asked_for_bad() - before;
    assert!((1_000..=160 * 10).contains(&retried), "{retried} times");
    scene.store.fails.store(false, SeqCst);
    let whole = Instant::now();
    sleep(Duration::from_secs(5)).await;
    for id in &scene.bad {
        assert!(scene.store.is_read_since(whole, id), "{id:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_be_read_is_asked_for_less_and_less_often() {
    let scene = Scene::with(0, 1).await;
    let bad = &scene.bad[0];
    scene.store.fails.store(true, SeqCst);
    let before = scene.store.asked(bad).len();
    scene.sessions.suspect_all();
    sleep(Duration::from_secs(60)).await;
    let asked = scene.store.asked(bad).len() - before;
    assert!((25..=40).contains(&asked), "{asked} times in a minute");
    scene.store.fails.store(false, SeqCst);
    let whole = Instant::now();
    sleep(Duration::from_millis(2_500)).await;
    assert!(scene.store.is_read_since(whole, bad));
    let asked = scene.store.asked(bad).len();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.store.asked(bad).len(), asked, "it was read");
}

#[tokio::test(start_paused = true)]
async fn gaps_without_end_do_not_have_all_sessions_read_without_end() {
    let scene = Scene::with(8, 0).await;
    let before = scene.store.asked(&scene.good[0]).len();
    let first = Instant::now();
    for number in 0..1_000 {
        scene.sessions.suspect_all();
        sleep(Duration::from_millis(10)).await;
        if number == 10 {
            let at_once = |id| scene.store.is_read_since(first, id);
            assert!(scene.good.iter().all(at_once), "the first is not put off");
        }
    }
    let last = Instant::now();
    let asked = scene.store.asked(&scene.good[0]).len() - before;
    assert!((8..=11).contains(&asked), "{asked} times in ten seconds");
    // Nor is the last one forgotten.
    scene.sessions.suspect_all();
    sleep(Duration::from_millis(1_500)).await;
    for id in &scene.good {
        assert!(scene.store.is_read_since(last, id), "{id:?}");
    }
}
