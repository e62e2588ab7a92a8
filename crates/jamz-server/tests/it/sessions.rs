//! Changes of sessions on a store that fails, as clients hear them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

use jamz_server::metrics::{CommitResult, Metrics};
use jamz_server::session::{
    Change, Controller, ControllerChanged, Entry, Part, Register, SessionId, SessionState,
    Sessions, Verdict,
};
use jamz_server::store::{
    MemoryStore, Outcome, Replaced, SharedSessions, Store, StoreFuture, Unavailable,
};
use serde_json::Value;
use unisono::{Io, Namespace};
use unisono_client::{Client, Event, Events, Options};
use unisono_cluster::{Broker, MemoryBus, Template};
use unisono_test::await_until;

use crate::support::PATIENCE;

const BOTH: [&str; 2] = ["music-control-changed", "music-controller-changed"];
const STATE: &str = "music-session-state";

/// The store does what it is asked.
const GOOD: u8 = 0;
/// The store does what it is asked, and the reply is lost.
const LOSES_REPLIES: u8 = 1;
/// The store does nothing.
const AWAY: u8 = 2;

/// A store that fails on demand.
struct Faulty {
    inner: MemoryStore,
    mode: AtomicU8,
}

impl Faulty {
    fn is_away(&self) -> bool {
        self.mode.load(SeqCst) == AWAY
    }

    async fn step<T>(&self, step: StoreFuture<'_, T>) -> Result<T, Unavailable> {
        let done = step.await;
        match self.mode.load(SeqCst) {
            LOSES_REPLIES => Err(Unavailable::because("reply lost")),
            _ => done,
        }
    }
}

impl Store for Faulty {
    fn load<'a>(&'a self, session: &'a SessionId) -> StoreFuture<'a, SessionState> {
        Box::pin(async move {
            if self.is_away() {
                return Err(Unavailable::because("away"));
            }
            self.inner.load(session).await
        })
    }

    fn commit<'a>(
        &'a self,
        change: &'a Change,
        messages: &'a [Template],
    ) -> StoreFuture<'a, Outcome> {
        Box::pin(async move {
            if self.is_away() {
                return Err(Unavailable::because("away"));
            }
            self.step(self.inner.commit(change, messages)).await
        })
    }

    fn replace<'a>(
        &'a self,
        session: &'a SessionId,
        expected_revision: u32,
        state: &'a SessionState,
        messages: &'a [Template],
    ) -> StoreFuture<'a, Replaced> {
        Box::pin(async move {
            if self.is_away() {
                return Err(Unavailable::because("away"));
            }
            let replaced = self
                .inner
                .replace(session, expected_revision, state, messages);
            self.step(replaced).await
        })
    }
}

/// The sessions of one pod with a client on it.
struct Bench {
    store: Arc<Faulty>,
    metrics: Arc<Metrics>,
    sessions: Sessions,
    entry: Arc<Entry>,
    events: Events,
    _client: Client,
    io: Io,
}

impl Bench {
    /// One pod by itself.
    async fn alone() -> Self {
        Self::on(&MemoryBus::new(), &SharedSessions::default()).await
    }

    async fn on(bus: &MemoryBus, shared: &SharedSessions) -> Self {
        let broker: Arc<dyn Broker> = Arc::new(bus.broker());
        let store = Arc::new(Faulty {
            inner: MemoryStore::new(shared.clone(), broker.clone()),
            mode: AtomicU8::new(GOOD),
        });
        let metrics = Arc::new(Metrics::default());
        let sessions = Sessions::new(store.clone(), broker.clone(), metrics.clone());
        let heard = sessions.clone();
        let space = Namespace::new("/").on_note(move |note| heard.on_note(note));
        let io = Io::builder()
            .broker(broker, "tests")
            .namespace(space)
            .build();
        sessions.attach(io.of("/").unwrap());
        let keeper = sessions.clone();
        tokio::spawn(async move { keeper.keep().await });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(unisono::serve(
            listener,
            io.service(),
            std::future::pending(),
        ));
        let (client, events) = Client::connect(&url, Options::default()).await.unwrap();
        let entry = sessions.open(&SessionId::Default).await.unwrap();
        Self {
            store,
            metrics,
            sessions,
            entry,
            events,
            _client: client,
            io,
        }
    }

