//! Handlers in a line: one at a time, in the order in which their work arrived.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use crate::handler::BoxFuture;
use crate::stats::{Counters, Refusal};

/// Work that waits for its handler before the connection stops reading: a burst passes, a flood does not.
const MAX_WAITING: usize = 64;

/// Bytes of events that wait, on the wire or in memory, whichever is more, over all lines of a connection. A single event of any size may wait.
pub(super) const MAX_WAITING_BYTES: usize = 1 << 20;

/// A line keeps room for this much work while it is empty.
const KEPT_CAPACITY: usize = 4;

/// Work that waits, and the handler of what came before it.
pub(super) struct Line<W> {
    waiting: VecDeque<W>,
    running: Option<BoxFuture>,
}

impl<W> Line<W> {
    pub(super) fn of(first: W) -> Self {
        Self {
            waiting: VecDeque::from([first]),
            running: None,
        }
    }

    pub(super) fn push(&mut self, work: W) {
        self.waiting.push_back(work);
    }

    /// Drops what waits and is not to be kept.
    pub(super) fn retain(&mut self, keep: impl FnMut(&W) -> bool) {
        self.waiting.retain(keep);
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_WAITING
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_none() && self.waiting.is_empty()
    }

    /// Runs the handlers as far as they go without waiting. `start` makes the handler's future, if there is a handler; `name` is for the log.
    pub(super) fn poll<'n>(
        &mut self,
        cx: &mut Context<'_>,
        counters: &Counters,
        name: impl Fn() -> &'n str,
        mut start: impl FnMut(W) -> Option<BoxFuture>,
    ) {
        loop {
            if let Some(future) = &mut self.running {
                // The handler is dropped after a panic, so nobody sees what it left half done but its own captures.
                match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                    Ok(Poll::Pending) => return,
                    Ok(Poll::Ready(())) => {}
                    Err(_) => tell_of_panic(counters, name()),
                }
                self.running = None;
            }
            let Some(work) = self.waiting.pop_front() else {
                if self.waiting.capacity() > KEPT_CAPACITY {
                    self.waiting = VecDeque::new();
                }
                return;
            };
            match catch_unwind(AssertUnwindSafe(|| start(work))) {
                Ok(future) => self.running = future,
                Err(_) => tell_of_panic(counters, name()),
            }
        }
    }
}

fn tell_of_panic(counters: &Counters, name: &str) {
    counters.refuse(Refusal::Panic);
    tracing::error!(
        socket = name,
        "a handler panicked; its event is lost, the socket stays"
    );
}
