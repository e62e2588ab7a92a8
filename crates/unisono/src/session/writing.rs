//! What waits for the client: from the mailbox into the task's hands, and from there to the transport.

use std::task::{Context, Poll};

use unisono_proto::connection::CloseReason;

use super::{Phase, Session, Wire};
use crate::stats::Refusal;

/// A deadline that does not come.
pub(super) const NEVER: u64 = u64::MAX;

impl Session {
    /// Takes what others have left in the mailbox.
    pub(super) fn look(&mut self) {
        let written = std::mem::take(&mut self.written);
        let mut mail = self.conn.mailbox();
        mail.written(written.messages, written.bytes);
        mail.look();
        let closing = mail.closing;
        let leaving = std::mem::take(&mut mail.leaving);
        match &mut self.wire {
            // What cannot leave yet waits in the mailbox, where it can still be spared.
            Wire::WebSocket(socket) if socket.blocked && self.phase == Phase::Open => {}
            Wire::WebSocket(socket) => mail.take_queue(&mut socket.hands),
            Wire::Polling(_) => {}
            Wire::Gone => mail.drop_queue(),
        }
        drop(mail);
        for leave in leaving {
            self.leave(&leave);
        }
        if let Some(reason) = closing {
            self.end(reason);
        }
    }

    /// Tells the mailbox what was written, and that somebody has to wake this task. `false` if there is something to do already.
    pub(super) fn sleep(&mut self, cx: &mut Context<'_>) -> bool {
        let written = std::mem::take(&mut self.written);
        let mut mail = self.conn.mailbox();
        mail.written(written.messages, written.bytes);
        match &mut self.wire {
            Wire::WebSocket(socket) if self.phase == Phase::Open => {
                mail.blocked = socket.blocked;
                if socket.blocked {
                    mail.put_back(&mut socket.hands);
                } else if !mail.queue.is_empty() {
                    return false;
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

    pub(super) fn poll_websocket_write(&mut self, cx: &mut Context<'_>) {
        let Wire::WebSocket(socket) = &mut self.wire else {
            return;
        };
        if socket.hands.is_empty() && !socket.unflushed {
            return;
        }
        let before = socket.progress();
        match socket.poll_write(cx, &mut self.written) {
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
        self.server.counters.refuse(Refusal::SlowReader);
        tracing::info!(sid = %self.conn.sid, "closing a connection that takes nothing");
        self.end(CloseReason::ForcedClose);
    }
}
