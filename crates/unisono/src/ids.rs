//! Session and socket ids: 20 characters base64url from the system's random source, as Node's.

use std::cell::RefCell;

use unisono_proto::engine::Sid;

/// Bytes fetched from the system at a time: one system call for 32 ids instead of one for each.
const BATCH_BYTES: usize = 480;

/// Bytes of one id.
const ID_BYTES: usize = 15;

thread_local! {
    /// Random bytes that have not been given out, taken from the end.
    static POOL: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A fresh id. 15 random bytes: nobody guesses another's.
pub(crate) fn new_sid() -> Sid {
    POOL.with_borrow_mut(|pool| {
        if pool.len() < ID_BYTES {
            pool.resize(BATCH_BYTES, 0);
            getrandom::fill(pool).expect(
                "the system's random source works: without it no id would be safe to give out",
            );
        }
        let mut bytes = [0; ID_BYTES];
        bytes.copy_from_slice(&pool[pool.len() - ID_BYTES..]);
        pool.truncate(pool.len() - ID_BYTES);
        Sid::from_random(bytes)
    })
}

/// The name of a namespace's node among the others: 6 characters of the same alphabet, as Node's.
pub(crate) fn new_uid() -> String {
    new_sid().as_str()[..6].to_owned()
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
