//! Every accident that may happen to Redis or to the way there, and what clients see of it: one table, one check.
//!
//! Two pods, processes of their own, have a talker and a listener each. The talkers say numbers all the time, which are plain
//! broadcasts; the listeners take control of the session before, during and after, which are commits. Then something happens.
//! [`check`] asserts what holds in every row, the row says what is special. What is measured is printed:
//! `cargo nextest run -p jamz-server accidents --no-capture`. The ranges in `docs/redis-outages.md` are taken from there.

mod check;
mod document;
mod hostile;
mod network;
mod pod;
mod pods;
mod restarts;
mod rights;
mod rows;
mod service;
mod soak;
mod stage;
mod voice;
