//! `cargo xtask bench`: this server, Node's and the floor, side by side, against the budgets.
//!
//! Each measurement has a fresh server and the load generator to itself; servers take turns within a round, so that a machine that slows down slows all of
//! them. What counts is the median over rounds, and the ratio between servers: absolute numbers are this machine's.

mod machine;
mod measurement;
mod options;
mod server;
mod table;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::json;

use crate::step::{self, BUILD_DEADLINE, step};
use crate::{tools, workspace};
use measurement::{Measurement, Samples};
use options::Options;
use server::{Programs, Redis, Server};

/// Builds, measures, and prints the tables.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let programs = step("build", build)?;
    let mut servers = vec![Server::Floor, Server::Unisono];
    if step("node packages", tools::ensure_node_packages)? {
        servers.insert(1, Server::Node);
    }
    let redis = if options.wants(Measurement::Cross) {
        step("redis-server", tools::ensure_programs)?;
        Some(Redis::start()?)
    } else {
        None
    };
    machine::raise_open_files();
    let mut samples: Samples = BTreeMap::new();
    let mut failures = 0;
    for round in 1..=options.rounds {
        for measurement in options.measurements() {
            for server in servers
                .iter()
                .copied()
                .filter(|server| measurement.applies_to(*server))
            {
                let name = format!(
                    "round {round} of {}: {measurement}, {server}",
                    options.rounds
                );
                match step(&name, || {
                    measurement.take(server, &programs, redis.as_ref(), options.is_quick)
                }) {
                    Ok(sample) => samples
                        .entry((measurement, server))
                        .or_default()
                        .push(sample),
                    Err(error) => {
                        eprintln!("   {error:#}");
                        failures += 1;
                    }
                }
            }
        }
    }
    report(&options, &samples)?;
    match failures {
        0 => Ok(()),
        count => bail!("{count} measurements failed; the table holds the others"),
    }
}

/// Prints the table, and writes the samples where they are wanted.
fn report(options: &Options, samples: &Samples) -> Result<()> {
    let machine = machine::describe();
    println!("\n{machine}\n\n{}", table::render(samples));
    if let Some(path) = &options.json {
        let list: Vec<_> = samples
            .iter()
            .map(|((measurement, server), samples)| {
                json!({"measurement": measurement.to_string(), "server": server.to_string(), "samples": samples})
            })
            .collect();
        std::fs::write(
            path,
            format!(
                "{:#}\n",
                json!({"machine": machine, "quick": options.is_quick, "results": list})
            ),
        )?;
    }
    Ok(())
}

fn build() -> Result<Programs> {
    let build = |arguments: &[&str]| {
        step::run(
            workspace::cargo()
                .args(["build", "--release", "--quiet"])
                .args(arguments),
            BUILD_DEADLINE,
        )
    };
    build(&["--package", "unisono-bench", "--bins"])?;
    build(&["--package", "unisono", "--example", "fanout"])?;
    Ok(Programs {
        release: workspace::target_directory()?.join("release"),
    })
}
