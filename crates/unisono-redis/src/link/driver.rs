//! The task that carries out what the state machine decides.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use unisono_cluster::LinkState;

use super::machine::{Machine, Step};
use super::session::Session;
use super::{Link, Refused};
use crate::failure::Failure;
use crate::limits::LAST_WORDS;
use crate::route::Route;

/// Keeps the link up until it is closed.
pub(crate) async fn run(link: Arc<Link>) {
    let mut driver = Driver {
        machine: Machine::new(link.now_ms(), fastrand::Rng::new()),
        session: None,
        generation: 0,
        was_subscribed: false,
        route: Route::new(link.config.clone()),
        link,
    };
    while !driver.link.is_closed() {
        driver.turn().await;
    }
    // What was published before it was closed: a goodbye, as a rule.
    if driver.session.is_some() {
        let _ = timeout(LAST_WORDS, driver.link.buffer.emptied()).await;
    }
    driver.session = None;
    driver.link.connections.send_replace(None);
    // Once more: a last step may have said otherwise.
    driver.link.state.send_replace(LinkState::Down);
    driver.link.gate.detach();
    tracing::debug!(
        redis = driver.link.config.redacted_url(),
        "redis link closed"
    );
}

struct Driver {
    link: Arc<Link>,
    machine: Machine,
    session: Option<Session>,
    generation: u64,
    was_subscribed: bool,
    route: Route,
}

impl Driver {
    /// Takes in what happened, does one step, shows the outcome.
    async fn turn(&mut self) {
        self.take_signals().await;
        let now_ms = self.link.now_ms();
        self.link.buffer.expire(now_ms);
        let step = self.machine.poll(now_ms, self.heard_ms());
        self.link
            .counters
            .probes_failed
            .store(self.machine.probes_failed(), Ordering::Relaxed);
        self.show();
        match step {
            Step::Attempt => self.attempt().await,
            Step::Probe => self.probe(),
            Step::WaitUntil(until_ms) => {
                let pause = Duration::from_millis(until_ms.saturating_sub(now_ms));
                tokio::select! {
                    () = sleep(pause) => {}
                    () = self.link.signals.wake.notified() => {}
                }
            }
        }
    }

    async fn take_signals(&mut self) {
        let signals = &self.link.signals;
        let now_ms = self.link.now_ms();
        if signals.lost_generation.load(Ordering::Acquire) == self.generation && self.generation > 0
        {
            self.machine.lost(now_ms);
        }
        if signals.suspected.swap(false, Ordering::AcqRel) {
            self.machine.suspect(now_ms);
        }
        if !self.machine.is_listening() {
            self.session = None;
            return;
        }
        if signals.subscriptions_changed.swap(false, Ordering::AcqRel) {
            self.follow_subscriptions().await;
        }
    }

    async fn follow_subscriptions(&mut self) {
        let Some(session) = &mut self.session else {
            return;
        };
        let turn = self.link.next_turn();
        let Err(failure) = session.follow(&self.link, turn).await else {
            return;
        };
        self.link.note(failure);
        self.machine.lost(self.link.now_ms());
        self.session = None;
    }

    async fn attempt(&mut self) {
        self.session = None;
        self.generation += 1;
        // Whatever changes from here on is seen after the attempt.
        self.link
            .signals
            .subscriptions_changed
            .store(false, Ordering::Release);
        let outcome = tokio::select! {
            outcome = open(&self.link, &mut self.route, self.generation) => outcome,
            () = closed(&self.link) => return,
        };
        let failure = match outcome {
            Ok(session) => {
                self.session = Some(session);
                self.route.arrived();
                // Nothing of an earlier link is listened to any more.
                for refused in [Refused::Link, Refused::Unsubscribe] {
                    self.link.refusals.take_back(refused);
                }
                self.machine.attempt_succeeded(self.link.now_ms());
                return;
            }
            Err(failure) => failure,
        };
        tracing::debug!(
            redis = self.link.config.redacted_url(),
            error = failure.text,
            "attempt to connect to redis failed"
        );
        self.route.failed(&failure);
        self.link
            .counters
            .connects_failed
            .fetch_add(1, Ordering::Relaxed);
        if !failure.is_refusal {
            self.link.refusals.take_back(Refused::Link);
        }
        self.link.note(failure);
        self.machine.attempt_failed(self.link.now_ms());
    }

    /// The moment up to which something came on every connection that is listened to.
    fn heard_ms(&self) -> u64 {
        let session = self.session.as_ref();
        match session.and_then(|session| session.connections.shards.as_ref()) {
            Some(shards) => shards.heard_ms(),
            None => self.link.gate.heard_ms(),
        }
    }

    /// Sent through the publisher, so that the probe tests both directions. Nobody waits for the reply: what counts is that it is heard.
    fn probe(&self) {
        let Some(session) = &self.session else { return };
        if let Some(shards) = &session.connections.shards {
            shards.probe();
            return;
        }
        let mut publisher = session.connections.publisher.clone();
        let mut probe = redis::cmd(self.link.config.adapter.publish_command());
        probe.arg(self.link.gate.probe_channel()).arg("");
        tokio::spawn(async move {
            // Ends within the reply deadline; a failure shows as a probe that is not heard.
            let _ = publisher.send_packed_command(&probe).await;
        });
    }

    /// Makes the state and the connections visible, in the order that lets nobody use what is gone or miss what is there.
    fn show(&mut self) {
        let (state, was) = (self.machine.state(), *self.link.state.borrow());
        if !self.machine.is_listening() {
            self.session = None;
            self.link.end_turns();
        }
        let connections = self
            .session
            .as_ref()
            .map(|session| session.connections.clone());
        let generation = connections
            .as_ref()
            .map(|connections| connections.generation);
        self.link.connections.send_if_modified(|current| {
            let changed = current.as_ref().map(|current| current.generation) != generation;
            if changed {
                *current = connections;
            }
            changed
        });
        if state == was || self.link.is_closed() {
            return;
        }
        self.link.state.send_replace(state);
        self.log(state, was);
        if state == LinkState::Subscribed {
            if self.was_subscribed {
                self.link
                    .counters
                    .reconnects
                    .fetch_add(1, Ordering::Relaxed);
            }
            self.was_subscribed = true;
        }
        self.link.gate.tell(state);
    }

    fn log(&self, state: LinkState, was: LinkState) {
        let redis = self.link.config.redacted_url();
        let (state, was) = (state.as_str(), was.as_str());
        if self.machine.is_listening() {
            tracing::info!(redis, state, was, "redis link is up");
        } else {
            let error = self.link.last_error();
            tracing::warn!(
                redis,
                state,
                was,
                error,
                "redis link is not up, local delivery goes on"
            );
        }
    }
}

/// Connects, and confirms every wanted subscription.
async fn open(link: &Arc<Link>, route: &mut Route, generation: u64) -> Result<Session, Failure> {
    let opening = timeout(route.deadline(), Session::open(link, route, generation));
    let opened = opening.await;
    let mut session = opened.map_err(|_| Failure::late("no answer in time"))??;
    session.follow(link, link.whole_turn()).await?;
    Ok(session)
}

async fn closed(link: &Link) {
    while !link.is_closed() {
        link.signals.wake.notified().await;
    }
}
