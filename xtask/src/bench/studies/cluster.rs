//! What it costs to be several: pods on one Redis, this project's beside Node's.

use std::fmt::{self, Write};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::super::measurement::words;
use super::super::options::Options;
use super::super::server::{LOAD_DEADLINE, Programs, Redis, Running, Server};
use super::super::table::{cell, median};
use crate::step::step;
use crate::tools;

/// Those that can share a bus.
const SERVERS: [Server; 2] = [Server::Node, Server::Unisono];

/// How pods speak to each other; the sharded one with a channel for each room that somebody is in, as is Node's default.
const ADAPTERS: [&str; 2] = ["classic", "sharded"];

/// Rooms that are heard again after Redis has closed all connections.
const ROOMS: usize = 10_000;

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    /// From one pod to another, so many under way, so many bytes.
    Cross { in_flight: usize, payload: usize },
    /// The same to clients of the same pod: the other pod has nobody in the room.
    Elsewhere { in_flight: usize, payload: usize },
    /// From one pod to another of so many.
    Pods(usize),
    /// Redis closes all connections.
    Rejoin,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Cross { in_flight, payload } => {
                write!(f, "{payload} bytes to another pod, {in_flight} in flight")
            }
            Part::Elsewhere { in_flight, payload } => {
                write!(
                    f,
                    "{payload} bytes that concern one pod, {in_flight} in flight"
                )
            }
            Part::Pods(pods) => write!(f, "{pods} pods"),
            Part::Rejoin => write!(f, "{ROOMS} rooms, and Redis closes all connections"),
        }
    }
}

const ONE: Part = Part::Cross {
    in_flight: 1,
    payload: 100,
};
const MANY: Part = Part::Cross {
    in_flight: 64,
    payload: 100,
};
const NOT_HERE: Part = Part::Elsewhere {
    in_flight: 64,
    payload: 100,
};
const LARGE_HERE: Part = Part::Cross {
    in_flight: 8,
    payload: 10_000,
};
const LARGE_NOT_HERE: Part = Part::Elsewhere {
    in_flight: 8,
    payload: 10_000,
};

/// Every one, in the order in which they run.
const PARTS: [Part; 9] = [
    ONE,
    MANY,
    NOT_HERE,
    LARGE_HERE,
    LARGE_NOT_HERE,
    Part::Pods(2),
    Part::Pods(4),
    Part::Pods(8),
    Part::Rejoin,
];

/// Of the first two processes, the one that is published at and the last of the others.
const PUBLISHER: usize = 0;
const OTHER: usize = 1;

fn cpu(sample: &Value, process: usize) -> Option<f64> {
    sample["cpu_us_per_event"][process].as_f64()
}

fn cpu_of_both(sample: &Value) -> Option<f64> {
    Some(cpu(sample, PUBLISHER)? + cpu(sample, OTHER)?)
}

fn cpu_of_publisher(sample: &Value) -> Option<f64> {
    cpu(sample, PUBLISHER)
}

fn cpu_of_other(sample: &Value) -> Option<f64> {
    cpu(sample, OTHER)
}

fn bytes_per_pod(sample: &Value) -> Option<f64> {
    Some(sample["redis_bytes_sent_per_event"].as_f64()? / sample["pods"].as_f64()?)
}

