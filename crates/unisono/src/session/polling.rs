//! The long-polling side of a session: GETs carry the queue out, POSTs bring packets in, and a WebSocket may take over.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::oneshot;
use unisono_proto::connection::CloseReason;
use unisono_proto::engine;

use super::writing::NEVER;
use super::{Phase, Session, Wire};
use crate::conn::{Mailbox, Post};
use crate::outgoing::Outgoing;

/// Packets of a POST in one step of the session: a body of the largest size may hold half a million.
const MAX_RECORDS: usize = 256;

/// A POST that is being worked off.
#[derive(Debug, Default)]
pub(crate) struct Polling {
    post: Option<Progress>,
}

#[derive(Debug)]
struct Progress {
    body: bytes::Bytes,
    /// Where the next record starts; beyond the body when all are done.
    next: usize,
    reply: oneshot::Sender<bool>,
}

/// The queue as one payload (Engine.IO 4: records separated by 0x1e).
pub(super) fn payload<'a>(messages: impl Iterator<Item = &'a Arc<Outgoing>>) -> String {
    let mut payload = String::new();
    for message in messages {
        if !payload.is_empty() {
            payload.push(engine::SEPARATOR);
        }
        payload.push_str(message.record());
    }
    payload
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
        self.answer_poll();
        let Wire::Polling(polling) = &mut self.wire else {
            return false;
        };
        if polling.post.is_none() {
            let mut mail = self.conn.mailbox();
            let post = mail.polling.as_mut().and_then(|p| p.post.take());
            drop(mail);
            if let Some(Post { body, reply }) = post {
                let bytes = body.len();
                polling.post = Some(Progress {
                    body,
                    next: 0,
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
    fn answer_poll(&self) {
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
        let reply = if mail.queue.is_empty() {
            "6".to_owned()
        } else {
            drain(mail)
        };
        // If the client has given up meanwhile, the request's guard ends the session.
        let _ = poll.send(reply);
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
                self.held_back = true;
                // The handlers of what came just now have not run yet.
                return worked;
            }
            self.held_back = false;
            let Some(progress) = polling.post.as_mut() else {
                return true;
            };
            if progress.next > progress.body.len() {
                if let Some(progress) = polling.post.take() {
                    self.conn.with(|mail| {
                        if let Some(polling) = &mut mail.polling {
                            polling.posting = false;
                        }
                    });
                    let _ = progress.reply.send(true);
                }
                return true;
            }
            worked = true;
            let body = progress.body.clone();
            let rest = &body[progress.next..];
            let end = rest
                .iter()
                .position(|&b| b == engine::SEPARATOR as u8)
                .unwrap_or(rest.len());
            progress.next += end + 1;
            if !self.admit_packet() {
                return true;
            }
            let record = std::str::from_utf8(&rest[..end])
                .ok()
                .and_then(|text| engine::decode(text).ok());
            match record {
                Some(packet) => self.handle_packet(packet),
                None => self.refuse_packet(CloseReason::ParseError),
            }
        }
        true
    }

    /// A WebSocket that has finished its probe takes over: the waiting GET is released, and the queue goes out on the WebSocket.
    fn take_over(&mut self) -> bool {
        let mut mail = self.conn.mailbox();
        let Some(candidate) = mail.polling.as_mut().and_then(|p| p.candidate.take()) else {
            return false;
        };
        if let Some(poll) = mail.polling.take().and_then(|p| p.poll) {
            let _ = poll.send("6".to_owned());
        }
        drop(mail);
        let counters = &self.server.counters;
        counters.polling.fetch_sub(1, Relaxed);
        counters.websocket.fetch_add(1, Relaxed);
        counters.upgrades.fetch_add(1, Relaxed);
        self.wire = Wire::WebSocket(candidate.socket);
        self.write_deadline = NEVER;
        // The task must look again: the queue belongs to the WebSocket now.
        self.conn.with(|_| {});
        true
    }
}

/// Takes the whole queue as one payload.
fn drain(mail: &mut Mailbox) -> String {
    let queue = std::mem::take(&mut mail.queue);
    let bytes = queue.iter().map(|message| message.len()).sum();
    mail.written(queue.len(), bytes);
    payload(queue.iter())
}
