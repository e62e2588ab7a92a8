//! The load generator: connects clients to a server, publishes, counts, and prints one JSON line.

use anyhow::Result;
use clap::Parser;
use unisono_bench::load::{Churn, Cross, Fanout, Handshakes, Idle, Rejoin, SlowReaders, Stay};

/// Loads a Socket.IO server that keeps the benchmark's contract and measures its process from outside.
#[derive(Parser)]
enum Mode {
    /// Publishes to a room of all clients.
    Fanout(Fanout),
    /// Publishes at one server and receives at another.
    Cross(Cross),
    /// Takes all servers' connections to Redis away and waits for them to hear each other again.
    Rejoin(Rejoin),
    /// Connects and closes, over and over.
    Handshakes(Handshakes),
    /// Connects, stays, and looks at the server's memory.
    Idle(Idle),
    /// Connects, prints `up`, and stays until its input ends.
    Stay(Stay),
    /// Connects and disconnects at a fixed rate, and watches the server's memory.
    Churn(Churn),
    /// Broadcasts at a fixed rate while some clients do not read.
    SlowReaders(SlowReaders),
}

fn main() -> Result<()> {
    let report = match Mode::parse() {
        Mode::Fanout(run) => run.run()?,
        Mode::Cross(run) => run.run()?,
        Mode::Rejoin(run) => run.run()?,
        Mode::Handshakes(run) => run.run()?,
        Mode::Idle(run) => run.run()?,
        Mode::Stay(run) => run.run()?,
        Mode::Churn(run) => run.run()?,
        Mode::SlowReaders(run) => run.run()?,
    };
    println!("{report}");
    Ok(())
}
