//! The proof behind `demo` and `verify`: clients on several pods take control of the music,
//! and every one of them must see the same changes in the same order.

use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use serde_json::{Value, json};
use tokio::time::{Interval, interval, timeout};
use unisono_client::{Client, ConnectError, Event, Events, Options};

use crate::config::names;
use crate::events::CONTROL_CHANGED;

/// How long one change may take to reach everybody. A pod hears itself within three seconds
/// even when Redis does not answer; beyond that it is lost.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// Up to so many rounds no client emits more than a pod takes at once by default (`EVENT_RATE`).
const UNPACED_ROUNDS: usize = names::DEFAULT_EVENT_RATE.burst as usize / 4;

/// Beyond, a round takes this long at least, so that no client emits more than half of what a pod takes in the long run.
const PACE: Duration =
    Duration::from_millis(2 * 1000 / names::DEFAULT_EVENT_RATE.per_second as u64);

/// The session of a proof on pods that serve others. Always the same, so that it leaves one key
/// in the store and not one for each run.
const VERIFY_SESSION: &str = "jamz-verify";

/// Why the proof could not be carried through.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProofError {
    /// A client cannot connect.
    #[error("cannot connect to {url}")]
    Connect {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: ConnectError,
    },
    /// A client was cut off, or its pod does not answer.
    #[error("the client on {url} was cut off or got no answer")]
    Lost {
        /// Where.
        url: String,
    },
}

/// A client of the proof, and what it has seen.
struct Watcher {
    url: String,
    client: Client,
    events: Events,
    /// Revision and user of each change of this run, in the order of arrival.
    seen: Vec<(i64, String)>,
}

/// One change and how long it took to reach each client; `None` if it did not.
pub(super) struct Take {
    /// Which client took control.
    pub(super) by: usize,
    /// Time from sending to hearing it, for each client.
    pub(super) heard: Vec<Option<Duration>>,
}

/// What came out.
pub(super) struct Report {
    /// The changes that were made one after another.
    pub(super) takes: Vec<Take>,
    /// How many changes were made at the same moment as others.
    pub(super) races: usize,
    /// What is wrong, in sentences; empty if nothing is.
    pub(super) problems: Vec<String>,
}

/// The clients of a proof.
pub(super) struct Proof {
    watchers: Vec<Watcher>,
    session: Option<String>,
    run: String,
}

impl Proof {
    /// Connects one client to each URL. With a session they join it, so that nobody else
    /// hears of the proof; without one everybody does.
    pub(super) async fn connect(urls: &[String], session: bool) -> Result<Self, ProofError> {
        let run = format!("{:x}-{:x}", crate::clock::now_ms(), std::process::id());
        let watchers = try_join_all(urls.iter().map(|url| Watcher::connect(url))).await?;
        let mut proof = Self {
            watchers,
            session: session.then(|| VERIFY_SESSION.to_owned()),
            run,
        };
        if let Some(session) = &proof.session {
            let joins = proof
                .watchers
                .iter_mut()
                .map(|watcher| watcher.join(session));
            try_join_all(joins).await?;
        }
        Ok(proof)
    }

    /// Makes `rounds` changes one after another, then as many rounds in which all clients
    /// take control at once.
    pub(super) async fn run(mut self, rounds: usize) -> Result<Report, ProofError> {
        let mut takes = Vec::with_capacity(rounds);
        let mut pace = (rounds > UNPACED_ROUNDS).then(|| interval(PACE));
        for round in 0..rounds {
            tick(&mut pace).await;
            takes.push(self.take(round).await?);
        }
        for round in 0..rounds {
            tick(&mut pace).await;
            self.race(round).await?;
        }
        let races = rounds * self.watchers.len();
        let problems = self.problems(rounds + races);
        Ok(Report {
            takes,
            races,
            problems,
        })
    }

    async fn take(&mut self, round: usize) -> Result<Take, ProofError> {
        let by = round % self.watchers.len();
        let user = format!("{}-{round}", self.run);
        let payload = self.payload(&user);
        let started = Instant::now();
        self.watchers[by].emit(&payload).await?;
        let run = self.run.as_str();
        let heard = self.watchers.iter_mut().map(|watcher| async {
            let heard = watcher.hear(run, |seen| seen == user).await?;
            Ok(heard.map(|at| at.duration_since(started)))
        });
        let heard = try_join_all(heard).await?;
        Ok(Take { by, heard })
    }

    async fn race(&mut self, round: usize) -> Result<(), ProofError> {
        let payloads: Vec<Value> = (0..self.watchers.len())
            .map(|by| self.payload(&format!("{}-race-{round}-{by}", self.run)))
            .collect();
        let emits = self.watchers.iter().zip(&payloads);
        try_join_all(emits.map(|(watcher, payload)| watcher.emit(payload))).await?;
        let (run, count) = (self.run.as_str(), self.watchers.len());
        let hears = self.watchers.iter_mut().map(|watcher| async move {
            for _ in 0..count {
                if watcher.hear(run, |_| true).await?.is_none() {
                    break;
                }
            }
            Ok(())
        });
        try_join_all(hears).await.map(|_| ())
    }

