//! One event for many, and the answers of all.

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use unisono_cluster::Broadcast as Message;
use unisono_proto::Value;

use crate::ack::Asker;
use crate::error::EmitError;
use crate::outgoing::{Kind, Outgoing};
use crate::requests::Nodes;
use crate::slow::Spare;
use crate::socket::SocketId;
use crate::space::SpaceInner;
use crate::stats::{Counters, Refusal};

/// Bytes of answers to one broadcast, on the wire or in memory, whichever is more, that are kept until all have answered; an answer beyond counts as missing. Answers say little: ten
/// thousand of 6 KiB each fit, and those who answer with a megabyte do not fill the memory.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Who has answered a broadcast, and who has not.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct BroadcastAcks {
    /// Ids of this node's sockets and what they answered, in the order of arrival.
    pub answers: Vec<(String, Vec<Value>)>,
    /// Ids of this node's sockets that did not answer in time, left before they did, or could not be asked: their queue or the number of
    /// answers they owe was at its bound.
    pub missing: Vec<String>,
    /// What clients of other nodes answered, in the order of arrival: the first argument of each, null if there was none. Whose it is does
    /// not travel.
    pub remote: Vec<Value>,
    /// How many clients of other nodes were asked and did not answer.
    pub remote_missing: usize,
    /// The other nodes. Of one that is missing, nobody knows how many clients it has asked.
    pub nodes: Nodes,
}

impl BroadcastAcks {
    /// How many have answered, on all nodes.
    pub fn len(&self) -> usize {
        self.answers.len() + self.remote.len()
    }

    /// Whether nobody has answered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first argument of each answer, of all nodes; null for an answer without arguments.
    pub fn first_arguments(&self) -> impl Iterator<Item = &Value> {
        let local = self.answers.iter();
        let local = local.map(|(_, args)| args.first().unwrap_or(&Value::Null));
        local.chain(&self.remote)
    }

    /// Whether everybody has answered who was asked, as far as is known.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.remote_missing == 0 && self.nodes.have_all_answered()
    }
}

/// Takes answers as they come, instead of keeping them.
pub(crate) struct Sink(Box<dyn Fn(Vec<Value>) + Send + Sync>);

impl Sink {
    pub(crate) fn new(take: impl Fn(Vec<Value>) + Send + Sync + 'static) -> Self {
        Self(Box::new(take))
    }
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sink")
    }
}

/// Where the answers are collected.
#[derive(Debug)]
pub(crate) struct Collector {
    /// A std mutex: held to add one answer, never across an await.
    collected: Mutex<Collected>,
    sink: Option<Sink>,
    done: Notify,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Collected {
    answers: Vec<(SocketId, Vec<Value>)>,
    bytes: usize,
    /// Sockets that may still answer.
    open: usize,
}

/// One socket's place among those who are asked.
#[derive(Debug)]
pub(crate) struct Share {
    collector: Arc<Collector>,
    sid: SocketId,
}

impl Collector {
    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.collected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn share(self: &Arc<Self>, sid: SocketId) -> Share {
        self.lock().open += 1;
        self.counters.acks_pending.fetch_add(1, Relaxed);
        Share {
            collector: self.clone(),
            sid,
        }
    }

    async fn all_answered(&self) {
        while self.lock().open > 0 {
            self.done.notified().await;
        }
    }
}

impl Share {
    /// The socket has answered with so many bytes.
    pub(crate) fn answer(self, args: Vec<Value>, bytes: usize) {
        if let Some(sink) = &self.collector.sink {
            (sink.0)(args);
            return;
        }
        let mut collected = self.collector.lock();
        if collected.bytes + bytes > MAX_ANSWER_BYTES {
            drop(collected);
            self.collector.counters.refuse(Refusal::TooLarge);
            return;
        }
        collected.bytes += bytes;
        collected.answers.push((self.sid.clone(), args));
    }
}

impl Drop for Share {
    /// Answered, gone, or no longer waited for.
    fn drop(&mut self) {
        let mut collected = self.collector.lock();
        collected.open -= 1;
        if collected.open == 0 {
            self.collector.done.notify_one();
        }
        drop(collected);
        self.collector.counters.acks_pending.fetch_sub(1, Relaxed);
    }
}

/// A broadcast that is out. Dropped, however the wait ends, no socket remembers it.
pub(crate) struct Asked {
    space: Arc<SpaceInner>,
    id: u64,
    sids: Vec<SocketId>,
    collector: Arc<Collector>,
}

impl Asked {
    /// How many are asked.
    pub(crate) fn count(&self) -> usize {
        self.sids.len()
    }

    pub(crate) async fn answers(self, deadline: Instant) -> BroadcastAcks {
        // Late or not: who has answered by then has.
        let _ = timeout_at(deadline, self.collector.all_answered()).await;
        let answers = std::mem::take(&mut self.collector.lock().answers);
        let answered: HashSet<&str> = answers.iter().map(|(sid, _)| sid.as_str()).collect();
        let missing = self.sids.iter().map(SocketId::as_str);
        let missing = missing.filter(|sid| !answered.contains(sid));
        BroadcastAcks {
            missing: missing.map(str::to_owned).collect(),
            answers: answers
                .into_iter()
                .map(|(sid, args)| (sid.as_str().to_owned(), args))
                .collect(),
            ..BroadcastAcks::default()
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let rooms = self.space.rooms();
        for sid in &self.sids {
            // One that has gone remembers nothing.
            if let Some(resident) = rooms.by_id(sid.as_str()) {
                resident.socket.acks.forget(self.id);
            }
        }
    }
}

/// An event that wants answers, encoded once under an id that no other event of its namespace has.
pub(crate) struct Question {
    id: u64,
    outgoing: Arc<Outgoing>,
}

impl SpaceInner {
    /// Sends an event to the members here, and waits for answers. With a sink they go there.
    pub(crate) fn ask(
        self: &Arc<Self>,
        message: &Message,
        sink: Option<Sink>,
    ) -> Result<Asked, EmitError> {
        let question = self.question(message)?;
        Ok(self.put(&question, message, sink))
    }

    pub(crate) fn question(&self, message: &Message) -> Result<Question, EmitError> {
        let id = self.next_ack();
        let kind = match message.flags.volatile {
            true => Kind::Volatile,
            false => Kind::Reliable,
        };
        let outgoing = Outgoing::event(&self.name, Some(id), &message.args, kind, Spare::No)?;
        Ok(Question { id, outgoing })
    }

    /// Puts a question to whom the message is for.
    pub(crate) fn put(
        self: &Arc<Self>,
        question: &Question,
        message: &Message,
        sink: Option<Sink>,
    ) -> Asked {
        let Question { id, outgoing } = question;
        let collector = Arc::new(Collector {
            collected: Mutex::default(),
            sink,
            done: Notify::new(),
            counters: self.counters.clone(),
        });
        let (mut sids, mut sent) = (Vec::new(), 0);
        self.rooms()
            .select(&message.rooms, &message.except, |resident| {
                let acks = &resident.socket.acks;
                let sid = resident.socket.id.clone();
                sids.push(sid.clone());
                let asker = Asker::Many(collector.share(sid));
                if acks.expect(*id, asker).is_err() {
                    return;
                }
                if resident.conn.push(outgoing.clone()) {
                    sent += 1;
                } else {
                    acks.forget(*id);
                }
            });
        self.counters.events_sent.fetch_add(sent, Relaxed);
        Asked {
            space: self.clone(),
            id: *id,
            sids,
            collector,
        }
    }
}