    fn mode(&self, mode: u8) {
        self.store.mode.store(mode, SeqCst);
    }

    /// Somebody takes control.
    async fn take(&self, user: &str, now_ms: u64) -> Verdict {
        let controller = Controller {
            id: Some(user.to_owned()),
            socket: None,
        };
        let change = Change {
            session: SessionId::Default,
            guard: None,
            set: vec![(Part::Controller, controller.to_json())],
            now_ms,
            known_revision: 0,
        };
        let payload = ControllerChanged {
            controller_id: None,
            user_id: Some(user.into()),
            from: None,
            reason: None,
            timestamp: now_ms,
            revision: None,
        };
        self.sessions
            .change(&self.entry, change, &BOTH, &payload)
            .await
    }

    /// The next event: its name, its revision, and who it says is the DJ.
    async fn hears(&mut self) -> (String, u64, String) {
        let event = tokio::time::timeout(PATIENCE, self.events.next()).await;
        let Ok(Some(Event::Message(message))) = event else {
            panic!("cut off or silent: {event:?}");
        };
        let payload: Value = serde_json::to_value(message.data()).unwrap();
        let dj = payload.get("userId").or(payload.get("controller_id"));
        let dj = dj.and_then(Value::as_str).unwrap_or_default().to_owned();
        (message.name, payload["revision"].as_u64().unwrap(), dj)
    }

    /// The next events are these and no others in between.
    async fn hears_all(&mut self, expected: &[(&str, u64, &str)]) {
        for (name, revision, dj) in expected {
            let heard = self.hears().await;
            assert_eq!(heard, ((*name).to_owned(), *revision, (*dj).to_owned()));
        }
    }

    async fn stored(&self) -> SessionState {
        self.store.inner.load(&SessionId::Default).await.unwrap()
    }

    fn counts(&self) -> [u64; 2] {
        [CommitResult::Committed, CommitResult::Local].map(|result| self.metrics.commits(result))
    }
}

#[tokio::test]
async fn a_change_whose_reply_is_lost_happens_once() {
    let mut bench = Bench::alone().await;
    bench.mode(LOSES_REPLIES);
    assert_eq!(bench.take("a", 10).await, Verdict::Done { revision: 1 });
    assert_eq!(bench.entry.state(), bench.stored().await);
    bench.mode(GOOD);
    assert_eq!(bench.take("b", 20).await, Verdict::Done { revision: 2 });
    bench
        .hears_all(&[
            (BOTH[0], 1, "a"),
            (BOTH[1], 1, "a"),
            (BOTH[0], 2, "b"),
            (BOTH[1], 2, "b"),
        ])
        .await;
    assert_eq!(bench.counts(), [2, 0]);
    assert_eq!(bench.stored().await.revision, 2);
}

#[tokio::test]
async fn a_change_without_the_store_is_heard_here_and_brought_in_later() {
    let mut bench = Bench::alone().await;
    bench.mode(AWAY);
    assert_eq!(bench.take("a", 10).await, Verdict::Done { revision: 1 });
    assert!(bench.stored().await.is_unknown());
    bench
        .hears_all(&[(BOTH[0], 1, "a"), (BOTH[1], 1, "a")])
        .await;
    // Bringing it in is done once as well, though its reply is lost.
    bench.mode(LOSES_REPLIES);
    bench
        .hears_all(&[(STATE, 2, "a"), (BOTH[0], 2, "a"), (BOTH[1], 2, "a")])
        .await;
    bench.mode(GOOD);
    assert_eq!(bench.take("b", 20).await, Verdict::Done { revision: 3 });
    bench
        .hears_all(&[(BOTH[0], 3, "b"), (BOTH[1], 3, "b")])
        .await;
    assert_eq!(bench.counts(), [1, 1]);
    assert_eq!(bench.entry.state(), bench.stored().await);
}

/// A playlist that is stored but cannot be put into an event.
fn too_deep() -> Register {
    let json = format!("{}{}", "[".repeat(100), "]".repeat(100));
    Register { at: 5, json }
}

