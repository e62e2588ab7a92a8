//! The bus: one total order of messages, connections that keep the order of what they carry, and a store whose commits publish.
//!
//! Nothing here decides anything that a node decides. What the contract of [`unisono_cluster::broker`] promises is true by construction,
//! what it leaves open (how long it takes, what a fault swallows) is drawn from the seed.

use std::sync::Arc;

use bytes::Bytes;
use unisono_cluster::{Subscription, Template};

use super::agenda::Event;
use super::record::Tag;
use super::sabotage::Sabotage;
use super::world::World;

/// Longest way of a frame over a sound connection.
const MAX_DELAY_MS: u64 = 20;

/// How many messages a stranger remembers who repeats one.
const MEMORY: usize = 8;

#[derive(Debug)]
pub(super) struct Bus {
    pub(super) connections: Vec<Connection>,
    /// Accepts connections.
    pub(super) is_up: bool,
    /// Takes in, but does nothing.
    pub(super) hangs: bool,
    backlog: Vec<(usize, Up)>,
    /// Messages published so far: the number of each is its place in the total order.
    order: u64,
    revision: u32,
    recent: Vec<Publication>,
}

/// One generation of a pod's connections, two lanes that keep their order each.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) pod: usize,
    /// Something of it still gets to the bus.
    pub(super) carries_up: bool,
    /// Something of it still gets to the pod.
    pub(super) carries_down: bool,
    /// What the bus sends on it: empty for one that the bus knows is closed.
    pub(super) subscriptions: Vec<Subscription>,
    /// The channel of its probes is among what it has subscribed to.
    pub(super) hears_probes: bool,
    /// The bus has forgotten what it subscribed to, and does not listen to what it says of that.
    pub(super) is_forgotten: bool,
    last_up_ms: [u64; 2],
    last_down_ms: [u64; 2],
}

/// Messages and publications go on one lane, commands on the other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lane {
    Messages,
    Commands,
}

/// A message with what the simulation knows of it.
#[derive(Clone, Debug)]
pub(super) struct Publication {
    pub(super) channel: Arc<str>,
    pub(super) payload: Bytes,
    pub(super) tag: Tag,
}

/// What a pod sends.
#[derive(Debug)]
pub(super) enum Up {
    Subscribe(Subscription),
    Unsubscribe(Subscription),
    /// Everything before it is to be confirmed.
    Confirm,
    Publish(Vec<Publication>),
    Probe,
    Commit(Template, Tag),
    Count {
        channel: String,
        id: String,
    },
    Close,
}

/// What the bus sends.
#[derive(Debug)]
pub(super) enum Down {
    Refused,
    Confirmed,
    Published,
    Probe,
    Message(Publication),
    Committed {
        seq: u64,
        revision: u32,
    },
    /// Whose connections are subscribed.
    Counted {
        id: String,
        pods: Vec<usize>,
    },
}

impl Up {
    fn lane(&self) -> Lane {
        match self {
            Self::Commit(..) | Self::Count { .. } => Lane::Commands,
            _ => Lane::Messages,
        }
    }
}

impl Down {
    fn lane(&self) -> Lane {
        match self {
            Self::Committed { .. } | Self::Counted { .. } => Lane::Commands,
            _ => Lane::Messages,
        }
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            connections: Vec::new(),
            is_up: true,
            hangs: false,
            backlog: Vec::new(),
            order: 0,
            revision: 0,
            recent: Vec::new(),
        }
    }
}

impl Connection {
    /// Nothing has happened to it.
    pub(super) fn is_sound(&self) -> bool {
        self.carries_up && self.carries_down && self.hears_probes && !self.subscriptions.is_empty()
    }

    fn matching(&self, channel: &str) -> usize {
        let matching = self.subscriptions.iter().filter(|one| match one {
            Subscription::Channel(name) => name == channel,
            // The patterns of a namespace end with the only star in them.
            Subscription::Pattern(pattern) => channel.starts_with(pattern.trim_end_matches('*')),
        });
        matching.count()
    }
}

impl World {
    pub(super) fn connect(&mut self, pod: usize) -> usize {
        self.bus.connections.push(Connection {
            pod,
            carries_up: !self.is_mute(pod),
            carries_down: !self.is_cut_off(pod),
            subscriptions: Vec::new(),
            hears_probes: false,
            is_forgotten: false,
            last_up_ms: [0; 2],
            last_down_ms: [0; 2],
        });
        self.bus.connections.len() - 1
    }

    pub(super) fn send_up(&mut self, index: usize, frame: Up) {
        let lane = frame.lane() as usize;
        let delay_ms = self.delay_ms(index);
        let connection = &mut self.bus.connections[index];
        let at_ms = (self.now_ms + delay_ms).max(connection.last_up_ms[lane]);
        connection.last_up_ms[lane] = at_ms;
        self.agenda
            .enter(at_ms, Event::AtBus(index, Box::new(frame)));
    }

