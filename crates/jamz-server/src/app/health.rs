//! Whether the pod is ready, and whether it drains.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};

/// Two latches that only ever close, and what somebody has to put right.
#[derive(Debug, Default)]
pub struct Health {
    ready: AtomicBool,
    draining: AtomicBool,
    /// What Redis does not let the store do.
    refusal: Mutex<Option<String>>,
}

impl Health {
    /// Whether the pod listens, and has either joined Redis once or declared that it goes on
    /// without. Losing Redis later does not change it: otherwise one blip of Redis would take
    /// every pod out of service at once.
    pub fn is_ready(&self) -> bool {
        self.ready.load(SeqCst)
    }

    /// The pod can take clients.
    pub fn set_ready(&self) {
        self.ready.store(true, SeqCst);
    }

    /// Whether the pod is on its way out.
    pub fn is_draining(&self) -> bool {
        self.draining.load(SeqCst)
    }

    /// What Redis does not let the session store do, with the ACL rule that allows it.
    pub fn refusal(&self) -> Option<String> {
        let refusal = self.refusal.lock();
        refusal.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The outcome of the last trial of the store's rights.
    pub fn set_refusal(&self, refusal: Option<String>) {
        let shown = self.refusal.lock();
        *shown.unwrap_or_else(PoisonError::into_inner) = refusal;
    }

    /// The pod is on its way out.
    pub fn set_draining(&self) {
        self.draining.store(true, SeqCst);
    }
}
