//! The result, side by side.

use std::fmt::Write;

use serde_json::Value;

use super::measurement::{Measurement, Samples};
use super::server::Server;

/// What a row may not exceed.
enum Budget {
    /// Times the floor's value.
    Floor(f64),
    /// Times Node's value.
    Node(f64),
    /// In the row's own unit.
    Absolute(f64),
    /// Shown for information.
    None,
}

struct Row {
    label: &'static str,
    measurement: Measurement,
    value: fn(&Value) -> Option<f64>,
    budget: Budget,
}

/// The rows, in the order of the design's budgets; the units are in the labels.
const ROWS: &[Row] = &[
    Row {
        label: "fan-out, 1 in flight: CPU per delivery, µs",
        measurement: Measurement::Fanout1,
        value: |sample| sample["cpu_us_per_delivery"].as_f64(),
        budget: Budget::Floor(1.20),
    },
    Row {
        label: "  p50 publish to delivery, ms",
        measurement: Measurement::Fanout1,
        value: |sample| milliseconds(&sample["p50_us"]),
        budget: Budget::None,
    },
    Row {
        label: "  p99, ms",
        measurement: Measurement::Fanout1,
        value: |sample| milliseconds(&sample["p99_us"]),
        budget: Budget::None,
    },
    Row {
        label: "fan-out, 16 in flight: CPU per delivery, µs",
        measurement: Measurement::Fanout16,
        value: |sample| sample["cpu_us_per_delivery"].as_f64(),
        budget: Budget::Floor(0.20),
    },
    Row {
        label: "  deliveries per second, thousands",
        measurement: Measurement::Fanout16,
        value: |sample| Some(sample["deliveries"].as_f64()? / sample["seconds"].as_f64()? / 1000.0),
        budget: Budget::None,
    },
    Row {
        label: "  p50 publish to delivery, ms",
        measurement: Measurement::Fanout16,
        value: |sample| milliseconds(&sample["p50_us"]),
        budget: Budget::None,
    },
    Row {
        label: "idle: RSS per WebSocket, KiB",
        measurement: Measurement::Idle,
        value: |sample| sample["rss_kib_per_client"].as_f64(),
        budget: Budget::Absolute(3.0),
    },
    Row {
        label: "idle: RSS per polling session, KiB",
        measurement: Measurement::IdlePolling,
        value: |sample| sample["rss_kib_per_client"].as_f64(),
        budget: Budget::Absolute(25.0),
    },
    Row {
        label: "handshake: CPU, namespace and close included, µs",
        measurement: Measurement::Handshakes,
        value: |sample| sample["cpu_us_per_handshake"].as_f64(),
        budget: Budget::Floor(1.5),
    },
    Row {
        label: "across pods: p50 publish to delivery, µs",
        measurement: Measurement::Cross,
        value: |sample| sample["p50_us"].as_f64(),
        budget: Budget::Node(0.5),
    },
    Row {
        label: "  p99, µs",
        measurement: Measurement::Cross,
        value: |sample| sample["p99_us"].as_f64(),
        budget: Budget::None,
    },
    Row {
        label: "across pods: CPU per event of both pods, µs",
        measurement: Measurement::Cross,
        value: |sample| {
            Some(sample["cpu_us_per_event"][0].as_f64()? + sample["cpu_us_per_event"][1].as_f64()?)
        },
        budget: Budget::Node(0.3),
    },
];

fn milliseconds(microseconds: &Value) -> Option<f64> {
    Some(microseconds.as_f64()? / 1000.0)
}

/// Medians, ratios, and whether the budgets are met. Rows that were not measured are left out.
pub(super) fn render(samples: &Samples) -> String {
    let mut text = format!(
        "{:<50}{:>9}{:>9}{:>14}{:>9}{:>9}{:>9}  budget\n",
        "median over rounds", "floor", "Node", "socketioxide", "unisono", "× floor", "× Node"
    );
    for row in ROWS {
        let median = |server| median(samples.get(&(row.measurement, server))?, row.value);
        let [floor, node, other, unisono] = Server::ALL.map(median);
        if unisono.is_none() && node.is_none() {
            continue;
        }
        let over = |base: Option<f64>| Some(unisono? / base.filter(|base| *base > 0.0)?);
        let cells = [
            cell(floor, 9),
            cell(node, 9),
            cell(other, 14),
            cell(unisono, 9),
            cell(over(floor), 9),
            cell(over(node), 9),
        ]
        .concat();
        let verdict = verdict(&row.budget, unisono, over(floor), over(node));
        writeln!(text, "{:<50}{cells}{verdict}", row.label)
            .expect("writing to a string does not fail");
    }
    text
}

/// A number in a column of this width; a dash where nothing was measured.
pub(super) fn cell(value: Option<f64>, width: usize) -> String {
    match value {
        None => format!("{:>width$}", "–"),
        Some(value) if value >= 100.0 => format!("{value:>width$.0}"),
        Some(value) => format!("{value:>width$.2}"),
    }
}

fn verdict(
    budget: &Budget,
    unisono: Option<f64>,
    over_floor: Option<f64>,
    over_node: Option<f64>,
) -> String {
    let (text, value, limit) = match budget {
        Budget::None => return String::new(),
        Budget::Floor(limit) => (format!("≤ {limit:.2} × floor"), over_floor, limit),
        Budget::Node(limit) => (format!("≤ {limit:.2} × Node"), over_node, limit),
        Budget::Absolute(limit) => (format!("≤ {limit:.2}"), unisono, limit),
    };
    let outcome = match value {
        None => "not measured",
        Some(value) if value <= *limit => "met",
        Some(_) => "NOT MET",
    };
    format!("  {text:<15} {outcome}")
}

/// The middle one, or the mean of the middle two.
pub(super) fn median(samples: &[Value], value: impl Fn(&Value) -> Option<f64>) -> Option<f64> {
    let mut values: Vec<f64> = samples.iter().filter_map(value).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn compares_medians_with_budgets() {
        let cpu = |values: &[f64]| {
            values
                .iter()
                .map(|value| json!({"cpu_us_per_delivery": value}))
                .collect::<Vec<_>>()
        };
        let mut samples = Samples::new();
        samples.insert((Measurement::Fanout1, Server::Floor), cpu(&[4.0, 9.0, 4.0]));
        samples.insert(
            (Measurement::Fanout1, Server::Unisono),
            cpu(&[4.8, 4.7, 4.9]),
        );
        let text = render(&samples);
        let row = text.lines().nth(1).unwrap();
        assert!(
            row.contains("4.00")
                && row.contains("4.80")
                && row.contains("1.20")
                && row.ends_with("met"),
            "{row}"
        );
        samples.insert((Measurement::Fanout1, Server::Unisono), cpu(&[4.81, 4.83]));
        assert!(
            render(&samples)
                .lines()
                .nth(1)
                .unwrap()
                .ends_with("NOT MET")
        );
    }
}
