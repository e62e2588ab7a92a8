//! The bus between pods, in virtual time: one total order, ways that keep the order of what they carry, and links that are cut.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use unisono_cluster::broker::check_size;
use unisono_cluster::{
    Adapter, Broker, CountFuture, Inbox, LinkState, LinkStats, PublishError, Subscription,
};

use bytes::Bytes;

use super::draws::Draws;

/// Longest way of a message over a sound link.
const MAX_DELAY_MS: u64 = 30;

/// Until a link that is cut is known to be, as `unisono-redis` has it.
const MAX_NOTICE_MS: u64 = 2_300;

/// Until a link is up again that can be, as `unisono-redis` has it.
const MAX_HEAL_MS: u64 = 2_000;

/// A link that is younger is not suspected, as `unisono-redis` has it.
const SUSPECT_AFTER: Duration = Duration::from_millis(2_300);

/// How long a message waits for its link, as `unisono-redis` has it.
const MAX_AGE: Duration = Duration::from_secs(5);

/// Messages that wait for a link.
const MAX_WAITING: usize = 64;

/// The bus. Clones are the same.
#[derive(Clone)]
pub(super) struct Net(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    /// How often a link has come up again.
    heals: watch::Sender<u64>,
}

struct State {
    draws: Draws,
    agenda: BinaryHeap<Reverse<Entry>>,
    entered: u64,
    ends: Vec<End>,
    /// Whether a message is lost now and then although no link is.
    loses: bool,
}

/// A pod's end.
struct End {
    inbox: Option<Arc<dyn Inbox>>,
    subscriptions: BTreeSet<Subscription>,
    state: LinkState,
    since: Instant,
    /// Counts the cuts: what was on its way before one does not arrive.
    generation: u64,
    carries_up: bool,
    carries_down: bool,
    mends: Instant,
    waiting: VecDeque<(Instant, Message)>,
    last_up: Instant,
    last_down: Instant,
    reconnects: u64,
}

#[derive(Clone)]
struct Message {
    channel: Arc<str>,
    payload: Bytes,
}

enum Event {
    AtBus {
        pod: usize,
        generation: u64,
        message: Message,
    },
    AtPod {
        pod: usize,
        generation: u64,
        message: Message,
    },
    Notice {
        pod: usize,
        generation: u64,
        state: LinkState,
    },
    Heal {
        pod: usize,
    },
}

struct Entry {
    at: Instant,
    number: u64,
    event: Event,
}

impl Net {
    /// A bus whose delays are drawn from this seed. Runs for as long as the runtime.
    pub(super) fn start(seed: u64, loses: bool) -> Self {
        let net = Self(Arc::new(Shared {
            state: Mutex::new(State {
                draws: Draws::new(seed),
                agenda: BinaryHeap::new(),
                entered: 0,
                ends: Vec::new(),
                loses,
            }),
            changed: Notify::new(),
            heals: watch::Sender::new(0),
        }));
        let running = net.clone();
        tokio::spawn(async move { running.run().await });
        net
    }

    /// A pod's end of it.
    pub(super) fn end(&self) -> SimulatedBroker {
        let now = Instant::now();
        let mut state = self.lock();
        state.ends.push(End {
            inbox: None,
            subscriptions: BTreeSet::new(),
            state: LinkState::Subscribed,
            since: now,
            generation: 0,
            carries_up: true,
            carries_down: true,
            mends: now,
            waiting: VecDeque::new(),
            last_up: now,
            last_down: now,
            reconnects: 0,
        });
        SimulatedBroker {
            net: self.clone(),
            pod: state.ends.len() - 1,
        }
    }

    /// A broker for a store: what it publishes has its place in the order at once.
    pub(super) fn at_bus(&self) -> Arc<dyn Broker> {
        Arc::new(SimulatedBroker {
            net: self.clone(),
            pod: usize::MAX,
        })
    }

    /// Cuts a pod off for at least that time. A link that is deaf still carries what the pod sends.
    pub(super) fn cut(&self, pod: usize, for_ms: u64, is_deaf: bool) {
        let mut state = self.lock();
        let now = Instant::now();
        let notice_ms = state.draws.up_to(MAX_NOTICE_MS, pod, "notice");
        let end = &mut state.ends[pod];
        end.generation += 1;
        end.carries_up &= is_deaf;
        end.carries_down = false;
        end.mends = end.mends.max(now + Duration::from_millis(for_ms));
        let generation = end.generation;
        let told = if is_deaf {
            LinkState::Deaf
        } else {
            LinkState::Down
        };
        let event = Event::Notice {
            pod,
            generation,
            state: told,
        };
        state.enter(now + Duration::from_millis(notice_ms), event);
        drop(state);
        self.0.changed.notify_one();
    }

