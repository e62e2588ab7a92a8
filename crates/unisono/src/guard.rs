//! Code of the application, where a panic would end more than what it was called for.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::stats::{Counters, Refusal};

/// Runs `f`. `None` if it panics, which is counted, and logged as a panic of `what`.
pub(crate) fn guarded<R>(
    counters: &Counters,
    what: &'static str,
    f: impl FnOnce() -> R,
) -> Option<R> {
    // Whoever it belongs to sees what it left half done; nothing here does.
    let result = catch_unwind(AssertUnwindSafe(f)).ok();
    if result.is_none() {
        counters.refuse(Refusal::Panic);
        tracing::error!(what, "the application panicked; only this call is lost");
    }
    result
}
