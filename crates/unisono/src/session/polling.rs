//! The long-polling side of a session: GETs carry the queue out, POSTs bring packets in, and a WebSocket may take over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::oneshot;
use unisono_proto::engine::{self, PayloadDecoder, PayloadEncoding};

use super::writing::NEVER;
use super::{Phase, Session, Wire};
use crate::conn::{Mailbox, Post};
use crate::dialect::Dialect;
use crate::outgoing::Outgoing;

/// Packets of a POST in one step of the session: a body may hold sixteen thousand.
const MAX_RECORDS: usize = 256;

/// Packets in one answer to a GET. The Python client takes more than sixteen (`max_decode_packets` of python-engineio) for an attack
/// and drops the connection, and what was in the payload with it.
const MAX_PACKETS_PER_POLL: usize = 16;

/// A client with more messages waiting than these gets them all at once: sixteen for each round trip would not save it from being
/// closed as slow.
const FAR_BEHIND: usize = 256;

/// A POST that is being worked off.
#[derive(Debug, Default)]
pub(crate) struct Polling {
    post: Option<PostAtWork>,
}

#[derive(Debug)]
struct PostAtWork {
    body: bytes::Bytes,
    /// Where in it the next packet is.
    decoder: PayloadDecoder,
    reply: oneshot::Sender<bool>,
}

/// What a GET is answered with.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) body: Vec<u8>,
    /// Whether it is more than text.
    pub(crate) is_binary: bool,
}

impl Payload {
    /// The queue as one payload.
    pub(crate) fn new<'a>(
        messages: impl Iterator<Item = &'a Arc<Outgoing>> + Clone,
        dialect: Dialect,
    ) -> Self {
        let has_binary = messages.clone().any(|message| message.has_binary());
        let encoding = dialect.answer_encoding(has_binary);
        let mut body = Vec::new();
        for message in messages {
            if encoding == PayloadEncoding::V4 {
                if !body.is_empty() {
                    body.push(engine::SEPARATOR as u8);
                }
                body.extend_from_slice(message.record().as_bytes());
            } else {
                message.push_v3_records(encoding, &mut body);
            }
        }
        Self {
            body,
            is_binary: encoding == PayloadEncoding::V3Binary,
        }
    }

    /// One packet without a message.
    fn control(packet: &engine::Packet<'_>, dialect: Dialect) -> Self {
        Self::new([Outgoing::control(packet)].iter(), dialect)
    }
}

impl Polling {
    pub(super) fn refuse_post(&mut self) {
        if let Some(progress) = self.post.take() {
            // Node says `ok` to a body that it could read, whatever the packets in it lead to.
            let _ = progress.reply.send(true);
        }
    }
}

impl Session {
    /// `true` when there may be more to do at once.
    pub(super) fn poll_polling(&mut self) -> bool {
        // A GET may have come when the session's time was over and the timer had not fired yet: those are some milliseconds late.
        let now = self.server.now_ms();
        if self.machine.next_deadline() <= now {
            self.handle_due(now);
            return true;
        }
        self.answer_poll();
        let Wire::Polling(polling) = &mut self.wire else {
            return false;
        };
        if polling.post.is_none() {
            let mut mail = self.conn.mailbox();
            let post = mail.polling.as_mut().and_then(|p| p.post.take());
            drop(mail);
            if let Some(post) = post {
                let Post {
                    body,
                    encoding,
                    reply,
                } = post;
                let bytes = body.len();
                polling.post = Some(PostAtWork {
                    body,
                    decoder: PayloadDecoder::new(encoding),
                    reply,
                });
                if !self.admit_bytes(bytes) {
                    return true;
                }
            }
        }
        let Wire::Polling(polling) = &mut self.wire else {
            return false;
        };
        if polling.post.is_some() {
            return self.work_off_post();
        }
        self.take_over()
    }