/// A row: what it says, of which part, from which of its numbers.
struct Row(&'static str, Part, fn(&Value) -> Option<f64>);

const ROWS: [Row; 23] = [
    Row("1 in flight: p50, µs", ONE, |s| s["p50_us"].as_f64()),
    Row("  p99, µs", ONE, |s| s["p99_us"].as_f64()),
    Row("  CPU per event of both pods, µs", ONE, cpu_of_both),
    Row("  publishing pod, µs", ONE, cpu_of_publisher),
    Row("  receiving pod, µs", ONE, cpu_of_other),
    Row("64 in flight: p50, µs", MANY, |s| s["p50_us"].as_f64()),
    Row("  events a second, thousands", MANY, |s| {
        Some(s["events"].as_f64()? / s["seconds"].as_f64()? / 1000.0)
    }),
    Row("  CPU per event of both pods, µs", MANY, cpu_of_both),
    Row("  publishing pod, µs", MANY, cpu_of_publisher),
    Row("  receiving pod, µs", MANY, cpu_of_other),
    Row("  reads of Redis per event", MANY, |s| {
        s["redis_reads_per_event"].as_f64()
    }),
    Row(
        "room without a member, 64 in flight: other pod's CPU, µs",
        NOT_HERE,
        cpu_of_other,
    ),
    Row(
        "10,000 bytes, 8 in flight, room with a member: its CPU, µs",
        LARGE_HERE,
        cpu_of_other,
    ),
    Row("  without a member, µs", LARGE_NOT_HERE, cpu_of_other),
    Row(
        "2 pods, 8 in flight: bytes from Redis per pod and event",
        Part::Pods(2),
        bytes_per_pod,
    ),
    Row(
        "  publishing pod's CPU per event, µs",
        Part::Pods(2),
        cpu_of_publisher,
    ),
    Row(
        "4 pods: bytes per pod and event",
        Part::Pods(4),
        bytes_per_pod,
    ),
    Row(
        "  publishing pod's CPU per event, µs",
        Part::Pods(4),
        cpu_of_publisher,
    ),
    Row(
        "8 pods: bytes per pod and event",
        Part::Pods(8),
        bytes_per_pod,
    ),
    Row(
        "  publishing pod's CPU per event, µs",
        Part::Pods(8),
        cpu_of_publisher,
    ),
    Row(
        "connections lost with 10,000 rooms: heard again, ms",
        Part::Rejoin,
        |s| s["healed_ms"].as_f64(),
    ),
    Row("  that pod's CPU until then, ms", Part::Rejoin, |s| {
        s["cpu_ms"].as_f64()
    }),
    Row("  10,000 rooms joined and heard, ms", Part::Rejoin, |s| {
        s["joined_ms"].as_f64()
    }),
];

/// Samples of one part with one adapter and one server.
struct Samples {
    adapter: &'static str,
    part: Part,
    server: Server,
    values: Vec<Value>,
}

/// Measures every part with every adapter, Node's pods and ours in turn.
pub(super) fn run(options: &Options, programs: &Programs, servers: &[Server]) -> Result<Value> {
    step("redis-server", tools::ensure_programs)?;
    let redis = Redis::start()?;
    let mut all = Vec::new();
    for adapter in ADAPTERS {
        for part in PARTS {
            for server in SERVERS
                .into_iter()
                .filter(|server| servers.contains(server))
            {
                let values = Vec::new();
                all.push(Samples {
                    adapter,
                    part,
                    server,
                    values,
                });
            }
        }
    }
    for round in 1..=options.rounds {
        for samples in &mut all {
            let Samples {
                adapter,
                part,
                server,
                values,
            } = samples;
            let name = format!(
                "round {round} of {}: {adapter}, {part}, {server}",
                options.rounds
            );
            let take = || part.take(*server, adapter, programs, &redis, options.is_quick);
            values.push(step(&name, take)?);
        }
    }
    for adapter in ADAPTERS {
        println!("\n{}", render(adapter, &all));
    }
    let report = |samples: Samples| {
        json!({
            "adapter": samples.adapter, "part": samples.part.to_string(),
            "server": samples.server.to_string(), "samples": samples.values,
        })
    };
    Ok(all.into_iter().map(report).collect())
}

impl Part {
    /// Starts fresh pods and loads them.
    fn take(
        self,
        server: Server,
        adapter: &str,
        programs: &Programs,
        redis: &Redis,
        is_quick: bool,
    ) -> Result<Value> {
        let count = match self {
            Part::Pods(count) => count,
            _ => 2,
        };
        let environment = [("REDIS_ADAPTER", adapter)];
        let pods: Result<Vec<Running>> = (0..count)
            .map(|_| programs.start(server, Some(redis), &environment))
            .collect();
        let pods = pods?;
        let arguments = self.arguments(&pods, redis, is_quick)?;
        let mut sample = programs.load(&words(&arguments), LOAD_DEADLINE)?;
        sample["pods"] = count.into();
        Ok(sample)
    }

    fn arguments(self, pods: &[Running], redis: &Redis, is_quick: bool) -> Result<String> {
        let (first, last) = pods.first().zip(pods.last()).context("there are no pods")?;
        let redis = redis.0.address;
        let (in_flight, payload, receiver) = match self {
            Part::Cross { in_flight, payload } => (in_flight, payload, last),
            Part::Elsewhere { in_flight, payload } => (in_flight, payload, first),
            Part::Pods(_) => (8, 100, last),
            Part::Rejoin => {
                return Ok(format!(
                    "rejoin --rooms {ROOMS} --publish-at {} --receive-at {} --pid {} --redis {redis}",
                    first.address,
                    last.address,
                    last.pid()
                ));
            }
        };
        let seconds = if is_quick { "0.5" } else { "3" };
        Ok(format!(
            "cross --in-flight {in_flight} --payload {payload} --warm-up {seconds} --seconds {seconds} --publish-at {} --receive-at {} --pids {},{} --redis {redis}",
            first.address,
            receiver.address,
            first.pid(),
            last.pid()
        ))
    }
}

fn render(adapter: &str, all: &[Samples]) -> String {
    let mut text = format!(
        "{:<62}{:>9}{:>10}{:>9}\n",
        format!("pods on one Redis, {adapter} adapter: median over rounds"),
        "Node",
        "unisono",
        "× Node"
    );
    for Row(label, part, value) in &ROWS {
        let of = |server: Server| {
            let is_one = |s: &&Samples| (s.adapter, s.part, s.server) == (adapter, *part, server);
            median(&all.iter().find(is_one)?.values, value)
        };
        let [node, unisono] = SERVERS.map(of);
        let ratio = unisono.zip(node.filter(|node| *node > 0.0));
        let ratio = ratio.map(|(unisono, node)| unisono / node);
        let cells = [cell(node, 9), cell(unisono, 10), cell(ratio, 9)].concat();
        writeln!(text, "{label:<62}{cells}").expect("writing to a string does not fail");
    }
    text
}
