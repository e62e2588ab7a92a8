//! Publishing to a room from one server to another.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::race::{INTRODUCTION, Race};
use super::{PATIENCE, Swarm, seconds};
use crate::process;
use crate::redis::{Redis, Traffic};

/// How long to wait before publishing it again.
const INTRODUCTION_INTERVAL: Duration = Duration::from_millis(100);

/// Servers on one bus: one client publishes at the one, one receives at another (or at the same, where the others' part is looked at alone).
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
    /// The bus, to be asked what it sent and read.
    #[arg(long)]
    pub redis: Option<SocketAddr>,
    /// Publishes under way at any time.
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
}

impl Cross {
    /// Connects, publishes and measures.
    pub fn run(&self) -> Result<Value> {
        let mut redis = self.redis.map(Redis::connect).transpose()?;
        let mut swarm = Swarm::new()?;
        let publisher = swarm.connect(self.publish_at, 1, 1)?[0];
        let receiver = swarm.connect(self.receive_at, 1, 1)?[0];
        introduce(&mut swarm, publisher, receiver)?;
        let publishers = vec![publisher; self.in_flight];
        let mut race = Race::start(swarm, &publishers, Some(receiver), 1, self.payload)?;
        race.run_for(self.warm_up, u64::MAX)?;
        race.reset();
        let (cpu, traffic) = (self.cpu()?, told(redis.as_mut())?);
        let elapsed = race.run_for(self.duration, u64::MAX)?;
        let (cpu_after, traffic_after) = (self.cpu()?, told(redis.as_mut())?);
        let events = race.completed;
        let each = |count: u64| count as f64 / events as f64;
        let spent = cpu_after.iter().zip(&cpu);
        let spent: Vec<f64> = spent
            .map(|(after, before)| each(after - before) / 1000.0)
            .collect();
        Ok(json!({
            "mode": "cross",
            "in_flight": self.in_flight,
            "payload": self.payload,
            "seconds": elapsed.as_secs_f64(),
            "events": events,
            "cpu_us_per_event": spent,
            "redis_bytes_sent_per_event": each(traffic_after.output_bytes - traffic.output_bytes),
            "redis_reads_per_event": each(traffic_after.reads - traffic.reads),
            "p50_us": race.latencies.percentile_us(0.50),
            "p99_us": race.latencies.percentile_us(0.99),
        }))
    }

    fn cpu(&self) -> Result<Vec<u64>> {
        self.pids.iter().map(|pid| process::cpu_ns(*pid)).collect()
    }
}

fn told(redis: Option<&mut Redis>) -> Result<Traffic> {
    redis.map_or(Ok(Traffic::default()), Redis::traffic)
}

/// Publishes until the receiver hears it: servers may listen before their bus does.
pub(super) fn introduce(swarm: &mut Swarm, publisher: usize, receiver: usize) -> Result<()> {
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
