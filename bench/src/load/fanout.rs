//! Publishing to a room: within one server, and from one server to another.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{Happening, Kind, PATIENCE, Swarm, raise_open_files, seconds};
use crate::histogram::Histogram;
use crate::process;

/// Sequence number of what is published before the run, beyond those of any run.
const INTRODUCTION: u64 = 999_999_999_999;
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
    /// Publishes under way at any time, each from a client of its own.
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
}

impl Fanout {
    /// Connects, publishes and measures.
    pub fn run(&self) -> Result<Value> {
        raise_open_files(self.clients);
        let mut swarm = Swarm::new()?;
        let clients = swarm.connect(self.target, self.clients, self.handshakes)?;
        let publishers: Vec<usize> = clients.iter().copied().take(self.in_flight).collect();
        let mut race = Race::start(swarm, &publishers, None, clients.len(), self.payload)?;
        race.run_for(self.warm_up)?;
        race.reset();
        let cpu = process::cpu_ns(self.pid)?;
        let elapsed = race.run_for(self.duration)?;
        let cpu = process::cpu_ns(self.pid)? - cpu;
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
        race.run_for(self.warm_up)?;
        race.reset();
        let cpu_before = self.cpu()?;
        let elapsed = race.run_for(self.duration)?;
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

/// One publish under way.
struct Lap {
    publisher: usize,
    sequence: u64,
    sent: Instant,
    /// Deliveries still to come.
    missing: usize,
}

/// A number of laps side by side, each started again as soon as it is complete.
struct Race {
    swarm: Swarm,
    laps: Vec<Lap>,
    /// Deliveries to this client alone count, if set.
    receiver: Option<usize>,
    recipients: usize,
    padding: String,
    latencies: Histogram,
    completed: u64,
    happenings: Vec<Happening>,
}

impl Race {
    fn start(
        swarm: Swarm,
        publishers: &[usize],
        receiver: Option<usize>,
        recipients: usize,
        payload: usize,
    ) -> Result<Self> {
        let now = Instant::now();
        let laps = (0u64..).zip(publishers).map(|(sequence, publisher)| Lap {
            publisher: *publisher,
            sequence,
            sent: now,
            missing: recipients,
        });
        let mut race = Self {
            laps: laps.collect(),
            swarm,
            receiver,
            recipients,
            padding: Swarm::padding(payload),
            latencies: Histogram::default(),
            completed: 0,
            happenings: Vec::new(),
        };
        for lap in &mut race.laps {
            lap.sent = Instant::now();
            race.swarm
                .publish(lap.publisher, lap.sequence, &race.padding)?;
        }
        Ok(race)
    }

    fn reset(&mut self) {
        self.latencies = Histogram::default();
        self.completed = 0;
    }

    fn run_for(&mut self, duration: Duration) -> Result<Duration> {
        let started = Instant::now();
        while started.elapsed() < duration {
            let mut happenings = std::mem::take(&mut self.happenings);
            self.swarm.turn(PATIENCE, &mut happenings)?;
            if happenings.is_empty() {
                bail!(
                    "nothing was delivered for {PATIENCE:?}, {} deliveries into the run",
                    self.latencies.count()
                );
            }
            for happening in happenings.drain(..) {
                self.take(&happening)?;
            }
            self.happenings = happenings;
        }
        Ok(started.elapsed())
    }

    fn take(&mut self, happening: &Happening) -> Result<()> {
        let sequence = match happening.kind {
            // One more of the introductions.
            Kind::Message(INTRODUCTION) => return Ok(()),
            Kind::Message(sequence) => sequence,
            Kind::Closed => bail!(
                "the server closed client {} during the run",
                happening.client
            ),
            Kind::Ready => return Ok(()),
        };
        if self
            .receiver
            .is_some_and(|receiver| receiver != happening.client)
        {
            return Ok(());
        }
        // Lap n of m uses the sequence numbers n, n + m, n + 2m, …
        let count = self.laps.len() as u64;
        let lap = &mut self.laps[(sequence % count) as usize];
        if lap.sequence != sequence {
            bail!("message {sequence} was delivered once too often");
        }
        self.latencies
            .record(happening.at.saturating_duration_since(lap.sent).as_nanos() as u64);
        lap.missing -= 1;
        if lap.missing == 0 {
            self.completed += 1;
            lap.sequence += count;
            lap.missing = self.recipients;
            lap.sent = Instant::now();
            self.swarm
                .publish(lap.publisher, lap.sequence, &self.padding)?;
        }
        Ok(())
    }
}
