//! Clients that come and go at a fixed rate, in every manner that clients have of ending: does the server's memory grow?

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{Happening, Kind, Opening, Swarm, raise_open_files, seconds};
use crate::process;

/// What becomes of a client, and of how many in a hundred.
const FATES: [(Fate, u32); 8] = [
    (Fate::Leaves, 45),
    (Fate::Vanishes, 20),
    (Fate::OwesAnswer, 8),
    (Fate::CutPoll, 7),
    (Fate::AbandonsSession, 8),
    (Fate::HalfUpgrade, 5),
    (Fate::Stranger, 4),
    (Fate::Fragment, 3),
];
/// A client lives up to this long: with a thousand a second about a thousand are there at a time.
const LONGEST_LIFE: Duration = Duration::from_secs(2);
/// Clients at a time, in seconds of arrivals; a server that falls behind this far is not loaded further.
const MAX_BACKLOG_S: u64 = 8;
/// How often the loop looks at the clock while nothing happens.
const TICK: Duration = Duration::from_millis(2);
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// The memory at the start is the median of this many last seconds of the warm-up.
const START_SAMPLES: usize = 10;

/// How a client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// WebSocket, joins, closes its TCP connection.
    Leaves,
    /// WebSocket, joins, resets its connection.
    Vanishes,
    /// WebSocket, joins, makes the server ask for an acknowledgement and never gives it.
    OwesAnswer,
    /// Polling, joins, resets the connection of the GET that it holds.
    CutPoll,
    /// Polling, joins, and never polls: the session is left to its time-out.
    AbandonsSession,
    /// Polling, joins, and begins an upgrade that it never finishes.
    HalfUpgrade,
    /// WebSocket that joins nothing.
    Stranger,
    /// Half a request.
    Fragment,
}

impl Fate {
    fn opening(self) -> Opening {
        match self {
            Fate::Leaves | Fate::Vanishes | Fate::OwesAnswer => Opening::WebSocket,
            Fate::CutPoll | Fate::HalfUpgrade => Opening::Polling,
            Fate::AbandonsSession => Opening::Abandoned,
            Fate::Stranger => Opening::Stranger,
            Fate::Fragment => Opening::Fragment,
        }
    }
}

/// Connects and disconnects at a fixed rate, and watches the server's memory.
#[derive(clap::Args)]
pub struct Churn {
    /// The server.
    #[arg(long)]
    pub target: SocketAddr,
    /// Its process.
    #[arg(long)]
    pub pid: u32,
    /// Clients per second.
    #[arg(long, default_value_t = 1000)]
    pub rate: u64,
    /// How long clients come and go before the memory counts.
    #[arg(long, value_parser = seconds, default_value = "60")]
    pub warm_up: Duration,
    /// How long it counts.
    #[arg(long = "seconds", value_parser = seconds, default_value = "600")]
    pub duration: Duration,
    /// How long the server has to forget the last clients: longer than its time-outs.
    #[arg(long, value_parser = seconds, default_value = "25")]
    pub quiesce: Duration,
}

/// A life to end: when, whose place, and which of its successive owners.
type End = Reverse<(Instant, usize, u64)>;

struct Run<'a> {
    plan: &'a Churn,
    swarm: Swarm,
    /// By place: fate and serial number of the client there.
    lives: Vec<Option<(Fate, u64)>>,
    ends: BinaryHeap<End>,
    open: usize,
    opened: u64,
    /// Arrivals that a backlog of clients did not let in.
    held_back: u64,
    ready: BTreeMap<String, u64>,
    closed_by_server: BTreeMap<String, u64>,
    random: fastrand::Rng,
    rss: Vec<u64>,
    next_sample: Instant,
}

