//! What is measured, and how the load generator is asked to.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};
use serde_json::Value;

use super::server::{LOAD_DEADLINE, Programs, Redis, Running, Server};

/// Reports of the load generator, one per round.
pub(super) type Samples = BTreeMap<(Measurement, Server), Vec<Value>>;

/// One measurement; its text is its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Measurement {
    /// 1,000 clients, one publish under way.
    Fanout1,
    /// 1,000 clients, sixteen publishes under way.
    Fanout16,
    /// 10,000 clients that do nothing.
    Idle,
    /// The same on long-polling, a GET always held.
    IdlePolling,
    /// Connecting and closing.
    Handshakes,
    /// From one server to another over Redis.
    Cross,
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Measurement::Fanout1 => "fanout-1",
            Measurement::Fanout16 => "fanout-16",
            Measurement::Idle => "idle",
            Measurement::IdlePolling => "idle-polling",
            Measurement::Handshakes => "handshakes",
            Measurement::Cross => "cross",
        })
    }
}

impl Measurement {
    pub(super) const ALL: [Measurement; 6] = [
        Measurement::Fanout1,
        Measurement::Fanout16,
        Measurement::Idle,
        Measurement::IdlePolling,
        Measurement::Handshakes,
        Measurement::Cross,
    ];

    /// The floor has no bus and no polling; socketioxide's servers share no bus with Node's.
    pub(super) fn applies_to(self, server: Server) -> bool {
        match self {
            Measurement::Cross => matches!(server, Server::Node | Server::Unisono),
            Measurement::IdlePolling => server != Server::Floor,
            _ => true,
        }
    }

    /// Starts a fresh server and loads it.
    pub(super) fn take(
        self,
        server: Server,
        programs: &Programs,
        redis: Option<&Redis>,
        is_quick: bool,
    ) -> Result<Value> {
        if self == Measurement::Cross {
            let redis = redis.context("this measurement needs a redis-server")?;
            let (a, b) = (
                programs.start(server, Some(redis), &[])?,
                programs.start(server, Some(redis), &[])?,
            );
            return programs.load(&cross_arguments(&a, &b, redis, is_quick), LOAD_DEADLINE);
        }
        self.take_with(server, &[], programs, is_quick)
    }

    /// The same on one server with these environment variables.
    pub(super) fn take_with(
        self,
        server: Server,
        environment: &[(&str, &str)],
        programs: &Programs,
        is_quick: bool,
    ) -> Result<Value> {
        let running = programs.start(server, None, environment)?;
        programs.load(&self.arguments(&running, is_quick), LOAD_DEADLINE)
    }

    fn arguments(self, server: &Running, is_quick: bool) -> Vec<String> {
        let seconds = if is_quick { "1.5" } else { "5" };
        let (clients, settle) = if is_quick {
            ("2000", "1.5")
        } else {
            ("10000", "3")
        };
        let fanout = |in_flight| {
            format!(
                "fanout --clients 1000 --in-flight {in_flight} --payload 100 --seconds {seconds}"
            )
        };
        let own = match self {
            Measurement::Fanout1 => fanout(1),
            Measurement::Fanout16 => fanout(16),
            Measurement::Handshakes => format!("handshakes --in-flight 16 --seconds {seconds}"),
            Measurement::Idle | Measurement::Cross => {
                format!("idle --clients {clients} --settle {settle}")
            }
            Measurement::IdlePolling => {
                format!("idle --transport polling --clients {clients} --settle {settle}")
            }
        };
        words(&format!("{own} {}", server.as_target()))
    }
}

fn cross_arguments(a: &Running, b: &Running, redis: &Redis, is_quick: bool) -> Vec<String> {
    let seconds = if is_quick { "1.5" } else { "5" };
    // The first two are summed in the table; Redis's own is reported beside.
    let pids = format!("{},{},{}", a.pid(), b.pid(), redis.0.pid());
    words(&format!(
        "cross --payload 100 --seconds {seconds} --publish-at {} --receive-at {} --pids {pids}",
        a.address, b.address
    ))
}

/// A command line whose words have no spaces in them.
pub(super) fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}
