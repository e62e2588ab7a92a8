//! The machine that measures.

use std::fs;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets the servers started from here open as many files as the hard limit allows: 10,000 clients need as many.
pub(super) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        eprintln!(
            "   the limit on open files stays at {:?}: {error}",
            limit.current
        );
    }
}

/// One line: processor, kernel, versions, and how busy it is. Numbers of two machines cannot be compared.
pub(super) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, name)| name);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    let versions: Vec<String> = [
        ("rustc", "--version"),
        ("node", "--version"),
        ("redis-server", "--version"),
    ]
    .into_iter()
    .filter_map(version)
    .collect();
    format!(
        "{cores} × {model}, Linux {}, load {load}\n{}",
        kernel.trim(),
        versions.join("; ")
    )
}

/// The first line that a program says about its version, if it is there.
fn version((program, argument): (&str, &str)) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    // redis-server's line goes on with build details; rustc's begins with its name, node's has the number alone.
    let words: Vec<&str> = text
        .lines()
        .next()?
        .split_whitespace()
        .filter(|word| *word != program)
        .collect();
    let number = words.iter().find(|word| word.contains('.'))?;
    Some(format!(
        "{program} {}",
        number.trim_start_matches("v=").trim_start_matches('v')
    ))
}
