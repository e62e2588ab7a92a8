//! Publishing to a room: within one server, and from one server to another.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::race::{INTRODUCTION, Race};
use super::{PATIENCE, Swarm, raise_open_files, seconds};
use crate::process;

/// How long to wait before publishing it again.
const INTRODUCTION_INTERVAL: Duration = Duration::from_millis(100);

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

/// Two servers on one bus: one client publishes at the one, one receives at the other.
#[derive(clap::Args)]
pub struct Cross {
    /// The server published at.
    #[arg(long)]
    pub publish_at: SocketAddr,
    /// The server received at.
    #[arg(long)]
    pub receive_at: SocketAddr,
    /// The processes whose CPU time counts, in the order in which it is reported.
    #[arg(long, value_delimiter = ',')]
    pub pids: Vec<u32>,
    /// Bytes of the argument.
    #[arg(long, default_value_t = 100)]
    pub payload: usize,
    /// How long to run before measuring.
    #[arg(long, value_parser = seconds, default_value = "1")]
    pub warm_up: Duration,
    /// How long to measure.
    #[arg(long = "seconds", value_parser = seconds, default_value = "5")]
    pub duration: Duration,
}

impl Cross {
    /// Connects, publishes and measures.
    pub fn run(&self) -> Result<Value> {
        let mut swarm = Swarm::new()?;
        let publisher = swarm.connect(self.publish_at, 1, 1)?;
        let receiver = swarm.connect(self.receive_at, 1, 1)?[0];
        introduce(&mut swarm, publisher[0], receiver)?;
        let mut race = Race::start(swarm, &publisher, Some(receiver), 1, self.payload)?;
        race.run_for(self.warm_up, u64::MAX)?;
        race.reset();
        let cpu_before = self.cpu()?;
        let elapsed = race.run_for(self.duration, u64::MAX)?;
        let events = race.completed;
        let spent: Vec<f64> = self
            .cpu()?
            .iter()
            .zip(cpu_before)
            .map(|(after, before)| (after - before) as f64 / 1000.0 / events as f64)
            .collect();
        Ok(json!({
            "mode": "cross",
            "payload": self.payload,
            "seconds": elapsed.as_secs_f64(),
            "events": events,
            "cpu_us_per_event": spent,
            "p50_us": race.latencies.percentile_us(0.50),
            "p99_us": race.latencies.percentile_us(0.99),
        }))
    }

    fn cpu(&self) -> Result<Vec<u64>> {
        self.pids.iter().map(|pid| process::cpu_ns(*pid)).collect()
    }
}

/// Publishes until the receiver hears it: servers may listen before their bus does.
fn introduce(swarm: &mut Swarm, publisher: usize, receiver: usize) -> Result<()> {
    let started = Instant::now();
    let mut happenings = Vec::new();
    while started.elapsed() < PATIENCE {
        swarm.publish(publisher, INTRODUCTION, "")?;
        let sent = Instant::now();
        while let Some(left) = INTRODUCTION_INTERVAL.checked_sub(sent.elapsed()) {
            swarm.turn(left.max(Duration::from_millis(1)), &mut happenings)?;
            if happenings
                .drain(..)
                .any(|happening| happening.client == receiver)
            {
                return Ok(());
            }
        }
    }
    bail!("no event crossed from one server to the other in {PATIENCE:?}")
}
