//! Fan-out over everything that changes its cost: how many clients, how large the payload, how many publishes in flight.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::super::measurement::words;
use super::super::options::Options;
use super::super::server::{LOAD_DEADLINE, Programs, Server};
use super::super::table::{cell, median};
use crate::step::step;

const CLIENTS: [usize; 3] = [10, 1_000, 10_000];
const IN_FLIGHT: [usize; 2] = [1, 16];
/// Bytes of the argument.
const PAYLOADS: [usize; 3] = [16, 1_024, 64 * 1024];
/// Sixteen of the largest in flight are more than the queue of 1 MiB that a client has by default: with it, whoever reads a little late is closed as slow.
const QUEUE: [(&str, &str); 1] = [("QUEUE_BYTES", "4194304")];
/// A cell is measured until this much was delivered, if that comes before its time: the largest would move gigabytes otherwise.
const MAX_BYTES: u64 = 2 << 30;

/// One combination.
#[derive(Clone, Copy)]
struct Cell {
    clients: usize,
    in_flight: usize,
    payload: usize,
}

impl Cell {
    fn all(is_quick: bool) -> Vec<Cell> {
        let clients = if is_quick {
            &CLIENTS[..2]
        } else {
            &CLIENTS[..]
        };
        let mut cells = Vec::new();
        for clients in clients.iter().copied() {
            for payload in PAYLOADS {
                for in_flight in IN_FLIGHT {
                    cells.push(Cell {
                        clients,
                        in_flight,
                        payload,
                    });
                }
            }
        }
        cells
    }

    fn name(self) -> String {
        let payload = match self.payload {
            bytes if bytes < 1024 => format!("{bytes} B"),
            bytes => format!("{} KiB", bytes.div_ceil(1024)),
        };
        format!(
            "{:>6} × {payload:>6}, {:>2} in flight",
            self.clients, self.in_flight
        )
    }

    fn take(self, server: Server, programs: &Programs, is_quick: bool) -> Result<Value> {
        let running = programs.start(server, None, &QUEUE)?;
        let seconds = if is_quick { "0.5" } else { "3" };
        let line = format!(
            "fanout --clients {} --in-flight {} --payload {} --warm-up {seconds} --seconds {seconds} --max-bytes {MAX_BYTES} {}",
            self.clients,
            self.in_flight,
            self.payload,
            running.as_target()
        );
        programs.load(&words(&line), LOAD_DEADLINE)
    }
}

/// What the cells of one server came to.
struct Samples {
    server: Server,
    cell: usize,
    values: Vec<Value>,
}

/// Measures every cell with every server.
pub(super) fn run(options: &Options, programs: &Programs, servers: &[Server]) -> Result<Value> {
    let cells = Cell::all(options.is_quick);
    let mut all: Vec<Samples> = Vec::new();
    for (index, cell) in cells.iter().enumerate() {
        for server in servers.iter().copied() {
            all.push(Samples {
                server,
                cell: index,
                values: Vec::new(),
            });
        }
        for _ in 0..options.rounds {
            for samples in all.iter_mut().filter(|samples| samples.cell == index) {
                let name = format!("{}, {}", cell.name().trim_start(), samples.server);
                match step(&name, || {
                    cell.take(samples.server, programs, options.is_quick)
                }) {
                    Ok(value) => samples.values.push(value),
                    // Such as a server that closes its clients: that is a result too, and the table shows a dash.
                    Err(error) => samples.values.push(json!({"error": format!("{error:#}")})),
                }
            }
        }
    }
    println!("\n{}", render(&cells, &all));
    for samples in &all {
        for error in samples
            .values
            .iter()
            .filter_map(|value| value["error"].as_str())
        {
            println!(
                "{}, {}: {error}",
                cells[samples.cell].name().trim_start(),
                samples.server
            );
        }
    }
    Ok(all
        .into_iter()
        .map(|samples| {
            let cell = cells[samples.cell];
            json!({
                "server": samples.server.to_string(),
                "clients": cell.clients,
                "in_flight": cell.in_flight,
                "payload": cell.payload,
                "samples": samples.values,
            })
        })
        .collect())
}

/// One block per figure, servers side by side.
fn render(cells: &[Cell], all: &[Samples]) -> String {
    let figures: [(&str, &str); 4] = [
        ("CPU per delivery, µs", "cpu_us_per_delivery"),
        ("p50 publish to delivery, µs", "p50_us"),
        ("p99 publish to delivery, µs", "p99_us"),
        ("load generator busy, of one core", "generator_busy"),
    ];
    let mut text = String::new();
    for (title, field) in figures {
        let mut block = format!(
            "{title:<34}{:>10}{:>10}{:>14}{:>10}{:>9}{:>9}\n",
            "floor", "Node", "socketioxide", "unisono", "× floor", "× Node"
        );
        for (index, one) in cells.iter().enumerate() {
            let value = |server| {
                let samples = all
                    .iter()
                    .find(|samples| samples.cell == index && samples.server == server)?;
                median(&samples.values, |sample| sample[field].as_f64())
            };
            let [floor, node, other, unisono] = Server::ALL.map(value);
            let over = |base: Option<f64>| {
                let ratios = field != "generator_busy";
                Some(unisono? / base.filter(|base| ratios && *base > 0.0)?)
            };
            writeln!(
                block,
                "{:<34}{}{}{}{}{}{}",
                one.name(),
                cell(floor, 10),
                cell(node, 10),
                cell(other, 14),
                cell(unisono, 10),
                cell(over(floor), 9),
                cell(over(node), 9)
            )
            .expect("writing to a string does not fail");
        }
        text.push_str(&block);
        text.push('\n');
    }
    text
}
