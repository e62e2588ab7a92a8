//! The library under an allocator that counts: how many allocations a broadcast makes, and where the bytes of an idle connection are. Prints one JSON line.
//!
//! The server runs in this process, its clients in another (`load`, built beside this program), so that nothing of theirs is counted.

use anyhow::Result;
use clap::Parser;
use unisono_bench::heap::{Broadcasts, Residents};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Runs the library under an allocator that counts.
#[derive(Parser)]
enum Mode {
    /// Counts the allocations of a broadcast.
    Broadcasts(Broadcasts),
    /// Attributes the memory of idle connections to the lines that asked for it.
    Residents(Residents),
}

fn main() -> Result<()> {
    let report = match Mode::parse() {
        Mode::Broadcasts(run) => run.run()?,
        Mode::Residents(run) => run.run()?,
    };
    println!("{report}");
    Ok(())
}