    /// One way between a pod and the bus that does not go by the bus's messages. `None` where it is lost.
    pub(super) async fn way(&self, pod: usize, of: &str) -> Option<()> {
        let (generation, at) = {
            let mut state = self.lock();
            let delay = state.delay(pod, of);
            let end = &state.ends[pod];
            if !end.state.is_up() {
                return None;
            }
            (end.generation, Instant::now() + delay)
        };
        sleep_until(at).await;
        let state = self.lock();
        let end = &state.ends[pod];
        (end.generation == generation && end.carries_up && end.carries_down).then_some(())
    }

    /// Changes whenever a link comes up again.
    pub(super) fn heals(&self) -> watch::Receiver<u64> {
        self.0.heals.subscribe()
    }

    pub(super) fn is_up(&self, pod: usize) -> bool {
        self.lock().ends[pod].state.is_up()
    }

    /// Whether something happens that does in one of two cases.
    pub(super) fn toss(&self, pod: usize, of: &str) -> bool {
        self.lock().draws.up_to(1, pod, of) == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nobody panics here")
    }

    async fn run(&self) {
        loop {
            let next = self.lock().agenda.peek().map(|entry| entry.0.at);
            match next {
                Some(at) if at <= Instant::now() => {
                    let entry = self.lock().agenda.pop();
                    if let Some(Reverse(entry)) = entry {
                        self.handle(entry.event);
                    }
                }
                Some(at) => tokio::select! {
                    biased;
                    () = sleep_until(at) => {}
                    () = self.0.changed.notified() => {}
                },
                None => self.0.changed.notified().await,
            }
        }
    }

    fn handle(&self, event: Event) {
        let mut state = self.lock();
        match event {
            Event::AtBus {
                pod,
                generation,
                message,
            } => {
                let is_stale = state.ends[pod].generation != generation;
                let is_lost = is_stale && state.draws.up_to(1, pod, "lost") == 0;
                if !is_lost {
                    state.place(&message);
                }
            }
            Event::AtPod {
                pod,
                generation,
                message,
            } => {
                let end = &state.ends[pod];
                let inbox = end.inbox.clone().filter(|_| end.generation == generation);
                drop(state);
                if let Some(inbox) = inbox {
                    inbox.message(&message.channel, message.payload);
                }
            }
            Event::Notice {
                pod,
                generation,
                state: told,
            } => {
                if state.ends[pod].generation == generation {
                    let heal_ms = 50 + state.draws.up_to(MAX_HEAL_MS, pod, "heal");
                    let mends = state.ends[pod].mends.max(Instant::now());
                    state.enter(mends + Duration::from_millis(heal_ms), Event::Heal { pod });
                    self.change(state, pod, told);
                }
            }
            Event::Heal { pod } => self.heal(state, pod),
        }
    }

    fn heal(&self, mut state: MutexGuard<'_, State>, pod: usize) {
        let now = Instant::now();
        let end = &mut state.ends[pod];
        if end.mends > now {
            let mends = end.mends;
            return state.enter(mends + Duration::from_millis(50), Event::Heal { pod });
        }
        if end.state.is_up() {
            return;
        }
        end.generation += 1;
        (end.carries_up, end.carries_down) = (true, true);
        end.reconnects += 1;
        end.since = now;
        let waiting = std::mem::take(&mut end.waiting);
        for (_, message) in waiting
            .into_iter()
            .filter(|(queued, _)| now - *queued <= MAX_AGE)
        {
            state.send(pod, message);
        }
        self.change(state, pod, LinkState::Subscribed);
        self.0.heals.send_modify(|heals| *heals += 1);
    }

    fn change(&self, mut state: MutexGuard<'_, State>, pod: usize, told: LinkState) {
        let end = &mut state.ends[pod];
        end.state = told;
        let inbox = end.inbox.clone();
        drop(state);
        if let Some(inbox) = inbox {
            inbox.link(told);
        }
    }
}

impl State {
    fn enter(&mut self, at: Instant, event: Event) {
        self.entered += 1;
        let number = self.entered;
        self.agenda.push(Reverse(Entry { at, number, event }));
    }

