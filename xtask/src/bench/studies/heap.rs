//! The library under an allocator that counts.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::super::measurement::words;
use super::super::options::Options;
use super::super::server::Programs;
use crate::step::step;

/// Allocations per further recipient of a broadcast that still count as none: a queue that had to grow once in a run of hundreds.
const NONE: f64 = 0.01;

/// Counts allocations per broadcast, then attributes the bytes of idle connections.
pub(super) fn run(options: &Options, programs: &Programs) -> Result<Value> {
    let broadcasts = step("allocations of a broadcast", || {
        programs.heap(&words("broadcasts"))
    })?;
    let mut text = String::new();
    for room in [&broadcasts["few"], &broadcasts["many"]] {
        writeln!(
            text,
            "a broadcast to {:>5} allocates {:>7.2} times",
            room["recipients"],
            room["allocations"].as_f64().unwrap_or(f64::NAN)
        )?;
    }
    let each = broadcasts["per_recipient"].as_f64().unwrap_or(f64::NAN);
    let verdict = if each.abs() <= NONE {
        "constant, met"
    } else {
        "NOT MET"
    };
    writeln!(
        text,
        "per further recipient: {each:.4}  budget: constant  {verdict}"
    )?;
    let clients = if options.is_quick { 500 } else { 10_000 };
    let mut residents = Vec::new();
    for transport in ["websocket", "polling"] {
        let report = step(
            &format!("bytes of {clients} idle {transport} clients"),
            || {
                programs.heap(&words(&format!(
                    "residents --transport {transport} --clients {clients}"
                )))
            },
        )?;
        text.push_str(&render(&report)?);
        residents.push(report);
    }
    println!("\n{text}");
    Ok(json!({"broadcasts": broadcasts, "residents": residents}))
}

fn render(report: &Value) -> Result<String> {
    let mut text = format!(
        "\n{:<62}{:>8}{:>9}{:>10}\n",
        format!(
            "heap of an idle client ({})",
            report["transport"].as_str().unwrap_or("?")
        ),
        "blocks",
        "bytes",
        "in glibc"
    );
    let mut sums = [0.0; 3];
    for site in report["sites"].as_array().into_iter().flatten() {
        let figures =
            ["blocks", "bytes", "rounded"].map(|field| site[field].as_f64().unwrap_or(0.0));
        for (sum, figure) in sums.iter_mut().zip(figures) {
            *sum += figure;
        }
        writeln!(
            text,
            "{}",
            row(site["site"].as_str().unwrap_or("?"), figures)
        )?;
    }
    writeln!(text, "{}", row("together", sums))?;
    Ok(text)
}

fn row(name: &str, [blocks, bytes, rounded]: [f64; 3]) -> String {
    format!("{name:<62}{blocks:>8.2}{bytes:>9.0}{rounded:>10.0}")
}