impl Churn {
    /// Runs and watches.
    pub fn run(&self) -> Result<Value> {
        raise_open_files((self.rate * MAX_BACKLOG_S) as usize);
        if process::rss_kib(self.pid)? == 0 {
            bail!("the server has no memory");
        }
        let mut run = Run {
            plan: self,
            swarm: Swarm::new()?,
            lives: Vec::new(),
            ends: BinaryHeap::new(),
            open: 0,
            opened: 0,
            held_back: 0,
            ready: BTreeMap::new(),
            closed_by_server: BTreeMap::new(),
            random: fastrand::Rng::with_seed(1),
            rss: Vec::new(),
            next_sample: Instant::now() + SAMPLE_INTERVAL,
        };
        let files_before = process::open_files(self.pid)?;
        run.go(self.warm_up, true)?;
        let warm = run.rss.len();
        let start = median(&run.rss[warm.saturating_sub(START_SAMPLES)..]);
        let (opened, began) = (run.opened, Instant::now());
        run.go(self.duration, true)?;
        let rate = (run.opened - opened) as f64 / began.elapsed().as_secs_f64();
        let max = run.rss[warm..].iter().copied().max().unwrap_or(start);
        let under_load = median(&run.rss[run.rss.len().saturating_sub(START_SAMPLES)..]);
        run.end_all();
        run.go(self.quiesce, false)?;
        Ok(json!({
            "mode": "churn",
            "rate": rate,
            "clients": run.opened,
            "held_back": run.held_back,
            "complete": run.ready,
            "closed_by_server": run.closed_by_server,
            "rss_kib_start": start,
            "rss_kib_max": max,
            "rss_kib_under_load": under_load,
            "rss_kib_end": process::rss_kib(self.pid)?,
            "files_before": files_before,
            "files_end": process::open_files(self.pid)?,
            "rss_kib_by_second": run.rss,
        }))
    }
}

impl Run<'_> {
    /// Lets time pass, with or without arrivals.
    fn go(&mut self, duration: Duration, arrivals: bool) -> Result<()> {
        let (began, opened) = (Instant::now(), self.opened + self.held_back);
        let mut happenings = Vec::new();
        while began.elapsed() < duration {
            if arrivals {
                let due = (began.elapsed().as_secs_f64() * self.plan.rate as f64) as u64;
                while self.opened + self.held_back - opened < due {
                    self.arrive()?;
                }
            }
            self.swarm.turn(TICK, &mut happenings)?;
            for happening in happenings.drain(..) {
                self.notice(&happening)?;
            }
            self.end_due();
            if Instant::now() >= self.next_sample {
                self.next_sample += SAMPLE_INTERVAL;
                self.rss.push(process::rss_kib(self.plan.pid)?);
            }
        }
        Ok(())
    }

    fn arrive(&mut self) -> Result<()> {
        if self.open as u64 >= self.plan.rate * MAX_BACKLOG_S {
            self.held_back += 1;
            return Ok(());
        }
        let mut lot = self.random.u32(0..100);
        let fate = FATES.iter().find(|(_, share)| {
            let drawn = lot < *share;
            lot = lot.saturating_sub(*share);
            drawn
        });
        let fate = fate.map_or(Fate::Leaves, |(fate, _)| *fate);
        self.opened += 1;
        self.open(fate, fate.opening())
    }

    fn open(&mut self, fate: Fate, opening: Opening) -> Result<()> {
        let place = self.swarm.open(self.plan.target, opening)?;
        if self.lives.len() <= place {
            self.lives.resize(place + 1, None);
        }
        let serial = self.random.u64(..);
        self.lives[place] = Some((fate, serial));
        self.open += 1;
        let life = LONGEST_LIFE.mul_f64(self.random.f64());
        self.ends
            .push(Reverse((Instant::now() + life, place, serial)));
        Ok(())
    }

    fn notice(&mut self, happening: &Happening) -> Result<()> {
        let place = happening.client;
        let Some((fate, _)) = self.lives[place] else {
            return Ok(());
        };
        match happening.kind {
            Kind::Message(_) => {}
            Kind::Closed => {
                *self.closed_by_server.entry(name(fate)).or_default() += 1;
                self.lives[place] = None;
                self.open -= 1;
            }
            Kind::Ready => {
                *self.ready.entry(name(fate)).or_default() += 1;
                let sid = self.swarm.sid(place).map(str::to_owned);
                match (fate, sid) {
                    (Fate::OwesAnswer, _) => self.swarm.send(place, br#"42["ask"]"#)?,
                    (Fate::HalfUpgrade, Some(sid)) => self.open(fate, Opening::Probe(sid))?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn end_due(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, place, serial))) = self.ends.peek().copied() {
            if at > now {
                return;
            }
            self.ends.pop();
            if let Some((fate, owner)) = self.lives[place]
                && owner == serial
            {
                self.end(place, fate);
            }
        }
    }

    fn end(&mut self, place: usize, fate: Fate) {
        self.lives[place] = None;
        self.open -= 1;
        if fate == Fate::Leaves {
            self.swarm.close(place);
        } else {
            self.swarm.reset(place);
        }
    }

    fn end_all(&mut self) {
        for place in 0..self.lives.len() {
            if let Some((fate, _)) = self.lives[place] {
                self.end(place, fate);
            }
        }
    }
}

fn name(fate: Fate) -> String {
    format!("{fate:?}")
}

fn median(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_a_fate() {
        assert_eq!(FATES.iter().map(|(_, share)| share).sum::<u32>(), 100);
    }
}
