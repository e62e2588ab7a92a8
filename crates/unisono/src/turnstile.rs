//! One at a time, in order, without waiting: whoever comes while somebody is inside leaves the work and goes on.
//!
//! Deliveries go through one, because they must happen in one order although they come from several threads, and because what runs
//! inside (a note's handler, a broker that delivers within `publish`) may come back here on the same thread, where a plain lock
//! would wait for itself.
//!
//! The work must not panic: what waits behind it would stay until the next who comes. Code of the application in it is guarded.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// Work that may wait while somebody is inside. Reached only if one delivery takes longer than tens of thousands of messages need
/// to arrive; further work is then refused and counted by the caller.
const MAX_WAITING: usize = 65_536;

pub(crate) struct Turnstile<T> {
    waiting: Mutex<VecDeque<T>>,
    turn: Mutex<()>,
}

impl<T> Default for Turnstile<T> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            turn: Mutex::default(),
        }
    }
}

impl<T> Turnstile<T> {
    /// Leaves `item`, and works off what waits unless somebody already does.
    ///
    /// # Errors
    /// Too much waits; the item comes back.
    pub(crate) fn submit(&self, item: T, work: impl FnMut(T)) -> Result<(), T> {
        self.submit_under(item, || {}, work)
    }

    /// Like [`submit`](Self::submit), with `queued` called when the item has its place in the line and before any work begins.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub(crate) fn submit_under(
        &self,
        item: T,
        queued: impl FnOnce(),
        work: impl FnMut(T),
    ) -> Result<(), T> {
        let back = self.leave(item);
        queued();
        self.work_off(work);
        back
    }

    /// Leaves `item` for whoever comes to [`work_off`](Self::work_off): the place in the line is taken here, the work is done elsewhere.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub(crate) fn leave(&self, item: T) -> Result<(), T> {
        let mut waiting = self.waiting();
        if waiting.len() >= MAX_WAITING {
            return Err(item);
        }
        waiting.push_back(item);
        Ok(())
    }

    /// Runs `f` while nobody works, then works off what came meanwhile. Waits for its turn; must not be called from inside.
    pub(crate) fn hold<R>(&self, f: impl FnOnce() -> R, mut work: impl FnMut(T)) -> R {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // What came meanwhile does not wait for the next who comes, should this one panic.
        let result = catch_unwind(AssertUnwindSafe(f));
        self.empty(&mut work);
        drop(turn);
        self.work_off(work);
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Works off what waits, unless somebody already does.
    pub(crate) fn work_off(&self, mut work: impl FnMut(T)) {
        // Somebody may leave work between our last look and the end of our turn: look again until there is none.
        while !self.waiting().is_empty() {
            let _turn = match self.turn.try_lock() {
                Ok(turn) => turn,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            self.empty(&mut work);
        }
    }

    fn empty(&self, work: &mut impl FnMut(T)) {
        loop {
            let Some(item) = self.waiting().pop_front() else {
                return;
            };
            work(item);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[test]
    fn work_that_comes_from_inside_is_done_after_the_current() {
        let turnstile = Turnstile::default();
        let done = Mutex::new(Vec::new());
        let outer = |n: u32| {
            if n == 1 {
                turnstile
                    .submit(2, |_| unreachable!("somebody is inside"))
                    .unwrap();
            }
            done.lock().unwrap().push(n);
        };
        turnstile.submit(1, outer).unwrap();
        assert_eq!(*done.lock().unwrap(), [1, 2]);
    }

    #[test]
    fn what_comes_while_it_is_held_is_done_at_the_end() {
        let turnstile = Turnstile::default();
        let done = Mutex::new(Vec::new());
        turnstile.hold(
            || {
                turnstile.submit(1, |_| unreachable!("it is held")).unwrap();
                assert!(done.lock().unwrap().is_empty());
            },
            |n| done.lock().unwrap().push(n),
        );
        assert_eq!(*done.lock().unwrap(), [1]);
    }

    #[test]
    fn nothing_is_left_behind_by_threads_that_race() {
        let turnstile = Turnstile::default();
        let (done, inside) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let work = |()| {
                            assert_eq!(inside.fetch_add(1, SeqCst), 0);
                            done.fetch_add(1, SeqCst);
                            inside.fetch_sub(1, SeqCst);
                        };
                        turnstile.submit((), work).unwrap();
                    }
                });
            }
        });
        assert_eq!(done.load(SeqCst), 40_000);
    }
}
