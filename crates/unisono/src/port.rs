//! A namespace's way to the other nodes.

mod asking;
mod others;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;
use unisono_cluster::{
    Adapter, Answered, Answering, Awaited, Broadcast, EncodeError, Expired, Extension, LinkState,
    Node, NodeStats, Received, Template,
};

use crate::bus::Bus;
use crate::stats::Counters;
use crate::turnstile::Turnstile;

pub(crate) use asking::{Pending, deadline_after};
use others::Recount;

/// The node's conversation and the broker that carries it.
pub(crate) struct Port {
    pub(crate) bus: Arc<Bus>,
    pub(crate) answering: Answering,
    /// A std mutex: held to classify or number one message, never across an await or a publish.
    talk: Mutex<Talk>,
    /// Messages in the order of their numbers, on their way to the broker. A broker may deliver within `publish`, so no lock may be
    /// held there; the turnstile keeps the order instead.
    outbox: Turnstile<Outbound>,
    /// The name of its messages.
    pub(crate) uid: String,
    /// The number of the last message that was handed to the broker.
    handed_over: AtomicU64,
    is_recounting: AtomicBool,
}

struct Talk {
    node: Node,
    /// When our pending ordered messages were published, to measure how long they took.
    published: HashMap<u64, Instant>,
    /// Who waits for the answers to our requests.
    waiting: HashMap<String, oneshot::Sender<Answered>>,
    /// When to count again who listens, while answers are awaited.
    recount: Option<Recount>,
}

impl Talk {
    /// Whether a count at once may end a request.
    fn hasten_recount(&mut self, now_ms: u64) -> bool {
        let wanted = self.node.take_wants_recount();
        if let Some(recount) = self.recount.as_mut().filter(|_| wanted) {
            recount.hasten(now_ms);
        }
        wanted
    }

    fn resolve(&mut self, answered: Answered) {
        if let Some(sender) = self.waiting.remove(&answered.id) {
            // Nobody waits any more: nothing to tell.
            let _ = sender.send(answered);
        }
    }
}

struct Outbound {
    /// 0 for what has no number.
    seq: u64,
    channel: String,
    payload: Bytes,
    awaits: Awaits,
}

/// What is to come back of a message.
enum Awaits {
    Nothing,
    /// An ordered message itself: its number and its content.
    Echo(u64, Broadcast),
    /// The answers to a request of this id.
    Answers(String),
}

/// A message that the broker does not take.
pub(crate) struct Refused {
    /// To be delivered on this node, which waits for it in vain.
    pub(crate) ordered: Option<Broadcast>,
}

impl Port {
    pub(crate) fn new(bus: Arc<Bus>, node: Node) -> Self {
        let answering = node.answering(bus.requests.private_answers);
        let uid = node.uid().to_owned();
        let talk = Mutex::new(Talk {
            node,
            published: HashMap::new(),
            waiting: HashMap::new(),
            recount: None,
        });
        Self {
            bus,
            answering,
            talk,
            outbox: Turnstile::default(),
            uid,
            handed_over: AtomicU64::new(0),
            is_recounting: AtomicBool::new(false),
        }
    }

