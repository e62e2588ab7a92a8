//! One client in twenty stops reading: when is the server rid of it, and what do the others feel?

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::super::measurement::words;
use super::super::options::Options;
use super::super::server::{Programs, Server};
use crate::step::step;

/// The heartbeat's 25 s and 20 s: whoever does not read does not answer a ping either. Half as much again is a failure.
const DEADLINE_S: f64 = 67.5;
/// Connecting and stopping.
const SPARE: Duration = Duration::from_secs(120);

/// Runs with and without them, prints both, and fails if somebody who did not read is still there or somebody who did is not.
pub(super) fn run(options: &Options, programs: &Programs) -> Result<Value> {
    let clients = if options.is_quick { 1_000 } else { 10_000 };
    let with = take(programs, clients, clients / 20, DEADLINE_S)?;
    let gone_after = with["gone_after_s"].as_f64().unwrap_or(DEADLINE_S);
    let without = take(programs, clients, 0, gone_after)?;
    println!(
        "\n{clients} clients, {} broadcasts of {} bytes a second; {} stop reading\n",
        with["rate"], with["payload"], with["slow"]
    );
    println!(
        "{:<40}{:>14}{:>14}",
        "others' latency, ms: p50 / p99", "with", "without"
    );
    for (label, phase) in [
        ("before", "before"),
        ("while the stopped ones are there", "during"),
        ("after they are gone", "after"),
    ] {
        println!(
            "{label:<40}{:>14}{:>14}",
            latency(&with[phase]),
            latency(&without[phase])
        );
    }
    println!(
        "\nthe stopped ones are gone after {gone_after:.1} s; descriptors left: {}; others lost: {}",
        with["descriptors_left"], with["others_lost"]
    );
    println!("{}", timeline(&with));
    let is_zero = |field: &str| with[field].as_u64() == Some(0);
    if !is_zero("descriptors_left") || !is_zero("others_lost") {
        bail!("the wrong clients are gone");
    }
    Ok(json!({"with": with, "without": without}))
}

fn take(programs: &Programs, clients: usize, slow: usize, deadline: f64) -> Result<Value> {
    let running = programs.start(Server::Unisono, None, &[])?;
    let line = format!(
        "slow-readers --clients {clients} --slow {slow} --deadline {deadline} {}",
        running.as_target()
    );
    step(&format!("{clients} clients, {slow} stop reading"), || {
        programs.load(&words(&line), Duration::from_secs_f64(deadline) + SPARE)
    })
}

fn latency(phase: &Value) -> String {
    let ms = |field: &str| phase[field].as_f64().unwrap_or(f64::NAN) / 1000.0;
    format!("{:.1} / {:.1}", ms("p50_us"), ms("p99_us"))
}

/// Memory over time, a line per ten seconds.
fn timeline(report: &Value) -> String {
    let samples = report["timeline"].as_array().map_or(&[][..], Vec::as_slice);
    let mut text = format!(
        "{:>6}{:>12}{:>14}{:>18}",
        "s", "RSS, MiB", "descriptors", "kernel TCP, MiB"
    );
    for sample in samples.iter().step_by(10) {
        let mib = |field: &str| sample[field].as_f64().unwrap_or(f64::NAN) / 1024.0;
        text.push_str(&format!(
            "\n{:>6.0}{:>12.1}{:>14}{:>18.1}",
            sample["at_s"].as_f64().unwrap_or(f64::NAN),
            mib("rss_kib"),
            sample["files"].as_u64().unwrap_or(0),
            mib("kernel_tcp_kib")
        ));
    }
    text
}
