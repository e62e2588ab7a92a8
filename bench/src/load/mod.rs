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

use crate::process;

/// A server that has done nothing for this long is broken: no run waits longer for the next thing to happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// File descriptors besides those of clients.
const SPARE_FILES: usize = 64;

fn raise_open_files(clients: usize) {
    process::raise_open_files((clients + SPARE_FILES) as u64);
}

/// A duration as the command line gives it.
fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| format!("`{text}` is not a number of seconds"))?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}
