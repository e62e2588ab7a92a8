//! How a transport ends: what is queued goes out, the peer is told, and the descriptor is closed within a bounded time.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use unisono_proto::connection::CloseReason;
use unisono_proto::engine;

use super::{LINGER, Phase, Session, Wire, polling, scratch};
use crate::outgoing::Outgoing;

impl Session {
    /// `last` is the WebSocket's last frame; without one there is nobody to be told.
    pub(super) fn begin_finish(&mut self, reason: CloseReason, last: Option<Arc<Outgoing>>) {
        let deadline = self.server.now_ms() + LINGER.as_millis() as u64;
        self.phase = Phase::Finishing { deadline };
        match &mut self.wire {
            Wire::WebSocket(socket) => {
                let mut mail = self.conn.mailbox();
                // One that is merely behind gets what waits for it. One that does not read, or is not there, would not read a farewell.
                let is_read = !socket.blocked || (is_ours(reason) && !mail.cut);
                match last.filter(|_| is_read) {
                    Some(last) => {
                        mail.take_all(&mut socket.hands);
                        socket.hands.push_back(last);
                    }
                    None => {
                        drop(mail);
                        self.finished();
                    }
                }
            }
            Wire::Polling(polling) => {
                polling.refuse_post();
                // One that has arrived and was not begun is answered by dropping its sender.
                if let Some(polling) = &mut self.conn.mailbox().polling {
                    polling.post = None;
                }
                let mail = self.conn.mailbox();
                // Who waits beside something to say has come just now, behind the time for a ping that is still there.
                let is_late = reason == CloseReason::PingTimeout && !mail.queue.is_empty();
                // A client that has ended the session, or broken it, or does not come, is not waited for: its next request finds no session.
                let is_over = mail.cut || !is_ours(reason);
                drop(mail);
                if is_over && !is_late {
                    self.say_goodbye(match reason {
                        CloseReason::TransportClose => &engine::Packet::Noop,
                        _ => &engine::Packet::Close,
                    });
                }
                if is_over {
                    self.finished();
                }
            }
            Wire::Gone => self.finished(),
        }
    }

    pub(super) fn poll_finish(&mut self, cx: &mut Context<'_>) {
        self.finish_upgraded();
        let done = match &mut self.wire {
            Wire::WebSocket(socket) => {
                match socket.poll_write(cx) {
                    Poll::Pending => false,
                    Poll::Ready(Err(_)) => true,
                    // Our side is closed first (RFC 6455, section 7.1.1); unread input would turn the close into a reset,
                    // which can destroy what the peer has not read yet.
                    Poll::Ready(Ok(())) => match socket.poll_shutdown(cx) {
                        Poll::Pending => false,
                        Poll::Ready(Err(_)) => true,
                        Poll::Ready(Ok(())) => scratch::with_scratch(|buffer| {
                            loop {
                                match socket.poll_read(cx, buffer) {
                                    Poll::Pending => return false,
                                    Poll::Ready(Ok(0) | Err(_)) => return true,
                                    Poll::Ready(Ok(_)) => {}
                                }
                            }
                        }),
                    },
                }
            }
            Wire::Polling(_) => self.say_goodbye(&engine::Packet::Close),
            Wire::Gone => true,
        };
        if done {
            self.finished();
        }
    }

    /// A client whose upgrade was under way when the session ended may have paused its polling: what is left for it goes out where it listens.
    fn finish_upgraded(&mut self) {
        if !matches!(self.wire, Wire::Polling(_)) || !self.take_over() {
            return;
        }
        if let Wire::WebSocket(socket) = &mut self.wire {
            self.conn.mailbox().take_all(&mut socket.hands);
            socket.hands.push_back(Outgoing::close_frame(None));
        }
    }

    /// Answers the waiting GET with what one answer carries of what is left, and a last packet behind it. `false` while something is left.
    fn say_goodbye(&self, last: &engine::Packet<'_>) -> bool {
        let mut mail = self.conn.mailbox();
        let waiting = mail
            .polling
            .as_mut()
            .and_then(|polling| polling.poll.take());
        let Some(poll) = waiting else {
            return false;
        };
        let (payload, is_last) = polling::drain_and(last, &mut mail, self.conn.dialect);
        drop(mail);
        // The client may have given up meanwhile.
        let _ = poll.send(payload);
        is_last
    }

    /// The transport is closed; the session is done when its handlers are.
    pub(super) fn finished(&mut self) {
        self.phase = Phase::Done;
        self.leave_wire();
        self.server.forget(self.conn.sid);
        self.conn.mailbox().drop_queue();
    }

    pub(super) fn leave_wire(&mut self) {
        match std::mem::replace(&mut self.wire, Wire::Gone) {
            Wire::WebSocket(_) => self.server.counters.websocket.fetch_sub(1, Relaxed),
            Wire::Polling(_) => self.server.counters.polling.fetch_sub(1, Relaxed),
            Wire::Gone => return,
        };
        // A waiting GET or POST is answered by dropping its sender.
        self.conn.mailbox().polling = None;
    }
}

/// Whether the server has ended the session, so that the client is still to be told.
pub(crate) fn is_ours(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::ForcedClose | CloseReason::ServerShuttingDown
    )
}
