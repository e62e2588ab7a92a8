//! The handlers of a session of plain Engine.IO: one line, in which everything it brings waits for its turn.

use std::sync::Arc;
use std::task::Context;

use unisono_proto::connection::CloseReason;

use super::line::Line;
use crate::conn::Conn;
use crate::engine::{EngineSocket, Handlers, Message};
use crate::stats::Counters;

pub(crate) struct Plain {
    socket: EngineSocket,
    handlers: Arc<Handlers>,
    line: Line<Work>,
    closed: bool,
}

enum Work {
    Opened,
    Message(Message),
    Closed(CloseReason),
}

impl Plain {
    pub(super) fn open(conn: Arc<Conn>, handlers: Arc<Handlers>) -> Self {
        Self {
            socket: EngineSocket::new(conn),
            handlers,
            line: Line::of(Work::Opened),
            closed: false,
        }
    }

    pub(super) fn message(&mut self, message: Message) {
        self.line.push(Work::Message(message));
    }

    /// The last that the handlers hear. The first reason stays.
    pub(super) fn close(&mut self, reason: CloseReason) {
        if !std::mem::replace(&mut self.closed, true) {
            self.line.push(Work::Closed(reason));
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.line.is_full()
    }

    pub(super) fn is_done(&self) -> bool {
        self.closed && self.line.is_empty()
    }

    /// Runs the handlers; the bytes of the messages that no longer wait.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, counters: &Counters) -> usize {
        let mut bytes = 0;
        let Self {
            socket, handlers, ..
        } = self;
        self.line.poll(
            cx,
            counters,
            || "engine.io",
            |work| {
                let socket = socket.clone();
                match work {
                    Work::Opened => handlers.open.as_ref().map(|open| open(socket)),
                    Work::Message(message) => {
                        bytes += message.len();
                        let handler = handlers.message.as_ref();
                        handler.map(|handler| handler(socket, message))
                    }
                    Work::Closed(reason) => {
                        handlers.close.as_ref().map(|close| close(socket, reason))
                    }
                }
            },
        );
        bytes
    }
}
