//! Connecting over and over: what a handshake costs, up to the namespace's answer and including the end of the connection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{Happening, Kind, Opening, PATIENCE, Swarm, raise_open_files, seconds};
use crate::histogram::Histogram;
use crate::process;

/// Connects and closes, over and over.
#[derive(clap::Args)]
pub struct Handshakes {
    /// The server.
    #[arg(long)]
    pub target: SocketAddr,
    /// Its process.
    #[arg(long)]
    pub pid: u32,
    /// Handshakes under way at any time.
    #[arg(long, default_value_t = 16)]
    pub in_flight: usize,
    /// How long to run before measuring.
    #[arg(long, value_parser = seconds, default_value = "1")]
    pub warm_up: Duration,
    /// How long to measure.
    #[arg(long = "seconds", value_parser = seconds, default_value = "5")]
    pub duration: Duration,
}

impl Handshakes {
    /// Runs and measures.
    pub fn run(&self) -> Result<Value> {
        raise_open_files(self.in_flight);
        let mut swarm = Swarm::new()?;
        let mut begun = Vec::new();
        for _ in 0..self.in_flight {
            self.begin(&mut swarm, &mut begun)?;
        }
        self.run_for(&mut swarm, &mut begun, self.warm_up)?;
        let cpu = process::cpu_ns(self.pid)?;
        let started = Instant::now();
        let durations = self.run_for(&mut swarm, &mut begun, self.duration)?;
        let elapsed = started.elapsed();
        let cpu = process::cpu_ns(self.pid)? - cpu;
        Ok(json!({
            "mode": "handshakes",
            "in_flight": self.in_flight,
            "seconds": elapsed.as_secs_f64(),
            "handshakes": durations.count(),
            "cpu_us_per_handshake": cpu as f64 / 1000.0 / durations.count() as f64,
            "p50_us": durations.percentile_us(0.50),
            "p99_us": durations.percentile_us(0.99),
        }))
    }

    fn begin(&self, swarm: &mut Swarm, begun: &mut Vec<Instant>) -> Result<()> {
        let client = swarm.open(self.target, Opening::WebSocket)?;
        if begun.len() <= client {
            begun.resize(client + 1, Instant::now());
        }
        begun[client] = Instant::now();
        Ok(())
    }

    fn run_for(
        &self,
        swarm: &mut Swarm,
        begun: &mut Vec<Instant>,
        duration: Duration,
    ) -> Result<Histogram> {
        let started = Instant::now();
        let mut durations = Histogram::default();
        let mut happenings: Vec<Happening> = Vec::new();
        while started.elapsed() < duration {
            swarm.turn(PATIENCE, &mut happenings)?;
            if happenings.is_empty() {
                bail!(
                    "no handshake was completed for {PATIENCE:?}, {} into the run",
                    durations.count()
                );
            }
            let mut completed = 0;
            for happening in happenings.drain(..) {
                match happening.kind {
                    Kind::Ready => {
                        durations.record(
                            happening
                                .at
                                .saturating_duration_since(begun[happening.client])
                                .as_nanos() as u64,
                        );
                        swarm.close(happening.client);
                        completed += 1;
                    }
                    Kind::Closed => bail!(
                        "the server closed a connection {} handshakes into the run",
                        durations.count()
                    ),
                    Kind::Message(_) => {}
                }
            }
            // After the whole turn: a place left in it may still be named by a later event of it.
            for _ in 0..completed {
                self.begin(swarm, begun)?;
            }
        }
        Ok(durations)
    }
}
