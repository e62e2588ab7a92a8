//! How many sessions each client address has open.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Below this a table is too small for its memory to matter.
const KEPT_CAPACITY: usize = 1024;

/// A table that is filled less than one part in so many gives memory back: seldom enough for its growing again to cost nothing.
const SPARSE: usize = 8;

/// Whether a table of connections has become too large for what is in it.
pub(crate) fn is_sparse(capacity: usize, len: usize) -> bool {
    capacity > KEPT_CAPACITY && len < capacity / SPARSE
}

/// The open sessions by address. An address is in the table as long as it has one, so the table is no longer than the list of sessions.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    /// A std mutex: held for one look-up, never across an await.
    taken: Mutex<HashMap<Place, u32>>,
}

/// One session's place. Dropping it gives it back, whatever ended the session.
#[derive(Debug)]
pub(crate) struct Seat(Box<Held>);

#[derive(Debug)]
struct Held {
    seats: Arc<Seats>,
    place: Place,
}

/// What counts as one address: an IPv4 address, or an IPv6 network of 64 bits, which is what a single customer gets at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place(u128);

impl Place {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            // As mapped addresses: their upper half is empty and their lower is not, unlike any network's.
            IpAddr::V4(address) => Self(address.to_ipv6_mapped().to_bits()),
            IpAddr::V6(address) => Self(address.to_bits() >> 64 << 64),
        }
    }
}

impl Seats {
    /// Takes a place for a session, if the address has fewer than `limit`.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr, limit: u32) -> Option<Seat> {
        let place = Place::of(address);
        let mut taken = self.taken();
        let count = taken.entry(place).or_default();
        if *count >= limit {
            // Only a limit of zero refuses an address that has none.
            if *count == 0 {
                taken.remove(&place);
            }
            return None;
        }
        *count += 1;
        Some(Seat(Box::new(Held {
            seats: self.clone(),
            place,
        })))
    }

    fn give_back(&self, place: Place) {
        let mut taken = self.taken();
        if let Some(count) = taken.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&place);
            }
        }
        // After a flood the table gives its memory back.
        if is_sparse(taken.capacity(), taken.len()) {
            taken.shrink_to_fit();
        }
    }

    /// Addresses that have a session open.
    #[cfg(test)]
    fn addresses(&self) -> usize {
        self.taken().len()
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Place, u32>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.seats.give_back(self.0.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        Place::of(one.parse().unwrap()) == Place::of(other.parse().unwrap())
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        assert!(same("2001:db8:1:2::3", "2001:db8:1:2:ffff::4"));
        assert!(!same("2001:db8:1:2::3", "2001:db8:1:3::3"));
        assert!(!same("1.2.3.4", "1.2.3.5"));
        assert!(same("1.2.3.4", "::ffff:1.2.3.4"));
        assert!(!same("0.0.0.0", "::"));
    }

    #[test]
    fn the_count_returns_to_nothing() {
        let seats = Arc::new(Seats::default());
        let address = "1.2.3.4".parse().unwrap();
        let one = seats.take(address, 2).unwrap();
        let two = seats.take(address, 2).unwrap();
        assert!(seats.take(address, 2).is_none());
        assert!(seats.take("1.2.3.5".parse().unwrap(), 2).is_some());
        drop(one);
        let three = seats.take(address, 2).unwrap();
        drop((two, three));
        assert_eq!(seats.addresses(), 0);
        assert!(seats.take(address, 0).is_none());
        assert_eq!(seats.addresses(), 0);
    }
}
