//! Does a broadcast allocate per recipient?

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::server::{self, Clients, ROOM};

/// Broadcasts before the count begins: queues get their first capacity.
const WARM_UP: usize = 50;
/// Between two broadcasts: everybody has written the one before, so that no queue has to grow.
const PAUSE: Duration = Duration::from_millis(10);
/// Before the count is read: everything is written.
const SETTLE: Duration = Duration::from_millis(500);

/// Counts the allocations of a broadcast, for two numbers of recipients.
#[derive(clap::Args)]
pub struct Broadcasts {
    /// The smaller room.
    #[arg(long, default_value_t = 100)]
    pub few: usize,
    /// The larger one.
    #[arg(long, default_value_t = 1000)]
    pub many: usize,
    /// Broadcasts to count.
    #[arg(long, default_value_t = 200)]
    pub broadcasts: usize,
}

impl Broadcasts {
    /// Runs and counts.
    pub fn run(&self) -> Result<Value> {
        if self.few >= self.many {
            bail!("--few must be less than --many");
        }
        let _profiler = dhat::Profiler::builder().testing().build();
        let few = self.count(self.few)?;
        let many = self.count(self.many)?;
        Ok(json!({
            "mode": "broadcasts",
            "few": {"recipients": self.few, "allocations": few},
            "many": {"recipients": self.many, "allocations": many},
            "per_recipient": (many - few) / (self.many - self.few) as f64,
        }))
    }

    /// Allocations of one broadcast to so many.
    fn count(&self, recipients: usize) -> Result<f64> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let (io, address) = runtime.block_on(server::start())?;
        let _clients = Clients::start(address, "websocket", recipients)?;
        let emit = |count: usize| -> Result<()> {
            for _ in 0..count {
                if let Some(space) = io.of("/") {
                    space.to(ROOM).emit("msg", "a text of some length")?;
                }
                std::thread::sleep(PAUSE);
            }
            std::thread::sleep(SETTLE);
            Ok(())
        };
        emit(WARM_UP)?;
        let before = dhat::HeapStats::get().total_blocks;
        let sent = io.stats().events_sent;
        emit(self.broadcasts)?;
        let blocks = dhat::HeapStats::get().total_blocks - before;
        let delivered = io.stats().events_sent - sent;
        if delivered != (self.broadcasts * recipients) as u64 {
            bail!(
                "{delivered} deliveries instead of {} × {recipients}",
                self.broadcasts
            );
        }
        Ok(blocks as f64 / self.broadcasts as f64)
    }
}
