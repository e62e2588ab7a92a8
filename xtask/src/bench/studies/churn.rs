//! A thousand connects and disconnects a second: memory after the warm-up must be the memory at the end.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use super::super::measurement::words;
use super::super::options::Options;
use super::super::server::{Programs, Server};
use crate::step::step;

/// How much more than after the warm-up the server may hold, at its worst and at the end.
const TOLERANCE: f64 = 1.05;
/// A heartbeat of five seconds instead of twenty-five: sessions that were abandoned are forgotten within the warm-up, as they must be for memory to be level.
const HEARTBEAT: [(&str, &str); 2] = [("PING_INTERVAL_MS", "5000"), ("PING_TIMEOUT_MS", "5000")];
/// Longer than every time-out of the server: 10 s for a heartbeat, for CONNECT, for a head and for a probe.
const QUIESCE_S: u64 = 25;
/// Starting, connecting and stopping.
const SPARE: Duration = Duration::from_secs(60);

/// Runs it, prints it, and fails if memory or descriptors have grown.
pub(super) fn run(options: &Options, programs: &Programs) -> Result<Value> {
    let (warm_up, seconds) = if options.is_quick {
        (20, 20)
    } else {
        (60, (options.minutes * 60.0) as u64)
    };
    let running = programs.start(Server::Unisono, None, &HEARTBEAT)?;
    let line = format!(
        "churn --warm-up {warm_up} --seconds {seconds} --quiesce {QUIESCE_S} {}",
        running.as_target()
    );
    let deadline = Duration::from_secs(warm_up + seconds + QUIESCE_S) + SPARE;
    let report = step(
        &format!("churn for {warm_up} + {seconds} + {QUIESCE_S} s"),
        || programs.load(&words(&line), deadline),
    )?;
    let number = |field: &str| report[field].as_f64().unwrap_or(f64::NAN);
    let mib = |field: &str| number(field) / 1024.0;
    println!(
        "\n{:.0} clients a second, {} in all ({} held back); complete {}; closed by the server {}",
        number("rate"),
        report["clients"],
        report["held_back"],
        report["complete"],
        report["closed_by_server"]
    );
    println!(
        "RSS, MiB: {:.2} after the warm-up, {:.2} at most, {:.2} at the end of the load, {:.2} after {QUIESCE_S} s of silence",
        mib("rss_kib_start"),
        mib("rss_kib_max"),
        mib("rss_kib_under_load"),
        mib("rss_kib_end")
    );
    println!(
        "descriptors: {} before, {} at the end",
        report["files_before"], report["files_end"]
    );
    let limit = number("rss_kib_start") * TOLERANCE;
    let grows = number("rss_kib_max") > limit || number("rss_kib_end") > limit;
    let leaks = number("files_end") > number("files_before");
    println!("within 5 %: {}", if grows { "NO" } else { "yes" });
    match (grows, leaks) {
        (false, false) => Ok(report),
        (true, _) => bail!("memory grows under churn"),
        (_, true) => bail!("descriptors are left after churn"),
    }
}
