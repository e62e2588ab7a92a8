//! Connected clients that do nothing: what one of them costs in memory.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{Kind, Opening, Swarm, Transport, raise_open_files, seconds};
use crate::process;

/// Clients connected before the first look at the memory, so that what a server allocates once is not charged to the clients.
const WARM_UP_CLIENTS: usize = 100;

/// Connects, stays, and looks at the server's memory.
#[derive(clap::Args)]
pub struct Idle {
    /// The server.
    #[arg(long)]
    pub target: SocketAddr,
    /// Its process.
    #[arg(long)]
    pub pid: u32,
    /// What they are connected by.
    #[arg(long, value_enum, default_value = "websocket")]
    pub transport: Transport,
    /// How many clients the memory is divided by.
    #[arg(long, default_value_t = 10_000)]
    pub clients: usize,
    /// Handshakes under way while connecting.
    #[arg(long, default_value_t = 50)]
    pub handshakes: usize,
    /// How long to stay idle before the memory is looked at, both times.
    #[arg(long, value_parser = seconds, default_value = "3")]
    pub settle: Duration,
}

impl Idle {
    /// Connects and measures.
    pub fn run(&self) -> Result<Value> {
        raise_open_files(self.clients + WARM_UP_CLIENTS);
        let mut swarm = Swarm::new()?;
        let opening = Opening::from(self.transport);
        swarm.connect_as(&opening, self.target, WARM_UP_CLIENTS, self.handshakes)?;
        self.stay(&mut swarm)?;
        let before = process::rss_kib(self.pid)?;
        let kernel_before = process::kernel_tcp_kib()?;
        let cpu = process::cpu_ns(self.pid)?;
        swarm.connect_as(&opening, self.target, self.clients, self.handshakes)?;
        let cpu = process::cpu_ns(self.pid)? - cpu;
        self.stay(&mut swarm)?;
        let after = process::rss_kib(self.pid)?;
        Ok(json!({
            "mode": "idle",
            "clients": self.clients,
            "transport": format!("{:?}", self.transport).to_lowercase(),
            "kernel_tcp_kib": process::kernel_tcp_kib()?.saturating_sub(kernel_before),
            "rss_kib_before": before,
            "rss_kib_after": after,
            "rss_kib_per_client": (after as f64 - before as f64) / self.clients as f64,
            "cpu_us_per_connect": cpu as f64 / 1000.0 / self.clients as f64,
        }))
    }

    /// Answers pings for the time it takes to settle.
    fn stay(&self, swarm: &mut Swarm) -> Result<()> {
        let started = Instant::now();
        let mut happenings = Vec::new();
        while let Some(left) = self
            .settle
            .checked_sub(started.elapsed())
            .filter(|left| !left.is_zero())
        {
            swarm.turn(left, &mut happenings)?;
            if happenings
                .drain(..)
                .any(|happening| matches!(happening.kind, Kind::Closed))
            {
                bail!("the server closed an idle client");
            }
        }
        Ok(())
    }
}
