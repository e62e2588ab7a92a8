//! Some clients stop reading while broadcasts go on: what do they cost the server and the others, and for how long?

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{Happening, Kind, Swarm, raise_open_files, seconds};
use crate::histogram::Histogram;
use crate::process;

const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// How often the loop looks at the clock while nothing happens.
const TICK: Duration = Duration::from_millis(2);
/// Broadcasts whose moment is remembered: what arrives later than this many broadcasts after its own is not counted.
const REMEMBERED: usize = 4096;

/// Broadcasts at a fixed rate, some clients stop reading, and the server's memory, descriptors and latencies are watched.
#[derive(clap::Args)]
pub struct SlowReaders {
    /// The server.
    #[arg(long)]
    pub target: SocketAddr,
    /// Its process.
    #[arg(long)]
    pub pid: u32,
    /// Clients in the room.
    #[arg(long, default_value_t = 10_000)]
    pub clients: usize,
    /// How many of them stop reading.
    #[arg(long, default_value_t = 500)]
    pub slow: usize,
    /// Broadcasts per second.
    #[arg(long, default_value_t = 5.0)]
    pub rate: f64,
    /// Bytes of the argument.
    #[arg(long, default_value_t = 4096)]
    pub payload: usize,
    /// How long everybody reads.
    #[arg(long, value_parser = seconds, default_value = "10")]
    pub before: Duration,
    /// How long the server has to be rid of those who stopped; without any, how long the middle of the run is.
    #[arg(long, value_parser = seconds, default_value = "90")]
    pub deadline: Duration,
    /// How long the run goes on after that.
    #[arg(long, value_parser = seconds, default_value = "20")]
    pub after: Duration,
}

struct Run<'a> {
    plan: &'a SlowReaders,
    swarm: Swarm,
    publisher: usize,
    padding: String,
    /// Sequence number of the first of `sent`.
    first: u64,
    sent: VecDeque<Instant>,
    next_publish: Instant,
    next_sample: Instant,
    began: Instant,
    lost: usize,
    timeline: Vec<Value>,
}

impl SlowReaders {
    /// Runs and watches.
    pub fn run(&self) -> Result<Value> {
        if self.slow >= self.clients {
            bail!("somebody must go on reading");
        }
        raise_open_files(self.clients);
        let mut swarm = Swarm::new()?;
        let clients = swarm.connect(self.target, self.clients, 100)?;
        let now = Instant::now();
        let mut run = Run {
            plan: self,
            swarm,
            publisher: clients[0],
            padding: Swarm::padding(self.payload),
            first: 0,
            sent: VecDeque::new(),
            next_publish: now,
            next_sample: now,
            began: now,
            lost: 0,
            timeline: Vec::new(),
        };
        let before = run.go(self.before, |_| Ok(false))?;
        let files = process::open_files(self.pid)?;
        for client in &clients[self.clients - self.slow..] {
            run.swarm.stop_reading(*client);
        }
        let stopped = Instant::now();
        let pid = self.pid;
        let all_gone = files - self.slow.min(files);
        let is_rid = |_: &Run<'_>| Ok(self.slow > 0 && process::open_files(pid)? <= all_gone);
        let during = run.go(self.deadline, is_rid)?;
        let gone_after = stopped.elapsed();
        let left = process::open_files(self.pid)?.saturating_sub(all_gone);
        let after = run.go(self.after, |_| Ok(false))?;
        Ok(json!({
            "mode": "slow-readers",
            "clients": self.clients,
            "slow": self.slow,
            "rate": self.rate,
            "payload": self.payload,
            "before": latencies(&before),
            "during": latencies(&during),
            "after": latencies(&after),
            "gone_after_s": gone_after.as_secs_f64(),
            "descriptors_left": if self.slow > 0 { left } else { 0 },
            "others_lost": run.lost,
            "timeline": run.timeline,
        }))
    }
}

impl Run<'_> {
    /// Broadcasts for a time, or until `enough` says so, which is asked once a second.
    fn go(
        &mut self,
        duration: Duration,
        enough: impl Fn(&Self) -> Result<bool>,
    ) -> Result<Histogram> {
        let end = Instant::now() + duration;
        let interval = Duration::from_secs_f64(1.0 / self.plan.rate);
        let mut histogram = Histogram::default();
        let mut happenings = Vec::new();
        while Instant::now() < end {
            if Instant::now() >= self.next_publish {
                self.next_publish += interval;
                self.publish()?;
            }
            self.swarm.turn(TICK, &mut happenings)?;
            for happening in happenings.drain(..) {
                self.take(&happening, &mut histogram);
            }
            if Instant::now() >= self.next_sample {
                self.next_sample += SAMPLE_INTERVAL;
                self.sample()?;
                if enough(self)? {
                    break;
                }
            }
        }
        Ok(histogram)
    }

    fn publish(&mut self) -> Result<()> {
        let sequence = self.first + self.sent.len() as u64;
        self.sent.push_back(Instant::now());
        if self.sent.len() > REMEMBERED {
            self.sent.pop_front();
            self.first += 1;
        }
        self.swarm.publish(self.publisher, sequence, &self.padding)
    }

    fn take(&mut self, happening: &Happening, histogram: &mut Histogram) {
        match happening.kind {
            Kind::Message(sequence) => {
                let index = sequence.checked_sub(self.first).map(|index| index as usize);
                if let Some(sent) = index.and_then(|index| self.sent.get(index)) {
                    let took = happening.at.saturating_duration_since(*sent);
                    histogram.record(took.as_nanos() as u64);
                }
            }
            // Those who have stopped reading do not notice their end.
            Kind::Closed => self.lost += 1,
            Kind::Ready => {}
        }
    }

    fn sample(&mut self) -> Result<()> {
        self.timeline.push(json!({
            "at_s": self.began.elapsed().as_secs_f64(),
            "rss_kib": process::rss_kib(self.plan.pid)?,
            "files": process::open_files(self.plan.pid)?,
            "kernel_tcp_kib": process::kernel_tcp_kib()?,
        }));
        Ok(())
    }
}

fn latencies(histogram: &Histogram) -> Value {
    json!({
        "deliveries": histogram.count(),
        "p50_us": histogram.percentile_us(0.50),
        "p99_us": histogram.percentile_us(0.99),
        "max_us": histogram.percentile_us(1.0),
    })
}
