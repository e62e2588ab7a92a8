//! What Redis does not let this process do, until it does.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What it was that Redis refused. The gravest is shown first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// To let the link in, or listen. Taken back when it is up.
    Link,
    /// To publish. Taken back by a batch that is published whole.
    Publish,
    /// To count who listens. Taken back by the next count.
    Count,
    /// To leave a channel or a pattern. Taken back when all are left that were to be, or by a new link.
    Unsubscribe,
}

const KINDS: usize = 4;

/// One text for each kind: what is granted says nothing about the others.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    // A lock for a few texts, held to change or copy one.
    texts: Mutex<[Option<String>; KINDS]>,
    /// How many there are: nothing has to be taken back as a rule, and every batch asks.
    standing: AtomicUsize,
}

impl Refusals {
    /// Returns whether it did not stand already, be it shown or behind a graver one.
    pub(crate) fn note(&self, refused: Refused, text: &str) -> bool {
        let mut texts = self.lock();
        let known = &mut texts[refused as usize];
        if known.as_deref() == Some(text) {
            return false;
        }
        *known = Some(text.to_owned());
        self.standing
            .store(texts.iter().flatten().count(), Ordering::Release);
        true
    }

    /// Redis does it now.
    pub(crate) fn take_back(&self, refused: Refused) {
        if self.standing.load(Ordering::Acquire) > 0 {
            let mut texts = self.lock();
            texts[refused as usize] = None;
            self.standing
                .store(texts.iter().flatten().count(), Ordering::Release);
        }
    }

    /// The gravest that stands.
    pub(crate) fn shown(&self) -> Option<String> {
        self.lock().iter().flatten().next().cloned()
    }

    /// A panic elsewhere cannot leave a text half changed.
    fn lock(&self) -> MutexGuard<'_, [Option<String>; KINDS]> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_hides_nothing_that_is_still_refused() {
        let refusals = Refusals::default();
        assert!(refusals.note(Refused::Unsubscribe, "no leaving"));
        assert!(refusals.note(Refused::Publish, "no publishing"));
        // It is not shown before the graver one is taken back, and is told of at once.
        assert!(refusals.note(Refused::Count, "no counting"));
        assert!(!refusals.note(Refused::Publish, "no publishing"));
        assert_eq!(refusals.shown().as_deref(), Some("no publishing"));
        refusals.take_back(Refused::Publish);
        assert_eq!(refusals.shown().as_deref(), Some("no counting"));
        refusals.take_back(Refused::Link);
        refusals.take_back(Refused::Count);
        assert_eq!(refusals.shown().as_deref(), Some("no leaving"));
        refusals.take_back(Refused::Unsubscribe);
        assert_eq!(refusals.shown(), None);
    }
}
