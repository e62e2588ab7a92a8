//! What the crate does, seen from outside.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "tables read better with values"
)]

mod client;
mod eio3;
mod engine;
mod handshake;
mod json;
mod jsonp;
mod properties;
mod random;
mod serde_values;
mod socket;
mod ws;
