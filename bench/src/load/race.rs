//! Publishes side by side, each started again as soon as it has reached everybody.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Happening, Kind, PATIENCE, Swarm};
use crate::histogram::Histogram;

/// Sequence number of what is published before the run, beyond those of any run.
pub(super) const INTRODUCTION: u64 = 999_999_999_999;

/// One publish under way.
struct Lap {
    publisher: usize,
    sequence: u64,
    sent: Instant,
    /// Deliveries still to come.
    missing: usize,
}

/// A number of laps side by side, each started again as soon as it is complete.
pub(super) struct Race {
    swarm: Swarm,
    laps: Vec<Lap>,
    /// Deliveries to this client alone count, if set.
    receiver: Option<usize>,
    recipients: usize,
    padding: String,
    pub(super) latencies: Histogram,
    pub(super) completed: u64,
    happenings: Vec<Happening>,
}

impl Race {
    pub(super) fn start(
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

    pub(super) fn reset(&mut self) {
        self.latencies = Histogram::default();
        self.completed = 0;
    }

    /// Until the time is over or `most` was delivered, but not before as many deliveries as are under way at a time: the latencies of half a lap would be
    /// those of its lucky half. How long it took.
    pub(super) fn run_for(&mut self, duration: Duration, most: u64) -> Result<Duration> {
        let started = Instant::now();
        let before = self.latencies.count();
        let least = (self.laps.len() * self.recipients) as u64;
        loop {
            let delivered = self.latencies.count() - before;
            if delivered >= least && (started.elapsed() >= duration || delivered >= most) {
                return Ok(started.elapsed());
            }
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
