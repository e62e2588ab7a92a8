//! Servers whose connections to Redis are taken away: how long until they hear each other again, with many rooms?

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::cross::introduce;
use super::race::INTRODUCTION;
use super::{PATIENCE, Swarm};
use crate::process;
use crate::redis::Redis;

/// Rooms of one client: as many as a socket may be in by default, its own and `room` left out.
const ROOMS_PER_CLIENT: usize = 900;
/// How often an event is sent until one crosses.
const INTERVAL: Duration = Duration::from_millis(2);

/// Joins many rooms at one server, has Redis close all subscribed connections, and publishes to the last room until it is heard there.
#[derive(clap::Args)]
pub struct Rejoin {
    /// The server published at.
    #[arg(long)]
    pub publish_at: SocketAddr,
    /// The server with the rooms.
    #[arg(long)]
    pub receive_at: SocketAddr,
    /// Its process.
    #[arg(long)]
    pub pid: u32,
    /// The bus.
    #[arg(long)]
    pub redis: SocketAddr,
    /// How many rooms.
    #[arg(long, default_value_t = 10_000)]
    pub rooms: usize,
}

impl Rejoin {
    /// Joins, breaks and measures.
    pub fn run(&self) -> Result<Value> {
        let mut redis = Redis::connect(self.redis)?;
        let mut swarm = Swarm::new()?;
        let publisher = swarm.connect(self.publish_at, 1, 1)?[0];
        let clients = self.rooms.div_ceil(ROOMS_PER_CLIENT);
        let members = swarm.connect(self.receive_at, clients, 1)?;
        introduce(&mut swarm, publisher, members[0])?;
        let rooms: Vec<String> = (0..self.rooms).map(|room| format!("r{room}")).collect();
        for (client, rooms) in members.iter().zip(rooms.chunks(ROOMS_PER_CLIENT)) {
            let rooms = json!(rooms);
            swarm.send(*client, format!(r#"42["join",{rooms}]"#).as_bytes())?;
        }
        let last = (members[clients - 1], &rooms[self.rooms - 1]);
        let joined = until_heard(&mut swarm, publisher, last)?;
        let cpu = process::cpu_ns(self.pid)?;
        redis.command("CLIENT KILL TYPE pubsub")?;
        let healed = until_heard(&mut swarm, publisher, last)?;
        let cpu = process::cpu_ns(self.pid)? - cpu;
        Ok(json!({
            "mode": "rejoin",
            "rooms": self.rooms,
            "joined_ms": joined.as_secs_f64() * 1000.0,
            "healed_ms": healed.as_secs_f64() * 1000.0,
            "cpu_ms": cpu as f64 / 1e6,
        }))
    }
}

/// Publishes to the room until its member hears it, and some more of what was under way.
fn until_heard(
    swarm: &mut Swarm,
    publisher: usize,
    (member, room): (usize, &String),
) -> Result<Duration> {
    let started = Instant::now();
    let mut happenings = Vec::new();
    while started.elapsed() < PATIENCE {
        let text = format!(r#"42["tell","{room}","{INTRODUCTION}"]"#);
        swarm.send(publisher, text.as_bytes())?;
        let sent = Instant::now();
        while let Some(left) = INTERVAL.checked_sub(sent.elapsed()) {
            swarm.turn(left.max(Duration::from_millis(1)), &mut happenings)?;
            if happenings
                .drain(..)
                .any(|happening| happening.client == member)
            {
                let heard = started.elapsed();
                // What is still on its way would look like an event that crosses later.
                while swarm
                    .turn(Duration::from_millis(100), &mut happenings)
                    .is_ok()
                    && !happenings.is_empty()
                {
                    happenings.clear();
                }
                return Ok(heard);
            }
        }
    }
    bail!("no event crossed to the last room in {PATIENCE:?}")
}
