//! Session and socket ids: 20 characters base64url from the system's random source, as Node's.

use std::cell::RefCell;

use unisono_cluster::Adapter;
use unisono_proto::engine::Sid;

/// Bytes fetched from the system at a time: one system call for 128 ids instead of one for each.
const BATCH_BYTES: usize = 1920;

/// Bytes of the name of a node of the sharded adapter.
const UID_BYTES: usize = 8;

thread_local! {
    /// Random bytes that have not been given out, taken from the end.
    static POOL: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A fresh id. 15 random bytes: nobody guesses another's.
pub(crate) fn new_sid() -> Sid {
    Sid::from_random(random())
}

fn random<const N: usize>() -> [u8; N] {
    POOL.with_borrow_mut(|pool| {
        if pool.len() < N {
            pool.resize(BATCH_BYTES, 0);
            getrandom::fill(pool).expect(
                "the system's random source works: without it no id would be safe to give out",
            );
        }
        let mut bytes = [0; N];
        bytes.copy_from_slice(&pool[pool.len() - N..]);
        pool.truncate(pool.len() - N);
        bytes
    })
}

/// The name of a namespace's node among the others, as Node's: 6 characters of the same alphabet, or 16 hexadecimal digits.
pub(crate) fn new_uid(adapter: Adapter) -> String {
    match adapter {
        Adapter::Classic => new_sid().as_str()[..6].to_owned(),
        Adapter::Sharded(_) => {
            let bytes = random::<UID_BYTES>();
            format!("{:016x}", u64::from_be_bytes(bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_comes_twice() {
        let ids: std::collections::HashSet<_> =
            (0..10_000).map(|_| new_sid().to_string()).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
