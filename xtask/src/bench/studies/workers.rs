//! One worker thread against two: what the second one costs where it cannot help.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::super::measurement::Measurement;
use super::super::options::Options;
use super::super::server::{Programs, Server};
use super::super::table::{cell, median};
use crate::step::step;

const WORKERS: [&str; 2] = ["1", "2"];

/// A row: label, measurement, field of its report.
const ROWS: [(&str, Measurement, &str); 5] = [
    (
        "handshake: CPU, µs",
        Measurement::Handshakes,
        "cpu_us_per_handshake",
    ),
    ("handshake: p50, µs", Measurement::Handshakes, "p50_us"),
    (
        "fan-out, 1 in flight: CPU per delivery, µs",
        Measurement::Fanout1,
        "cpu_us_per_delivery",
    ),
    (
        "fan-out, 1 in flight: p50, µs",
        Measurement::Fanout1,
        "p50_us",
    ),
    (
        "fan-out, 16 in flight: CPU per delivery, µs",
        Measurement::Fanout16,
        "cpu_us_per_delivery",
    ),
];

/// Measures this project's server with each number of threads, and the floor beside.
pub(super) fn run(options: &Options, programs: &Programs) -> Result<Value> {
    let mut samples: Vec<(Measurement, &str, Vec<Value>)> = Vec::new();
    for measurement in [
        Measurement::Handshakes,
        Measurement::Fanout1,
        Measurement::Fanout16,
    ] {
        for workers in ["floor"].into_iter().chain(WORKERS) {
            samples.push((measurement, workers, Vec::new()));
        }
    }
    for round in 1..=options.rounds {
        for (measurement, workers, values) in &mut samples {
            let name = format!(
                "round {round} of {}: {measurement}, {workers}",
                options.rounds
            );
            let value = step(&name, || match *workers {
                "floor" => measurement.take_with(Server::Floor, &[], programs, options.is_quick),
                count => measurement.take_with(
                    Server::Unisono,
                    &[("WORKERS", count)],
                    programs,
                    options.is_quick,
                ),
            })?;
            values.push(value);
        }
    }
    println!("\n{}", render(&samples));
    Ok(samples
        .into_iter()
        .map(|(measurement, workers, values)| {
            json!({"measurement": measurement.to_string(), "workers": workers, "samples": values})
        })
        .collect())
}

fn render(samples: &[(Measurement, &str, Vec<Value>)]) -> String {
    let mut text = format!(
        "{:<46}{:>9}{:>10}{:>10}\n",
        "median over rounds", "floor", "1 worker", "2 workers"
    );
    for (label, measurement, field) in ROWS {
        let value = |workers: &str| {
            let (_, _, values) = samples
                .iter()
                .find(|(of, with, _)| *of == measurement && *with == workers)?;
            median(values, |sample| sample[field].as_f64())
        };
        writeln!(
            text,
            "{label:<46}{}{}{}",
            cell(value("floor"), 9),
            cell(value(WORKERS[0]), 10),
            cell(value(WORKERS[1]), 10)
        )
        .expect("writing to a string does not fail");
    }
    text
}
