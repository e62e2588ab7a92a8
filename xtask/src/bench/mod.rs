//! `cargo xtask bench`: this server, Node's, socketioxide's and the floor, side by side, against the budgets; and studies of one question each.
//!
//! Each measurement has a fresh server and the load generator to itself; servers take turns within a round, so that a machine that slows down slows all of
//! them. What counts is the median over rounds, and the ratio between servers: absolute numbers are this machine's.

mod machine;
mod measurement;
mod options;
mod server;
mod studies;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use crate::step::{self, BUILD_DEADLINE, step};
use crate::{tools, workspace};
use measurement::{Measurement, Samples};
use options::Options;
use server::{Programs, Redis, Server};

/// Builds, measures, and prints the tables.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let programs = step("build", build)?;
    let servers = servers(&options)?;
    machine::raise_open_files();
    let mut failures = 0;
    let samples = measure(&options, &programs, &servers, &mut failures)?;
    let mut studies = Map::new();
    for study in &options.studies {
        match study.run(&options, &programs, &servers) {
            Ok(value) => {
                studies.insert(study.to_string(), value);
            }
            Err(error) => {
                eprintln!("   {study}: {error:#}");
                failures += 1;
            }
        }
    }
    report(&options, &samples, &studies)?;
    match failures {
        0 => Ok(()),
        count => bail!("{count} of what was measured failed; the others are above"),
    }
}

/// Those that are asked for and can be had.
fn servers(options: &Options) -> Result<Vec<Server>> {
    let mut servers: Vec<Server> = Server::ALL
        .into_iter()
        .filter(|server| options.wants_server(*server))
        .collect();
    if servers.contains(&Server::Node) && !step("node packages", tools::ensure_node_packages)? {
        servers.retain(|server| *server != Server::Node);
    }
    if servers.contains(&Server::Socketioxide)
        && let Err(error) = step("build socketioxide's server", build_socketioxide)
    {
        eprintln!("   socketioxide is left out: {error:#}");
        servers.retain(|server| *server != Server::Socketioxide);
    }
    Ok(servers)
}

/// Every measurement with every server, round by round.
fn measure(
    options: &Options,
    programs: &Programs,
    servers: &[Server],
    failures: &mut usize,
) -> Result<Samples> {
    let redis = if options.wants(Measurement::Cross) {
        step("redis-server", tools::ensure_programs)?;
        Some(Redis::start()?)
    } else {
        None
    };
    let mut samples: Samples = BTreeMap::new();
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
                    measurement.take(server, programs, redis.as_ref(), options.is_quick)
                }) {
                    Ok(sample) => samples
                        .entry((measurement, server))
                        .or_default()
                        .push(sample),
                    Err(error) => {
                        eprintln!("   {error:#}");
                        *failures += 1;
                    }
                }
            }
        }
    }
    Ok(samples)
}

/// Prints the table, and writes the samples where they are wanted.
fn report(options: &Options, samples: &Samples, studies: &Map<String, Value>) -> Result<()> {
    let machine = machine::describe();
    println!("\n{machine}");
    if !samples.is_empty() {
        println!("\n{}", table::render(samples));
    }
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
                json!({"machine": machine, "quick": options.is_quick, "results": list, "studies": studies})
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
        socketioxide: peer_folder().join("target/release/socketioxide-peer"),
    })
}

/// socketioxide's server is a workspace of its own, with its own lock file and target folder.
fn build_socketioxide() -> Result<()> {
    let mut command = workspace::cargo();
    command
        .args(["build", "--release", "--quiet", "--locked"])
        .current_dir(peer_folder())
        .env_remove("CARGO_TARGET_DIR");
    step::run(&mut command, BUILD_DEADLINE)
}

fn peer_folder() -> PathBuf {
    workspace::root().join("bench/peers/socketioxide")
}
