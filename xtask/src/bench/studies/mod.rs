//! Studies: runs that answer one question each, with a table of their own. They take minutes, so each runs only when it is asked for by name.

mod churn;
mod cluster;
mod fanout_matrix;
mod heap;
mod slow_readers;
mod workers;

use std::fmt;

use anyhow::Result;
use serde_json::Value;

use super::options::Options;
use super::server::{Programs, Server};

/// One study; its text is its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Study {
    /// Fan-out over numbers of clients, payloads and publishes in flight.
    FanoutMatrix,
    /// One worker thread against two.
    Workers,
    /// Allocations per broadcast, and where the bytes of an idle connection are.
    Heap,
    /// A thousand connects and disconnects a second: does memory grow?
    Churn,
    /// Some clients stop reading: what do the others feel?
    SlowReaders,
    /// Several pods on one Redis: per event, per pod, per room.
    Cluster,
}

impl Study {
    pub(super) const ALL: [Study; 6] = [
        Study::FanoutMatrix,
        Study::Workers,
        Study::Heap,
        Study::Churn,
        Study::SlowReaders,
        Study::Cluster,
    ];

    /// Measures and prints; every sample comes back.
    pub(super) fn run(
        self,
        options: &Options,
        programs: &Programs,
        servers: &[Server],
    ) -> Result<Value> {
        match self {
            Study::FanoutMatrix => fanout_matrix::run(options, programs, servers),
            Study::Workers => workers::run(options, programs),
            Study::Heap => heap::run(options, programs),
            Study::Churn => churn::run(options, programs),
            Study::SlowReaders => slow_readers::run(options, programs),
            Study::Cluster => cluster::run(options, programs, servers),
        }
    }
}

impl fmt::Display for Study {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Study::FanoutMatrix => "fanout-matrix",
            Study::Workers => "workers",
            Study::Heap => "heap",
            Study::Churn => "churn",
            Study::SlowReaders => "slow-readers",
            Study::Cluster => "cluster",
        })
    }
}
