//! A pod's end of the bus, as `unisono-redis` has it: the true state machine, with its connections, its buffer and its one batch in flight.

use std::collections::VecDeque;

use unisono_cluster::{Adapter, LinkState, Subscription};

use crate::limits::{ATTEMPT_DEADLINE, PUBLISH_MAX_AGE, REPLY_DEADLINE};
use crate::machine::{Machine, Step};

use super::agenda::Event;
use super::bus::{Down, Publication, Up};
use super::sabotage::Sabotage;
use super::world::World;

/// Messages that wait, few enough to be met: the true bound is a setting.
const BUFFER_MESSAGES: usize = 12;

#[derive(Debug)]
pub(super) struct Link {
    machine: Machine,
    pub(super) connection: Option<usize>,
    attempt_ends_ms: Option<u64>,
    heard_ms: u64,
    buffer: VecDeque<(u64, Publication)>,
    /// Since when a batch awaits its confirmation.
    sent_ms: Option<u64>,
    /// The moment for which it is in the agenda.
    wakes_ms: Option<u64>,
    was: LinkState,
}

impl Link {
    pub(super) fn new(now_ms: u64, seed: u64) -> Self {
        Self {
            machine: Machine::new(now_ms, fastrand::Rng::with_seed(seed)),
            connection: None,
            attempt_ends_ms: None,
            heard_ms: now_ms,
            buffer: VecDeque::new(),
            sent_ms: None,
            wakes_ms: None,
            was: LinkState::Connecting,
        }
    }

    pub(super) fn state(&self) -> LinkState {
        self.machine.state()
    }

    pub(super) fn is_listening(&self) -> bool {
        self.machine.is_listening()
    }

    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn expire(&mut self, now_ms: u64) {
        let max_age_ms = PUBLISH_MAX_AGE.as_millis() as u64;
        while let Some((queued_ms, _)) = self.buffer.front()
            && now_ms - queued_ms > max_age_ms
        {
            self.buffer.pop_front();
        }
    }

    /// A batch that is not confirmed in time is given up. True when the connection is taken for lost with it.
    fn give_up_batch(&mut self, now_ms: u64) -> bool {
        match self.sent_ms {
            Some(sent_ms) if now_ms >= sent_ms + REPLY_DEADLINE.as_millis() as u64 => {
                self.sent_ms = None;
                self.heard_ms <= sent_ms
            }
            _ => false,
        }
    }

    fn wakes_for(&self, step_ms: u64) -> u64 {
        let reply_ms = self
            .sent_ms
            .map(|sent| sent + REPLY_DEADLINE.as_millis() as u64);
        [reply_ms, self.attempt_ends_ms]
            .into_iter()
            .flatten()
            .fold(step_ms, u64::min)
    }
}

impl World {
    /// False when the buffer is full.
    pub(super) fn send(&mut self, pod: usize, publication: Publication) -> bool {
        let now_ms = self.now_ms;
        let link = &mut self.pods[pod].link;
        link.expire(now_ms);
        if link.buffer.len() >= BUFFER_MESSAGES {
            return false;
        }
        link.buffer.push_back((now_ms, publication));
        self.turn(pod);
        true
    }

    pub(super) fn suspect(&mut self, pod: usize) {
        let now_ms = self.now_ms;
        self.pods[pod].link.machine.suspect(now_ms);
        self.turn(pod);
    }

    pub(super) fn link_wakes(&mut self, pod: usize) {
        if self.pods[pod].link.wakes_ms == Some(self.now_ms) && self.pods[pod].is_alive {
            self.pods[pod].link.wakes_ms = None;
            self.turn(pod);
        }
    }

    pub(super) fn broken(&mut self, index: usize) {
        let (pod, now_ms) = (self.bus.connections[index].pod, self.now_ms);
        let link = &mut self.pods[pod].link;
        if link.connection == Some(index) {
            if link.attempt_ends_ms.take().is_some() {
                link.machine.attempt_failed(now_ms);
            } else {
                link.machine.lost(now_ms);
            }
            self.turn(pod);
        }
    }

    pub(super) fn at_pod(&mut self, index: usize, frame: Down) {
        let connection = &self.bus.connections[index];
        let (pod, now_ms) = (connection.pod, self.now_ms);
        // A connection that was given up says nothing any more.
        if !connection.carries_down || self.pods[pod].link.connection != Some(index) {
            return;
        }
        let link = &mut self.pods[pod].link;
        match frame {
            Down::Refused => return self.broken(index),
            Down::Confirmed => {
                if link.attempt_ends_ms.take().is_some() {
                    link.machine.attempt_succeeded(now_ms);
                }
            }
            Down::Published => {
                link.sent_ms = None;
                if self.sabotage == Some(Sabotage::LinkGivesUp) && self.random.u8(..) < 16 {
                    link.machine.lost(now_ms);
                }
            }
            Down::Probe => link.heard_ms = now_ms,
            Down::Message(publication) => {
                link.heard_ms = now_ms;
                self.hear(pod, &publication);
            }
            Down::Committed { seq, revision } => self.committed(pod, seq, revision),
            Down::Counted { id, pods } => self.counted(pod, &id, &pods),
        }
        self.turn(pod);
    }

