//! Publishing to a room within one server.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::race::Race;
use super::{Swarm, raise_open_files, seconds};
use crate::process;

/// One server, everybody in one room.
#[derive(clap::Args)]
pub struct Fanout {
    /// The server.
    #[arg(long)]
    pub target: SocketAddr,
    /// Its process.
    #[arg(long)]
    pub pid: u32,
    /// Clients in the room.
    #[arg(long, default_value_t = 1000)]
    pub clients: usize,
    /// Publishes under way at any time, each from a client of its own as far as there are so many.
    #[arg(long, default_value_t = 1)]
    pub in_flight: usize,
    /// Bytes of the argument.
    #[arg(long, default_value_t = 100)]
    pub payload: usize,
    /// How long to run before measuring.
    #[arg(long, value_parser = seconds, default_value = "1")]
    pub warm_up: Duration,
    /// How long to measure.
    #[arg(long = "seconds", value_parser = seconds, default_value = "5")]
    pub duration: Duration,
    /// Handshakes under way while connecting.
    #[arg(long, default_value_t = 100)]
    pub handshakes: usize,
    /// Ends the warm-up, and the measuring, when this many bytes of payload were delivered, should that come first.
    #[arg(long, default_value_t = u64::MAX)]
    pub max_bytes: u64,
}

impl Fanout {
    /// Connects, publishes and measures.
    pub fn run(&self) -> Result<Value> {
        raise_open_files(self.clients);
        let mut swarm = Swarm::new()?;
        let clients = swarm.connect(self.target, self.clients, self.handshakes)?;
        let publishers: Vec<usize> = clients
            .iter()
            .copied()
            .cycle()
            .take(self.in_flight)
            .collect();
        let mut race = Race::start(swarm, &publishers, None, clients.len(), self.payload)?;
        let max_deliveries = (self.max_bytes / self.payload.max(1) as u64).max(1);
        race.run_for(self.warm_up, max_deliveries)?;
        race.reset();
        let own = std::process::id();
        let (cpu, own_cpu) = (process::cpu_ns(self.pid)?, process::cpu_ns(own)?);
        let elapsed = race.run_for(self.duration, max_deliveries)?;
        let cpu = process::cpu_ns(self.pid)? - cpu;
        let own_cpu = process::cpu_ns(own)? - own_cpu;
        let deliveries = race.latencies.count();
        Ok(json!({
            "mode": "fanout",
            "clients": self.clients,
            "in_flight": self.in_flight,
            "payload": self.payload,
            "seconds": elapsed.as_secs_f64(),
            "published": race.completed,
            "deliveries": deliveries,
            "cpu_us_per_delivery": cpu as f64 / 1000.0 / deliveries as f64,
            "p50_us": race.latencies.percentile_us(0.50),
            "p99_us": race.latencies.percentile_us(0.99),
            "rss_kib": process::rss_kib(self.pid)?,
            // Near 1, the generator sets the pace; the CPU time per delivery is the server's own all the same.
            "generator_busy": own_cpu as f64 / elapsed.as_nanos() as f64,
        }))
    }
}