#[tokio::test]
async fn a_state_that_cannot_be_told_is_still_brought_in_and_known_to_all_pods() {
    let (bus, shared) = (MemoryBus::new(), SharedSessions::default());
    let mut one = Bench::on(&bus, &shared).await;
    let mut two = Bench::on(&bus, &shared).await;
    one.mode(AWAY);
    one.take("a", 10).await;
    one.hears_all(&[(BOTH[0], 1, "a"), (BOTH[1], 1, "a")]).await;
    let mut deep = SessionState::default().at_revision(1);
    deep.put(Part::Playlist, too_deep());
    let replaced = two.store.inner.replace(&SessionId::Default, 0, &deep, &[]);
    assert_eq!(replaced.await, Ok(Replaced::Done));
    one.mode(GOOD);
    for bench in [&mut one, &mut two] {
        bench
            .hears_all(&[(BOTH[0], 2, "a"), (BOTH[1], 2, "a")])
            .await;
    }
    let stored = one.stored().await;
    assert_eq!(stored.register(Part::Playlist), Some(&too_deep()));
    assert_eq!(Controller::of(&stored).id.as_deref(), Some("a"));
    for bench in [&one, &two] {
        await_until("the pod has read it", PATIENCE, || {
            bench.entry.state() == stored
        })
        .await;
    }
}

/// Another pod's state is shown to the clients of this one before this one has read it.
#[tokio::test]
async fn whoever_joins_before_a_state_is_read_is_told_of_it_as_well() {
    let (bus, shared) = (MemoryBus::new(), SharedSessions::default());
    let mut one = Bench::on(&bus, &shared).await;
    let mut two = Bench::on(&bus, &shared).await;
    one.mode(AWAY);
    // Not the controller, whose moves everybody is told in any case.
    let change = Change {
        session: SessionId::Default,
        guard: None,
        set: vec![(Part::Playlist, "[1]".to_owned())],
        now_ms: 10,
        known_revision: 0,
    };
    let nothing = serde_json::json!({});
    let changed = one.sessions.change(&one.entry, change, &["list"], &nothing);
    assert_eq!(changed.await, Verdict::Done { revision: 1 });
    one.hears_all(&[("list", 1, "")]).await;
    two.mode(AWAY);
    one.mode(GOOD);
    two.hears_all(&[(STATE, 2, "")]).await;
    let newcomer = two.io.of("/").unwrap().local_sockets().remove(0);
    let mut shown = None;
    two.sessions.join(&two.entry, &newcomer, |state| {
        shown = Some(state.revision);
    });
    assert_eq!(shown, Some(0), "it could not be read");
    two.mode(GOOD);
    two.hears_all(&[(STATE, 2, "")]).await;
    assert_eq!(two.entry.state(), two.stored().await);
}

/// How often one pod changes the session alone while another commits.
const ROUNDS: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_changes_and_commits_of_another_pod_end_in_one_state() {
    let (bus, shared) = (MemoryBus::new(), SharedSessions::default());
    let (one, two) = (
        Bench::on(&bus, &shared).await,
        Bench::on(&bus, &shared).await,
    );
    let (one, two) = (Arc::new(one), Arc::new(two));
    let alone = tokio::spawn({
        let one = one.clone();
        async move {
            for round in 1..=ROUNDS {
                one.mode(if round % 3 == 0 { GOOD } else { AWAY });
                one.take(&format!("one-{round}"), 2 * round).await;
            }
            one.mode(GOOD);
        }
    });
    for round in 1..=ROUNDS {
        two.take(&format!("two-{round}"), 2 * round + 1).await;
        tokio::task::yield_now().await;
    }
    alone.await.unwrap();
    two.take("last", 10 * ROUNDS).await;
    for bench in [&one, &two] {
        await_until("the pods agree", PATIENCE, || {
            Controller::of(&bench.entry.state()).id.as_deref() == Some("last")
        })
        .await;
    }
    let agreed = one.stored().await;
    assert_eq!(Controller::of(&agreed).id.as_deref(), Some("last"));
    assert!(agreed.revision >= u32::try_from(ROUNDS).unwrap());
    for bench in [&one, &two] {
        await_until("and so does the store", PATIENCE, || {
            bench.entry.state().same_parts(&agreed)
        })
        .await;
    }
}
