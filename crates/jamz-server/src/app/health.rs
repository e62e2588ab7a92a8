//! Whether the pod is ready, and whether it drains.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Two latches that only ever close.
#[derive(Debug, Default)]
pub struct Health {
    ready: AtomicBool,
    draining: AtomicBool,
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

    /// The pod is on its way out.
    pub fn set_draining(&self) {
        self.draining.store(true, SeqCst);
    }
}