    fn send_down(&mut self, index: usize, frame: Down) {
        let lane = frame.lane() as usize;
        let delay_ms = self.delay_ms(index);
        let connection = &mut self.bus.connections[index];
        let earliest_ms = match (self.sabotage, &frame) {
            (Some(Sabotage::MessagesOvertake), Down::Message(_)) => 0,
            _ => connection.last_down_ms[lane],
        };
        let at_ms = (self.now_ms + delay_ms).max(earliest_ms);
        connection.last_down_ms[lane] = at_ms;
        self.agenda
            .enter(at_ms, Event::AtPod(index, Box::new(frame)));
    }

    fn delay_ms(&mut self, index: usize) -> u64 {
        let pod = self.bus.connections[index].pod;
        let slow_ms = self.pods[pod].slow_ms;
        self.random.u64(1..=MAX_DELAY_MS) + self.random.u64(0..=slow_ms)
    }

    pub(super) fn at_bus(&mut self, index: usize, frame: Up) {
        if !self.bus.connections[index].carries_up {
            return;
        }
        if self.bus.hangs {
            self.bus.backlog.push((index, frame));
            return;
        }
        if !self.bus.is_up {
            // Whoever was connected has been cut off.
            return self.send_down(index, Down::Refused);
        }
        match frame {
            Up::Subscribe(_) if self.bus.connections[index].is_forgotten => {}
            Up::Subscribe(subscription) => {
                self.bus.connections[index].subscriptions.push(subscription);
            }
            Up::Unsubscribe(subscription) => {
                let subscriptions = &mut self.bus.connections[index].subscriptions;
                subscriptions.retain(|one| *one != subscription);
            }
            Up::Confirm => {
                self.bus.connections[index].hears_probes = true;
                self.send_down(index, Down::Confirmed);
            }
            Up::Publish(batch) => {
                for publication in batch {
                    self.publish(publication);
                }
                self.send_down(index, Down::Published);
            }
            Up::Probe if !self.bus.connections[index].hears_probes => {}
            Up::Probe => self.send_down(index, Down::Probe),
            Up::Commit(template, tag) => self.commit(index, &template, tag),
            Up::Count { channel, id } => {
                let wanted = Subscription::Channel(channel);
                let counted = self.bus.connections.iter();
                let counted = counted.filter(|one| one.subscriptions.contains(&wanted));
                let pods = counted.map(|one| one.pod).collect();
                self.send_down(index, Down::Counted { id, pods });
            }
            Up::Close => self.bus.connections[index].subscriptions.clear(),
        }
    }

    /// What came while the bus hung.
    pub(super) fn wake_bus(&mut self) {
        self.bus.hangs = false;
        for (index, frame) in std::mem::take(&mut self.bus.backlog) {
            self.at_bus(index, frame);
        }
    }

    /// Checks, writes, counts and publishes in one step.
    fn commit(&mut self, index: usize, template: &Template, tag: Tag) {
        self.bus.revision += 1;
        let revision = self.bus.revision;
        let said = match self.sabotage {
            Some(Sabotage::WrongRevision) if self.random.u8(..) < 16 => revision - 1,
            _ => revision,
        };
        self.record.committed(tag, revision);
        self.publish(Publication {
            channel: Arc::from(template.channel.as_str()),
            payload: template.fill(said),
            tag,
        });
        let seq = template.seq;
        self.send_down(index, Down::Committed { seq, revision });
    }

    /// Gives a message its place in the total order and sends it to everybody who is subscribed.
    fn publish(&mut self, publication: Publication) {
        self.bus.order += 1;
        self.record.published(publication.tag, self.bus.order);
        for index in 0..self.bus.connections.len() {
            let mut times = self.bus.connections[index].matching(&publication.channel);
            match self.sabotage {
                Some(Sabotage::LoseSome) if self.random.u8(..) < 8 => times = 0,
                Some(Sabotage::AnswersComeTwice) if matches!(publication.tag, Tag::Ask(_)) => {
                    times *= 2;
                }
                _ => {}
            }
            for _ in 0..times {
                self.send_down(index, Down::Message(publication.clone()));
            }
        }
        self.bus.recent.insert(0, publication);
        self.bus.recent.truncate(MEMORY);
    }

    /// Somebody publishes a message once more.
    pub(super) fn repeat_message(&mut self, choice: usize) {
        let count = self.bus.recent.len();
        if count > 0 && self.bus.is_up {
            let publication = self.bus.recent[choice % count].clone();
            self.record.repeated(publication.tag);
            self.publish(publication);
        }
    }

    /// Somebody publishes bytes that are no message.
    pub(super) fn publish_garbage(&mut self, choice: usize) {
        let channels = ["#/#", "#/#red#", "-request#/#", "-response#/#"];
        let channel = format!("socket.io{}", channels[choice % channels.len()]);
        // Cut off, a true message is the most likely to be taken for one.
        let payload = match self.bus.recent.get(choice % MEMORY) {
            Some(one) => one.payload.slice(..choice % one.payload.len().max(1)),
            None => Bytes::from_static(b"\x93"),
        };
        if self.bus.is_up {
            self.publish(Publication {
                channel: channel.into(),
                payload,
                tag: Tag::Foreign,
            });
        }
    }
}