    fn talk(&self) -> MutexGuard<'_, Talk> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        self.bus.now_ms()
    }

    pub(crate) fn is_sharded(&self) -> bool {
        matches!(self.bus.broker.adapter(), Adapter::Sharded(_))
    }

    pub(crate) fn state(&self) -> LinkState {
        self.bus.broker.state()
    }

    pub(crate) fn node_stats(&self) -> NodeStats {
        self.talk().node.stats()
    }

    /// Publishes a broadcast that this node delivers by itself.
    pub(crate) fn publish(
        &self,
        broadcast: &mut Broadcast,
        refused: impl Fn(Refused),
    ) -> Result<(), EncodeError> {
        let mut talk = self.talk();
        let (channel, payload) = talk.node.number(broadcast, self.now_ms())?;
        self.send(
            talk,
            Outbound {
                seq: broadcast.extension.as_ref().map_or(0, |e| e.seq),
                channel,
                payload,
                awaits: Awaits::Nothing,
            },
            refused,
        );
        Ok(())
    }

    /// Publishes an ordered broadcast, to be delivered when it comes back.
    pub(crate) fn publish_ordered(
        &self,
        mut broadcast: Broadcast,
        refused: impl Fn(Refused),
    ) -> Result<(), EncodeError> {
        let mut talk = self.talk();
        broadcast.extension.get_or_insert_default().ordered = true;
        let (channel, payload) = talk.node.number(&mut broadcast, self.now_ms())?;
        let seq = broadcast.extension.as_ref().map_or(0, |e| e.seq);
        let awaited = Awaited::Broadcast(broadcast.clone());
        if talk.node.expect_echo(seq, awaited, self.now_ms()).is_err() {
            // The link is so slow that its echoes pile up: order among nodes is lost anyway, local members come first.
            self.send(
                talk,
                Outbound {
                    seq,
                    channel,
                    payload,
                    awaits: Awaits::Nothing,
                },
                &refused,
            );
            refused(Refused {
                ordered: Some(broadcast),
            });
            return Ok(());
        }
        talk.published.insert(seq, Instant::now());
        self.send(
            talk,
            Outbound {
                seq,
                channel,
                payload,
                awaits: Awaits::Echo(seq, broadcast),
            },
            refused,
        );
        Ok(())
    }

    /// Puts the message in line while its number is still the last, then lets go and publishes. Whoever is inside publishes the messages
    /// of all, so each message carries what is to be done should the broker refuse it.
    fn send(&self, talk: MutexGuard<'_, Talk>, outbound: Outbound, refused: impl Fn(Refused)) {
        let mut guard = Some(talk);
        let left = self.outbox.submit_under(
            outbound,
            || drop(guard.take()),
            |message| {
                let broker = &self.bus.broker;
                let published = broker.publish(&message.channel, message.payload);
                // Refused or not: nothing with this number comes any more.
                self.handed_over.fetch_max(message.seq, Relaxed);
                if published.is_err() {
                    refused(self.undo(message.awaits));
                }
            },
        );
        if let Err(message) = left {
            refused(self.undo(message.awaits));
        }
    }

    /// What was to come back of a message that the broker does not take will not come.
    fn undo(&self, awaits: Awaits) -> Refused {
        let ordered = match awaits {
            Awaits::Echo(seq, broadcast) => self.cancel(seq).then_some(broadcast),
            Awaits::Answers(id) => {
                // Whoever waits finds nobody who could answer.
                self.give_up(&id);
                None
            }
            Awaits::Nothing => None,
        };
        Refused { ordered }
    }

    /// A number and an encoding for a commit script.
    pub(crate) fn template(
        &self,
        broadcast: &mut Broadcast,
        revision_key: &str,
    ) -> Result<Template, EncodeError> {
        let mut talk = self.talk();
        let seq = talk.node.next_commit_seq();
        broadcast.extension = Some(Extension {
            seq,
            ordered: true,
            ..broadcast.extension.take().unwrap_or_default()
        });
        talk.node.encode_template(broadcast, revision_key)
    }

    pub(crate) fn expect(&self, template: Template) -> bool {
        let mut talk = self.talk();
        let seq = template.seq;
        let expected = talk
            .node
            .expect_echo(seq, Awaited::Template(template), self.now_ms())
            .is_ok();
        if expected {
            talk.published.insert(seq, Instant::now());
        }
        expected
    }

    pub(crate) fn set_revision(&self, seq: u64, revision: u32) {
        self.talk().node.set_revision(seq, revision);
    }

    pub(crate) fn cancel(&self, seq: u64) -> bool {
        let mut talk = self.talk();
        talk.published.remove(&seq);
        talk.node.cancel_echo(seq)
    }

    pub(crate) fn publish_bytes(&self, channel: &str, payload: Bytes) -> bool {
        self.bus.broker.publish(channel, payload).is_ok()
    }

    /// What a message from the bus is to this node; `true` beside it if it is our own that came back, or an answer upon which to count
    /// again.
    pub(crate) fn receive(
        &self,
        channel: &str,
        payload: &[u8],
        has_room: &dyn Fn(&str) -> bool,
        counters: &Counters,
    ) -> (Received, bool) {
        let mut talk = self.talk();
        let now_ms = self.now_ms();
        let received = talk.node.handle_message(channel, payload, has_room, now_ms);
        let gaps = talk.node.take_gaps();
        if !gaps.is_empty() {
            let nsp = talk.node.nsp().to_owned();
            drop(talk);
            // Before what comes behind them.
            self.tell_gaps(&nsp, gaps);
            talk = self.talk();
        }
        let broadcast = match received {
            Received::Echo(broadcast) => broadcast,
            Received::Answered(answered) => {
                talk.resolve(*answered);
                return (Received::Answer, false);
            }
            Received::Answer => {
                let wanted = talk.hasten_recount(now_ms);
                return (Received::Answer, wanted);
            }
            other => return (other, false),
        };
        let seq = broadcast.extension.as_ref().map_or(0, |e| e.seq);
        if let Some(published) = talk.published.remove(&seq) {
            counters
                .lag
                .observe_us(published.elapsed().as_micros() as u64);
        }
        (Received::Deliver(broadcast), true)
    }

    /// Ordered messages whose echo is overdue; the link is told that it may be deaf.
    pub(crate) fn overdue(&self) -> Vec<Expired> {
        let mut talk = self.talk();
        let now_ms = self.now_ms();
        let expired = talk.node.handle_timeout(now_ms);
        for one in &expired {
            talk.published.remove(&one.seq);
        }
        drop(talk);
        if !expired.is_empty() {
            self.bus.broker.suspect();
        }
        expired
    }
}
