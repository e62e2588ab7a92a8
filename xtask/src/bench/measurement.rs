//! What is measured, and how the load generator is asked to.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};
use serde_json::Value;

use super::server::{Programs, Redis, Running, Server};

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
            Measurement::Handshakes => "handshakes",
            Measurement::Cross => "cross",
        })
    }
}

impl Measurement {
    pub(super) const ALL: [Measurement; 5] = [
        Measurement::Fanout1,
        Measurement::Fanout16,
        Measurement::Idle,
        Measurement::Handshakes,
        Measurement::Cross,
    ];

    /// The floor has no bus.
    pub(super) fn applies_to(self, server: Server) -> bool {
        self != Measurement::Cross || server != Server::Floor
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
                programs.start(server, Some(redis))?,
                programs.start(server, Some(redis))?,
            );
            return programs.load(&cross_arguments(&a, &b, redis, is_quick));
        }
        let running = programs.start(server, None)?;
        programs.load(&self.arguments(&running, is_quick))
    }

    fn arguments(self, server: &Running, is_quick: bool) -> Vec<String> {
        let seconds = if is_quick { "1.5" } else { "5" };
        let own: &[&str] = match self {
            Measurement::Fanout1 => &[
                "fanout",
                "--clients",
                "1000",
                "--in-flight",
                "1",
                "--payload",
                "100",
                "--seconds",
                seconds,
            ],
            Measurement::Fanout16 => &[
                "fanout",
                "--clients",
                "1000",
                "--in-flight",
                "16",
                "--payload",
                "100",
                "--seconds",
                seconds,
            ],
            Measurement::Handshakes => &["handshakes", "--in-flight", "16", "--seconds", seconds],
            Measurement::Idle if is_quick => &["idle", "--clients", "2000", "--settle", "1.5"],
            Measurement::Idle | Measurement::Cross => {
                &["idle", "--clients", "10000", "--settle", "3"]
            }
        };
        words(
            own,
            &[
                "--target",
                &server.address.to_string(),
                "--pid",
                &server.pid().to_string(),
            ],
        )
    }
}

fn cross_arguments(a: &Running, b: &Running, redis: &Redis, is_quick: bool) -> Vec<String> {
    let seconds = if is_quick { "1.5" } else { "5" };
    // The first two are summed in the table; Redis's own is reported beside.
    let pids = format!("{},{},{}", a.pid(), b.pid(), redis.0.pid());
    let (publish_at, receive_at) = (a.address.to_string(), b.address.to_string());
    words(
        &["cross", "--payload", "100", "--seconds", seconds],
        &[
            "--publish-at",
            &publish_at,
            "--receive-at",
            &receive_at,
            "--pids",
            &pids,
        ],
    )
}

fn words(first: &[&str], second: &[&str]) -> Vec<String> {
    first
        .iter()
        .chain(second)
        .map(|word| (*word).to_owned())
        .collect()
}
