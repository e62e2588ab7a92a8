//! What all requests of a server keep of their answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::limits::{MAX_ANSWER_BYTES, MAX_KEPT_BYTES};

/// The bytes of answers that the nodes of one server keep together, [`MAX_KEPT_BYTES`] at most. Clones share one sum.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<AtomicUsize>);

impl Ledger {
    /// What is kept now.
    pub fn bytes(&self) -> usize {
        self.0.load(Relaxed)
    }

    pub(super) fn account(&self) -> Account {
        Account {
            ledger: self.clone(),
            bytes: 0,
        }
    }
}

/// The part of one request, [`MAX_ANSWER_BYTES`] at most. Given back when the request ends.
#[derive(Debug)]
pub(super) struct Account {
    ledger: Ledger,
    bytes: usize,
}

impl Account {
    /// False when it would be too much; nothing is charged then.
    pub(super) fn charge(&mut self, bytes: usize) -> bool {
        let own = self.bytes.saturating_add(bytes);
        if own > MAX_ANSWER_BYTES {
            return false;
        }
        let before = self.ledger.0.fetch_add(bytes, Relaxed);
        if before + bytes > MAX_KEPT_BYTES {
            self.ledger.0.fetch_sub(bytes, Relaxed);
            return false;
        }
        self.bytes = own;
        true
    }

    /// Gives back what was just charged.
    pub(super) fn refund(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.ledger.0.fetch_sub(bytes, Relaxed);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.ledger.0.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_and_all_together_have_their_bound_and_give_back() {
        let ledger = Ledger::default();
        let mut accounts: Vec<_> = (0..3).map(|_| ledger.account()).collect();
        assert!(accounts[0].charge(MAX_ANSWER_BYTES));
        assert!(!accounts[0].charge(1));
        assert!(!accounts[1].charge(usize::MAX));
        assert!(accounts[1].charge(MAX_ANSWER_BYTES - 1));
        assert!(accounts[2].charge(1));
        // Nothing is left for anybody, whoever has had little.
        assert!(!accounts[2].charge(1));
        assert_eq!(ledger.bytes(), MAX_KEPT_BYTES);
        accounts[2].refund(1);
        drop(accounts.remove(0));
        assert_eq!(ledger.bytes(), MAX_ANSWER_BYTES - 1);
        assert!(accounts[1].charge(1));
        drop(accounts);
        assert_eq!(ledger.bytes(), 0);
    }
}
