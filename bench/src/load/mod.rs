//! The load generator: many Socket.IO clients in one thread, and the runs made of them.
//!
//! Everything is closed loop: a publish leaves when the one before it has reached everybody. Rates are therefore results; what is compared is the CPU time
//! a server spends per delivery, and how long a delivery takes.

mod fanout;
mod handshakes;
mod idle;
mod swarm;

pub use fanout::{Cross, Fanout};
pub use handshakes::Handshakes;
pub use idle::Idle;
pub use swarm::{Happening, Kind, Swarm};

use std::time::Duration;

/// A server that has done nothing for this long is broken: no run waits longer for the next thing to happen.
pub const PATIENCE: Duration = Duration::from_secs(20);
