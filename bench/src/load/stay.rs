//! Connected clients for somebody else to look at.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{Kind, Opening, Swarm, Transport, raise_open_files};

/// How often the end of the input is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// Connects, prints `up`, and stays until its input ends.
#[derive(clap::Args)]
pub struct Stay {
    /// The server.
    #[arg(long)]
    pub target: SocketAddr,
    /// What they are connected by.
    #[arg(long, value_enum, default_value = "websocket")]
    pub transport: Transport,
    /// How many.
    #[arg(long, default_value_t = 1000)]
    pub clients: usize,
    /// Handshakes under way while connecting.
    #[arg(long, default_value_t = 50)]
    pub handshakes: usize,
}

impl Stay {
    /// Runs until the input ends.
    pub fn run(&self) -> Result<Value> {
        raise_open_files(self.clients);
        let mut swarm = Swarm::new()?;
        swarm.connect_as(
            &Opening::from(self.transport),
            self.target,
            self.clients,
            self.handshakes,
        )?;
        println!("up");
        let over = Arc::new(AtomicBool::new(false));
        let end = over.clone();
        std::thread::spawn(move || {
            // Ends with an error as well.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            end.store(true, Ordering::Relaxed);
        });
        let (mut messages, mut happenings) = (0u64, Vec::new());
        while !over.load(Ordering::Relaxed) {
            swarm.turn(LOOK, &mut happenings)?;
            for happening in happenings.drain(..) {
                match happening.kind {
                    Kind::Message(_) => messages += 1,
                    Kind::Closed => bail!("the server closed an idle client"),
                    Kind::Ready => {}
                }
            }
        }
        Ok(json!({"mode": "stay", "clients": self.clients, "messages": messages}))
    }
}