    /// Answers the waiting GET if there is something to say.
    fn answer_poll(&mut self) {
        let mut mail = self.conn.mailbox();
        let mail = &mut *mail;
        let Some(polling) = mail.polling.as_mut() else {
            return;
        };
        if polling.poll.is_none() || (mail.queue.is_empty() && !polling.release) {
            return;
        }
        let Some(poll) = polling.poll.take() else {
            return;
        };
        polling.release = false;
        let dialect = self.conn.dialect;
        let reply = if mail.queue.is_empty() {
            Payload::control(&engine::Packet::Noop, dialect)
        } else {
            drain(mail, dialect)
        };
        // If the client has given up meanwhile, the request's guard ends the session.
        let _ = poll.send(reply);
        // More may wait than one answer carries.
        self.write_deadline = NEVER;
    }

    fn work_off_post(&mut self) -> bool {
        let mut worked = false;
        for _ in 0..MAX_RECORDS {
            let Wire::Polling(polling) = &mut self.wire else {
                return true;
            };
            if self.phase != Phase::Open {
                return true;
            }
            if self.slots.is_full() {
                self.hold_back();
                // The handlers of what came just now have not run yet.
                return worked;
            }
            let Some(progress) = polling.post.as_mut() else {
                return true;
            };
            let body = progress.body.clone();
            let packet = progress.decoder.next(&body);
            self.read_on();
            let Some(packet) = packet else {
                self.answer_post();
                return true;
            };
            worked = true;
            if !self.admit_packet() {
                return true;
            }
            self.handle_decoded(packet);
        }
        true
    }

    fn answer_post(&mut self) {
        let Wire::Polling(polling) = &mut self.wire else {
            return;
        };
        if let Some(progress) = polling.post.take() {
            self.conn.with(|mail| {
                if let Some(polling) = &mut mail.polling {
                    polling.posting = false;
                }
            });
            let _ = progress.reply.send(true);
        }
    }

    /// A WebSocket that has finished its probe takes over: the waiting GET is released, and the queue goes out on the WebSocket.
    pub(super) fn take_over(&mut self) -> bool {
        let mut mail = self.conn.mailbox();
        let Some(candidate) = mail.polling.as_mut().and_then(|p| p.candidate.take()) else {
            return false;
        };
        if let Some(poll) = mail.polling.take().and_then(|p| p.poll) {
            let noop = Payload::control(&engine::Packet::Noop, self.conn.dialect);
            let _ = poll.send(noop);
        }
        drop(mail);
        let counters = &self.server.counters;
        counters.polling.fetch_sub(1, Relaxed);
        counters.websocket.fetch_add(1, Relaxed);
        counters.upgrades.fetch_add(1, Relaxed);
        self.wire = Wire::WebSocket(candidate.socket);
        self.write_deadline = NEVER;
        true
    }
}

/// Takes what one answer may carry as one payload.
fn drain(mail: &mut Mailbox, dialect: Dialect) -> Payload {
    Payload::new(take_for_one_poll(mail).iter(), dialect)
}

/// The same for a session that ends: with `last` behind it, if it has room there and nothing is left. `true` if it is.
pub(super) fn drain_and(
    last: &engine::Packet<'_>,
    mail: &mut Mailbox,
    dialect: Dialect,
) -> (Payload, bool) {
    let mut taken = take_for_one_poll(mail);
    let packets: usize = taken.iter().map(|message| message.packets()).sum();
    let has_room = packets < MAX_PACKETS_PER_POLL || taken.len() > FAR_BEHIND;
    let is_last = has_room && mail.queue.is_empty();
    if is_last {
        taken.push(Outgoing::control(last));
    }
    (Payload::new(taken.iter(), dialect), is_last)
}

fn take_for_one_poll(mail: &mut Mailbox) -> Vec<Arc<Outgoing>> {
    let count = count_for_one_poll(&mail.queue);
    let taken: Vec<_> = mail.queue.drain(..count).collect();
    if mail.queue.is_empty() {
        mail.queue = VecDeque::new();
    }
    mail.bytes -= taken.iter().map(|message| message.len()).sum::<usize>();
    taken
}

/// How many of the waiting messages go into one answer: whole messages, one at least if there is one.
fn count_for_one_poll(queue: &VecDeque<Arc<Outgoing>>) -> usize {
    if queue.len() > FAR_BEHIND {
        return queue.len();
    }
    let mut packets = 0;
    let fitting = queue.iter().take_while(|message| {
        packets += message.packets();
        packets <= MAX_PACKETS_PER_POLL
    });
    fitting.count().max(1).min(queue.len())
}
