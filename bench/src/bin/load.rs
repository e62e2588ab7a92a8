//! The load generator: connects clients to a server, publishes, counts, and prints one JSON line per run.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};
use unisono_bench::load::{Cross, Fanout, Handshakes, Idle};
use unisono_bench::process;

/// File descriptors besides those of clients.
const SPARE_FILES: usize = 64;

/// Loads a Socket.IO server that keeps the benchmark's contract and measures its process from outside.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Publishes to a room of all clients.
    Fanout {
        #[arg(long)]
        target: SocketAddr,
        #[arg(long)]
        pid: u32,
        #[arg(long, default_value_t = 1000)]
        clients: usize,
        #[arg(long, default_value_t = 1)]
        in_flight: usize,
        /// Bytes of the argument.
        #[arg(long, default_value_t = 100)]
        payload: usize,
        #[arg(long, default_value_t = 100)]
        handshakes: usize,
        #[arg(long, default_value_t = 1.0)]
        warm_up: f64,
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
    },
    /// Publishes at one server and receives at another.
    Cross {
        #[arg(long)]
        publish_at: SocketAddr,
        #[arg(long)]
        receive_at: SocketAddr,
        /// Processes whose CPU time is reported.
        #[arg(long, value_delimiter = ',')]
        pids: Vec<u32>,
        #[arg(long, default_value_t = 100)]
        payload: usize,
        #[arg(long, default_value_t = 1.0)]
        warm_up: f64,
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
    },
    /// Connects and closes, over and over.
    Handshakes {
        #[arg(long)]
        target: SocketAddr,
        #[arg(long)]
        pid: u32,
        #[arg(long, default_value_t = 16)]
        in_flight: usize,
        #[arg(long, default_value_t = 1.0)]
        warm_up: f64,
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
    },
    /// Connects, stays, and looks at the server's memory.
    Idle {
        #[arg(long)]
        target: SocketAddr,
        #[arg(long)]
        pid: u32,
        #[arg(long, default_value_t = 10_000)]
        clients: usize,
        #[arg(long, default_value_t = 50)]
        handshakes: usize,
        /// Seconds to stay before each look.
        #[arg(long, default_value_t = 3.0)]
        settle: f64,
    },
}

fn main() -> Result<()> {
    let seconds = Duration::from_secs_f64;
    let report = match Arguments::parse().mode {
        Mode::Fanout {
            target,
            pid,
            clients,
            in_flight,
            payload,
            handshakes,
            warm_up,
            seconds: duration,
        } => {
            process::raise_open_files((clients + SPARE_FILES) as u64);
            let (warm_up, duration) = (seconds(warm_up), seconds(duration));
            Fanout {
                target,
                pid,
                clients,
                in_flight,
                payload,
                warm_up,
                duration,
                handshakes,
            }
            .run()?
        }
        Mode::Cross {
            publish_at,
            receive_at,
            pids,
            payload,
            warm_up,
            seconds: duration,
        } => Cross {
            publish_at,
            receive_at,
            pids,
            payload,
            warm_up: seconds(warm_up),
            duration: seconds(duration),
        }
        .run()?,
        Mode::Handshakes {
            target,
            pid,
            in_flight,
            warm_up,
            seconds: duration,
        } => {
            process::raise_open_files((2 * in_flight + SPARE_FILES) as u64);
            Handshakes {
                target,
                pid,
                in_flight,
                warm_up: seconds(warm_up),
                duration: seconds(duration),
            }
            .run()?
        }
        Mode::Idle {
            target,
            pid,
            clients,
            handshakes,
            settle,
        } => {
            process::raise_open_files((clients + 2 * SPARE_FILES + 100) as u64);
            Idle {
                target,
                pid,
                clients,
                handshakes,
                settle: seconds(settle),
            }
            .run()?
        }
    };
    println!("{report}");
    Ok(())
}
