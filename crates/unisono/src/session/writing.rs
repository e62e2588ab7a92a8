//! What waits for the client: from the mailbox into the task's hands, and from there to the transport.

use std::task::{Context, Poll};

use unisono_proto::connection::CloseReason;

use super::{MAX_SLICES, Phase, Session, Wire};
use crate::stats::Refusal;

/// A deadline that does not come.
pub(super) const NEVER: u64 = u64::MAX;

/// Batches in a row: as many as a full queue holds by default. Others go on pushing meanwhile.
const MAX_BATCHES: usize = 64;

impl Session {
    /// Takes what others have left in the mailbox and writes it, before handlers run, who may take their time or have more to say, and before
    /// more is read, which may ask for more.
    pub(super) fn poll_outgoing(&mut self, cx: &mut Context<'_>) {
        let mut more = self.look();
        for batches in 1.. {
            if self.phase != Phase::Open {
                return;
            }
            self.poll_websocket_write(cx);
            match &mut self.wire {
                Wire::WebSocket(socket) if more && !socket.blocked && batches < MAX_BATCHES => {
                    more = self.conn.mailbox().take_batch(&mut socket.hands);
                }
                _ => return,
            }
        }
    }

    /// Takes what others have left in the mailbox: of the messages, a batch, unless the transport was blocked. `true` if there are more.
    fn look(&mut self) -> bool {
        let mut more = false;
        let mut mail = self.conn.mailbox();
        mail.look();
        let closing = mail.closing;
        let leaving = std::mem::take(&mut mail.leaving);
        match &mut self.wire {
            // What cannot leave yet waits in the mailbox, where it can still be spared.
            Wire::WebSocket(socket) if socket.blocked && self.phase == Phase::Open => {
                more = !mail.queue.is_empty();
            }
            Wire::WebSocket(socket) if self.phase == Phase::Open => {
                more = mail.take_batch(&mut socket.hands);
            }
            // Nothing follows a CLOSE frame (RFC 6455, section 5.5.1).
            Wire::WebSocket(_) | Wire::Gone => mail.drop_queue(),
            Wire::Polling(_) => {
                let polling = mail.polling.as_mut();
                if polling.is_some_and(|polling| std::mem::take(&mut polling.progress)) {
                    self.write_deadline = NEVER;
                }
            }
        }
        drop(mail);
        for leave in leaving {
            self.leave(&leave);
        }
        if let Some(reason) = closing {
            self.end(reason);
        }
        more
    }

    /// Tells the mailbox what could not be written, and that somebody has to wake this task. `false` if there is something to do already.
    pub(super) fn sleep(&mut self, cx: &mut Context<'_>) -> bool {
        let mut mail = self.conn.mailbox();
        match &mut self.wire {
            Wire::WebSocket(socket) if self.phase == Phase::Open => {
                mail.blocked = socket.blocked;
                if socket.blocked {
                    mail.put_back(&mut socket.hands);
                } else if !mail.queue.is_empty() {
                    return false;
                } else {
                    mail.begun = 0;
                }
            }
            Wire::Polling(_) if mail.queue.is_empty() => self.write_deadline = NEVER,
            Wire::Polling(_) if self.write_deadline == NEVER => {
                let limit = self.server.config.write_timeout_ms();
                self.write_deadline = self.server.now_ms().saturating_add(limit);
            }
            Wire::WebSocket(_) | Wire::Polling(_) | Wire::Gone => {}
        }
        // The timer is to be set first.
        let is_armed = self.phase != Phase::Open || self.write_deadline >= self.armed;
        is_armed && mail.sleep(cx.waker())
    }

    fn poll_websocket_write(&mut self, cx: &mut Context<'_>) {
        let Wire::WebSocket(socket) = &mut self.wire else {
            return;
        };
        if socket.hands.is_empty() && !socket.unflushed {
            return;
        }
        let before = socket.progress();
        match socket.poll_write(cx) {
            Poll::Ready(Ok(())) => self.write_deadline = NEVER,
            Poll::Ready(Err(_)) => self.end(CloseReason::TransportError),
            Poll::Pending => {
                if self.write_deadline == NEVER || socket.progress() != before {
                    let limit = self.server.config.write_timeout_ms();
                    self.write_deadline = self.server.now_ms().saturating_add(limit);
                }
            }
        }
    }

    /// The client has taken nothing for too long, unless it was this node that did not get to write.
    pub(super) fn give_up_writing(&mut self, cx: &mut Context<'_>, now: u64) {
        self.poll_websocket_write(cx);
        if self.phase != Phase::Open || self.write_deadline > now {
            return;
        }
        if self.write_unasked() {
            let limit = self.server.config.write_timeout_ms();
            self.write_deadline = match &self.wire {
                Wire::WebSocket(socket) if socket.blocked => now.saturating_add(limit),
                _ => NEVER,
            };
            return;
        }
        self.server.counters.refuse(Refusal::SlowReader);
        tracing::info!(sid = ?self.conn.sid, "closing a connection that takes nothing");
        self.conn.with(|mail| mail.cut = true);
        self.end(CloseReason::ForcedClose);
    }

    /// Writes what the kernel takes without having said so. `true` if that was anything.
    fn write_unasked(&mut self) -> bool {
        let mut has_taken = false;
        let Wire::WebSocket(socket) = &mut self.wire else {
            return false;
        };
        for _ in 0..MAX_SLICES {
            if socket.hands.is_empty() {
                self.conn.mailbox().take_batch(&mut socket.hands);
            }
            if !socket.write_unasked() {
                break;
            }
            has_taken = true;
        }
        socket.blocked = socket.unflushed || !socket.hands.is_empty();
        has_taken
    }
}
