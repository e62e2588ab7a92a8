//! Session and socket ids: 20 characters base64url from the system's random source, as Node's.

use unisono_proto::engine::Sid;

/// A fresh id. 15 random bytes: nobody guesses another's.
pub(crate) fn new_sid() -> Sid {
    let mut bytes = [0; 15];
    getrandom::fill(&mut bytes).expect("the system's random source works: without it no id would be safe to give out");
    Sid::from_random(bytes)
}

/// The name of a namespace's node among the others: 6 characters of the same alphabet, as Node's.
pub(crate) fn new_uid() -> String {
    new_sid().as_str()[..6].to_owned()
}
