//! What happens next, in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::bus::{Down, Up};

/// Something that happens at a moment.
#[derive(Debug)]
pub(super) enum Event {
    /// The next step of the script.
    Step(usize),
    /// A frame of a connection is at the bus.
    AtBus(usize, Box<Up>),
    /// A frame of a connection is at its pod.
    AtPod(usize, Box<Down>),
    /// A pod notices that a connection of its own is broken.
    Broken(usize),
    /// A pod's link has waited.
    LinkWakes { pod: usize },
    /// A pod's node wanted to be called.
    NodeWakes { pod: usize },
    /// A fault may be over.
    Mend,
    /// A pod that crashed comes again.
    Restart { seat: usize },
}

#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: BinaryHeap<Reverse<Entry>>,
    count: u64,
}

/// Ordered by moment; of one moment, what was entered first comes first.
#[derive(Debug)]
struct Entry {
    at_ms: u64,
    number: u64,
    event: Event,
}

impl Agenda {
    pub(super) fn enter(&mut self, at_ms: u64, event: Event) {
        self.count += 1;
        let number = self.count;
        self.entries.push(Reverse(Entry {
            at_ms,
            number,
            event,
        }));
    }

    /// The next event up to that moment, and when it is.
    pub(super) fn next(&mut self, until_ms: u64) -> Option<(u64, Event)> {
        if self.entries.peek()?.0.at_ms > until_ms {
            return None;
        }
        let Reverse(entry) = self.entries.pop()?;
        Some((entry.at_ms, entry.event))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ms, self.number).cmp(&(other.at_ms, other.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}
