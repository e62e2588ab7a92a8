//! What `cargo xtask bench` runs beside the servers it compares: the *floor*, the least a server can do per delivery, and the *load*, which connects
//! clients, publishes, counts and reads the servers' CPU time and memory from `/proc`.
//!
//! Neither uses any code of the library under test, so that a flaw there cannot hide here. A third program, *heap*, contains the library, since it counts
//! the allocations inside it. Linux only.
//!
//! The contract of a server, whoever wrote it: it listens on 127.0.0.1:`PORT`, prints the line `up`, puts every socket of `/` into one room, and answers
//! the event `pub` with one argument by the event `msg` with the same argument to that room, sender included. `e2e/README.md` has all of it.

pub mod heap;
pub mod histogram;
pub mod load;
pub mod process;
pub mod redis;
pub mod wire;