    fn payload(&self, user: &str) -> Value {
        match &self.session {
            Some(session) => json!({"sessionId": session, "userId": user}),
            None => json!({"userId": user}),
        }
    }

    /// What is wrong with what the clients have seen.
    fn problems(&self, expected: usize) -> Vec<String> {
        let mut problems = Vec::new();
        for watcher in &self.watchers {
            let (url, seen) = (&watcher.url, &watcher.seen);
            if seen.len() != expected {
                let count = seen.len();
                problems.push(format!(
                    "the client on {url} saw {count} of {expected} changes"
                ));
            }
            if !seen.is_sorted_by(|a, b| a.0 < b.0) {
                problems.push(format!("the client on {url} saw revisions go backwards"));
            }
        }
        if let Some((first, others)) = self.watchers.split_first() {
            for other in others.iter().filter(|other| other.seen != first.seen) {
                let (a, b) = (&first.url, &other.url);
                problems.push(format!(
                    "the clients on {a} and {b} saw different sequences"
                ));
            }
        }
        problems
    }

    /// Closes all connections.
    pub(super) async fn close(watchers: Vec<Client>) {
        join_all(watchers.into_iter().map(Client::close)).await;
    }

    /// Handles to close the connections with when the proof is over.
    pub(super) fn clients(&self) -> Vec<Client> {
        self.watchers
            .iter()
            .map(|watcher| watcher.client.clone())
            .collect()
    }
}

async fn tick(pace: &mut Option<Interval>) {
    if let Some(pace) = pace {
        pace.tick().await;
    }
}

impl Watcher {
    async fn connect(url: &str) -> Result<Self, ProofError> {
        let connected = Client::connect(url, Options::default()).await;
        let (client, events) = connected.map_err(|source| ProofError::Connect {
            url: url.to_owned(),
            source,
        })?;
        let mut watcher = Self {
            url: url.to_owned(),
            client,
            events,
            seen: Vec::new(),
        };
        watcher.expect("hello").await?;
        Ok(watcher)
    }

    /// Joins the session; the answer to a ping behind it shows that the pod has done it.
    async fn join(&mut self, session: &str) -> Result<(), ProofError> {
        let payload = json!({"sessionId": session});
        let joined = self.client.emit("join-music-session", &payload).await;
        let pinged = self.client.emit("test-ping", &()).await;
        joined.and(pinged).map_err(|_| self.lost())?;
        self.expect("test-pong").await
    }

    async fn expect(&mut self, event: &str) -> Result<(), ProofError> {
        match timeout(HEARD_WITHIN, self.events.message(event)).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) | Err(_) => Err(self.lost()),
        }
    }

    async fn emit(&self, payload: &Value) -> Result<(), ProofError> {
        let sent = self.client.emit("music-take-control", payload).await;
        sent.map_err(|_| self.lost())
    }

    /// Waits for a change of this run whose user is wanted, and remembers what comes before.
    /// `None` if it does not come in time.
    async fn hear(
        &mut self,
        run: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Option<Instant>, ProofError> {
        let end = tokio::time::Instant::now() + HEARD_WITHIN;
        loop {
            let event = match tokio::time::timeout_at(end, self.events.next()).await {
                Ok(Some(Event::Message(message))) => message,
                Ok(Some(Event::Disconnected | Event::Closed(_)) | None) => return Err(self.lost()),
                Err(_) => return Ok(None),
            };
            let at = Instant::now();
            let user = event.data().get("userId").and_then(|user| user.as_str());
            let Some(user) = user.filter(|user| user.starts_with(run)) else {
                continue;
            };
            if event.name != CONTROL_CHANGED[0] {
                continue;
            }
            let revision = event
                .data()
                .get("revision")
                .and_then(|revision| revision.as_i64());
            self.seen.push((revision.unwrap_or(-1), user.to_owned()));
            if wanted(user) {
                return Ok(Some(at));
            }
        }
    }

    fn lost(&self) -> ProofError {
        ProofError::Lost {
            url: self.url.clone(),
        }
    }
}

impl Report {
    /// Whether everybody saw everything in one order.
    pub(super) fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    /// The times after which others heard of a change, shortest first.
    pub(super) fn latencies(&self) -> Vec<Duration> {
        let mut times: Vec<Duration> = self
            .takes
            .iter()
            .flat_map(|take| {
                let others = take
                    .heard
                    .iter()
                    .enumerate()
                    .filter(|(who, _)| *who != take.by);
                others.filter_map(|(_, heard)| *heard)
            })
            .collect();
        times.sort_unstable();
        times
    }
}

/// The time below which this share of the sorted times is.
pub(super) fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    let index = (last as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}