    /// Takes in what happened, does what the machine says, shows the outcome, sends what can be sent.
    pub(super) fn turn(&mut self, pod: usize) {
        let now_ms = self.now_ms;
        self.leave_rooms(pod);
        let link = &mut self.pods[pod].link;
        link.expire(now_ms);
        if link.give_up_batch(now_ms) {
            link.machine.lost(now_ms);
        }
        if link
            .attempt_ends_ms
            .is_some_and(|ends_ms| now_ms >= ends_ms)
        {
            link.attempt_ends_ms = None;
            link.machine.attempt_failed(now_ms);
        }
        let until_ms = loop {
            let link = &mut self.pods[pod].link;
            if !link.is_listening() && link.attempt_ends_ms.is_none() {
                self.hang_up(pod);
            }
            let link = &mut self.pods[pod].link;
            if let Some(ends_ms) = link.attempt_ends_ms {
                break ends_ms;
            }
            match link.machine.poll(now_ms, link.heard_ms) {
                Step::Attempt => self.attempt(pod),
                Step::Probe if self.sabotage == Some(Sabotage::LinkNeverProbes) => {
                    link.heard_ms = now_ms;
                }
                Step::Probe => {
                    let connection = link.connection;
                    connection
                        .into_iter()
                        .for_each(|index| self.send_up(index, Up::Probe));
                }
                Step::WaitUntil(until_ms) if until_ms > now_ms => break until_ms,
                Step::WaitUntil(_) => {}
            }
        };
        self.send_batch(pod);
        self.show(pod);
        let link = &mut self.pods[pod].link;
        let wakes_ms = link.wakes_for(until_ms);
        let sleeps = self.sabotage == Some(Sabotage::LinkSleeps);
        let link = &mut self.pods[pod].link;
        if link.wakes_ms != Some(wakes_ms) && !(sleeps && link.was == LinkState::Deaf) {
            link.wakes_ms = Some(wakes_ms);
            self.agenda.enter(wakes_ms, Event::LinkWakes { pod });
        }
    }

    fn attempt(&mut self, pod: usize) {
        self.hang_up(pod);
        let index = self.connect(pod);
        let mut subscriptions = self.pods[pod].node.subscriptions();
        if self.sabotage != Some(Sabotage::ForgetRooms) {
            subscriptions.extend(self.pods[pod].following.subscriptions());
        }
        if self.sabotage == Some(Sabotage::ForgetSubscription) && self.bus.connections.len() > 9 {
            let main = Subscription::Channel(self.pods[pod].node.request_channel());
            subscriptions.retain(|one| match self.adapter {
                Adapter::Classic => matches!(one, Subscription::Channel(_)),
                Adapter::Sharded(_) => *one != main,
            });
        }
        for subscription in subscriptions {
            self.send_up(index, Up::Subscribe(subscription));
        }
        self.send_up(index, Up::Confirm);
        let link = &mut self.pods[pod].link;
        link.connection = Some(index);
        link.attempt_ends_ms = Some(self.now_ms + ATTEMPT_DEADLINE.as_millis() as u64);
    }

    /// Lets go of the connections and of what is on them.
    pub(super) fn hang_up(&mut self, pod: usize) {
        let link = &mut self.pods[pod].link;
        link.sent_ms = None;
        if let Some(index) = link.connection.take() {
            self.send_up(index, Up::Close);
        }
    }

    fn send_batch(&mut self, pod: usize) {
        let link = &mut self.pods[pod].link;
        let Some(index) = link.connection.filter(|_| link.machine.is_listening()) else {
            return;
        };
        if link.sent_ms.is_some() || link.buffer.is_empty() {
            return;
        }
        link.sent_ms = Some(self.now_ms);
        let batch = link.buffer.drain(..).map(|(_, publication)| publication);
        let batch = Up::Publish(batch.collect());
        self.send_up(index, batch);
    }

    fn show(&mut self, pod: usize) {
        let state = self.pods[pod].link.state();
        if std::mem::replace(&mut self.pods[pod].link.was, state) != state {
            self.record.link_changed(pod, self.now_ms, state);
        }
        self.look_for_calm(pod);
    }
}
