//! One read buffer per thread, lent to whichever connection is reading right now: an idle connection has none.

use std::cell::RefCell;

/// Bytes of one read. Large enough that a message of the usual size comes in one call; a larger message takes several.
pub(crate) const SCRATCH_BYTES: usize = 16 * 1024;

thread_local! {
    static SCRATCH: RefCell<Option<Box<[u8]>>> = const { RefCell::new(None) };
}

/// Lends the thread's buffer to `f`. It is taken out meanwhile: if `f` ever came back here, it would get a fresh one instead of a panic.
pub(crate) fn with_scratch<R>(f: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buffer = SCRATCH
        .with_borrow_mut(Option::take)
        .unwrap_or_else(|| vec![0; SCRATCH_BYTES].into_boxed_slice());
    let result = f(&mut buffer);
    SCRATCH.with_borrow_mut(|slot| *slot = Some(buffer));
    result
}
