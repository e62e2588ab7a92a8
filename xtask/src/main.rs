//! Everything a person runs in this repository; `cargo xtask help` lists it. No command needs another one to be run first.

mod bench;
mod ci;
mod demo;
mod fuzz;
mod servers;
mod soak;
mod step;
mod test;
mod tidy;
mod tools;
mod workspace;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <command>

  demo [--once]      three pods and three clients on this machine, one session: who saw what, and how fast
  test [ARGS]        every test; installs what it needs (redis-server, the packages of e2e/). ARGS go to the test runner
  ci [--no-fuzz]     the whole gate: fmt, tidy, clippy, doc, test, a short fuzz
  bench [OPTIONS]    ratios to the floor server, Node and socketioxide, side by side, against the budgets
      --quick          one short round: a look, not a verdict
      --only NAME      fanout-1, fanout-16, idle, idle-polling, handshakes or cross; or, in minutes, one of
                       fanout-matrix, workers, heap, churn or slow-readers; may be repeated
      --server NAME    floor, Node, socketioxide or unisono; may be repeated (all)
      --minutes N      how long churn goes on (10)
      --rounds N       interleaved rounds, of which the median counts (3)
      --json FILE      also writes every sample there
  fuzz [OPTIONS]     fuzzes every decoder and state machine
      --seconds N      for each target (20)
      --target NAME    this one alone; may be repeated
  soak [--cycles N]  kills Redis, or has it cut everybody off, N times (200) under three pods of ours and one of Node.js, and
                     prints how soon each heard each other again; fails if one stayed deaf
  tidy               file and function lengths, forbidden words, links, named tests, whitespace: what no compiler checks
  help               this text

Exit codes: 0 done, 1 failed, 2 wrong usage.
";

/// The command line itself is wrong: exit code 2.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; see `cargo xtask help`", self.0)
    }
}

impl std::error::Error for Usage {}

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = if arguments.is_empty() {
        "help".to_owned()
    } else {
        arguments.remove(0)
    };
    match dispatch(&command, &arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {command}: {error:#}");
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

fn dispatch(command: &str, arguments: &[String]) -> anyhow::Result<()> {
    match command {
        "demo" => demo::run(arguments),
        "test" => test::run(arguments),
        "ci" => ci::run(arguments),
        "bench" => bench::run(arguments),
        "fuzz" => fuzz::run(arguments),
        "soak" => soak::run(arguments),
        "tidy" => tidy::run(arguments),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(Usage(format!("there is no command {other}")).into()),
    }
}
