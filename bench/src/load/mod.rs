//! The load generator: many Socket.IO clients in one thread, and the runs made of them.
//!
//! What compares servers is closed loop: a publish leaves when the one before it has reached everybody. Rates are therefore results; what is compared is the
//! CPU time a server spends per delivery, and how long a delivery takes. What looks at one server's memory over time (churn, slow readers) has a fixed rate.

mod churn;
mod client;
mod cross;
mod fanout;
mod handshakes;
mod idle;
mod polling;
mod race;
mod rejoin;
mod slow_readers;
mod stay;
mod swarm;
mod websocket;

pub use churn::Churn;
pub use client::{Kind, Opening};
pub use cross::Cross;
pub use fanout::Fanout;
pub use handshakes::Handshakes;
pub use idle::Idle;
pub use rejoin::Rejoin;
pub use slow_readers::SlowReaders;
pub use stay::Stay;
pub use swarm::{Happening, Swarm};

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

/// The transports of clients that do nothing.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Transport {
    /// WebSocket from the start.
    Websocket,
    /// Long-polling, a GET always held.
    Polling,
}

impl From<Transport> for Opening {
    fn from(transport: Transport) -> Opening {
        match transport {
            Transport::Websocket => Opening::WebSocket,
            Transport::Polling => Opening::Polling,
        }
    }
}