    fn delay(&mut self, pod: usize, of: &str) -> Duration {
        Duration::from_millis(1 + self.draws.up_to(MAX_DELAY_MS, pod, of))
    }

    /// From a pod to the bus.
    fn send(&mut self, pod: usize, message: Message) {
        let delay = self.delay(pod, &message.channel);
        let end = &mut self.ends[pod];
        if end.carries_up {
            end.last_up = end.last_up.max(Instant::now() + delay);
            let (at, generation) = (end.last_up, end.generation);
            self.enter(
                at,
                Event::AtBus {
                    pod,
                    generation,
                    message,
                },
            );
        }
    }

    /// In the total order, and from the bus to the pods.
    fn place(&mut self, message: &Message) {
        for pod in 0..self.ends.len() {
            let delay = self.delay(pod, &message.channel);
            if self.loses && self.draws.up_to(3, pod, "loses") == 0 {
                continue;
            }
            for _ in 0..self.ends[pod].matching(&message.channel) {
                let end = &mut self.ends[pod];
                end.last_down = end.last_down.max(Instant::now() + delay);
                let (at, generation) = (end.last_down, end.generation);
                let message = message.clone();
                let event = Event::AtPod {
                    pod,
                    generation,
                    message,
                };
                self.enter(at, event);
            }
        }
    }
}

impl End {
    fn matching(&self, channel: &str) -> usize {
        let matching = self.subscriptions.iter().filter(|one| match one {
            Subscription::Channel(name) => name == channel,
            // The patterns of a namespace end with the only star in them.
            Subscription::Pattern(pattern) => channel.starts_with(pattern.trim_end_matches('*')),
        });
        if self.carries_down {
            matching.count()
        } else {
            0
        }
    }
}

impl Entry {
    fn key(&self) -> (Instant, u64) {
        (self.at, self.number)
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

/// One pod's broker.
pub(super) struct SimulatedBroker {
    net: Net,
    pub(super) pod: usize,
}

impl Broker for SimulatedBroker {
    fn adapter(&self) -> Adapter {
        Adapter::Classic
    }

    fn attach(&self, inbox: Arc<dyn Inbox>) {
        let mut state = self.net.lock();
        let end = &mut state.ends[self.pod];
        end.inbox = Some(inbox.clone());
        let told = end.state;
        drop(state);
        inbox.link(told);
    }

    fn subscribe(&self, subscription: Subscription) {
        self.net.lock().ends[self.pod]
            .subscriptions
            .insert(subscription);
    }

    fn unsubscribe(&self, subscription: &Subscription) {
        self.net.lock().ends[self.pod]
            .subscriptions
            .remove(subscription);
    }

    fn publish(&self, channel: &str, payload: Bytes) -> Result<(), PublishError> {
        check_size(&payload)?;
        let channel = channel.into();
        let message = Message { channel, payload };
        let mut state = self.net.lock();
        if self.pod == usize::MAX {
            state.place(&message);
        } else if state.ends[self.pod].state.is_up() {
            state.send(self.pod, message);
        } else {
            let waiting = &mut state.ends[self.pod].waiting;
            if waiting.len() >= MAX_WAITING {
                return Err(PublishError::BufferFull);
            }
            waiting.push_back((Instant::now(), message));
        }
        drop(state);
        self.net.0.changed.notify_one();
        Ok(())
    }

    fn count(&self, _: &str) -> CountFuture {
        let count = self.net.lock().ends.len();
        Box::pin(std::future::ready(Ok(count)))
    }

    fn state(&self) -> LinkState {
        self.net.lock().ends[self.pod].state
    }

    fn suspect(&self) {
        let mut state = self.net.lock();
        let end = &mut state.ends[self.pod];
        if end.state.is_up() && end.since.elapsed() >= SUSPECT_AFTER {
            end.generation += 1;
            (end.carries_up, end.carries_down) = (false, false);
            let (pod, generation) = (self.pod, end.generation);
            let event = Event::Notice {
                pod,
                generation,
                state: LinkState::Deaf,
            };
            state.enter(Instant::now(), event);
            drop(state);
            self.net.0.changed.notify_one();
        }
    }

    fn stats(&self) -> LinkStats {
        let mut stats = LinkStats::default();
        stats.reconnects = self.net.lock().ends[self.pod].reconnects;
        stats
    }

    fn close(&self) {}
}
