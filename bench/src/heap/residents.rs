//! Where the bytes of an idle connection are.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::server::{self, Clients};
use super::site;
use crate::load::Transport;
use crate::process;

/// What a handshake needed is given back, and nothing is due for a while.
const SETTLE: Duration = Duration::from_secs(2);
/// Frames of a backtrace: from the allocator up to the line of this project that is behind it.
const FRAMES: usize = 24;

/// Attributes the memory of idle connections to the lines that asked for it.
#[derive(clap::Args)]
pub struct Residents {
    /// What they are connected by.
    #[arg(long, value_enum, default_value = "websocket")]
    pub transport: Transport,
    /// How many; what a server has once is divided by it, too, and small.
    #[arg(long, default_value_t = 5_000)]
    pub clients: usize,
    /// Also writes the whole profile there, for dhat's viewer.
    #[arg(long)]
    pub profile: Option<std::path::PathBuf>,
}

impl Residents {
    /// Runs and attributes.
    pub fn run(&self) -> Result<Value> {
        process::raise_open_files(self.clients as u64 + 64);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let path = self.profile.clone().unwrap_or_else(|| {
            std::env::temp_dir().join(format!("unisono-heap-{}.json", std::process::id()))
        });
        let profiler = dhat::Profiler::builder()
            .file_name(&path)
            .trim_backtraces(Some(FRAMES))
            .build();
        let (_io, address) = runtime.block_on(server::start())?;
        let transport = format!("{:?}", self.transport).to_lowercase();
        let clients = Clients::start(address, &transport, self.clients)?;
        std::thread::sleep(SETTLE);
        let heap = dhat::HeapStats::get().curr_bytes;
        // Writes the profile, while everybody is still connected.
        drop(profiler);
        drop(clients);
        let profile = std::fs::read_to_string(&path)?;
        if self.profile.is_none() {
            std::fs::remove_file(&path)?;
        }
        let profile = serde_json::from_str(&profile).context("dhat wrote no JSON")?;
        Ok(json!({
            "mode": "residents",
            "transport": transport,
            "clients": self.clients,
            "heap_bytes_per_client": heap as f64 / self.clients as f64,
            "sites": site::attribute(&profile, self.clients),
        }))
    }
}
