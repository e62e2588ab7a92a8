//! `cargo xtask soak`: kills Redis under running pods, over and over, and says whether any of them stayed deaf.

use std::time::Duration;

use anyhow::Result;

use crate::step::{self, BUILD_DEADLINE, step};
use crate::{Usage, tools, workspace};

const DEFAULT_CYCLES: u32 = 200;
/// A cycle takes a second or two. One in which somebody stays deaf takes six, and is a failure anyhow.
const CYCLE_DEADLINE: Duration = Duration::from_secs(8);
/// The test, with its number of cycles in this variable.
const TEST: &str = "accidents::soak::no_pod_stays_deaf";
const CYCLES: &str = "SOAK_CYCLES";

/// Installs what is missing and runs the test for longer than the standing tests do.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let cycles = parse(arguments)?;
    step("programs", tools::ensure_programs)?;
    step("node packages", tools::ensure_node_packages)?;
    step(&format!("{cycles} cycles"), || {
        let mut test = workspace::cargo();
        test.args(["test", "--package", "jamz-server", "--test", "it", "--"]);
        test.args(["--exact", TEST, "--nocapture"]);
        test.env(CYCLES, cycles.to_string());
        step::run(&mut test, BUILD_DEADLINE + CYCLE_DEADLINE * cycles)
    })
}

fn parse(arguments: &[String]) -> Result<u32> {
    let cycles = match arguments {
        [] => Some(DEFAULT_CYCLES),
        [option, cycles] if option == "--cycles" => {
            cycles.parse().ok().filter(|&cycles| cycles > 0)
        }
        _ => None,
    };
    cycles.ok_or_else(|| Usage("soak takes --cycles N, one or more".to_owned()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_are_a_number_above_zero() {
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(parse(&[]).unwrap(), DEFAULT_CYCLES);
        assert_eq!(parse(&words("--cycles 7")).unwrap(), 7);
        for wrong in ["--cycles", "--cycles 0", "--cycles x", "7"] {
            assert!(parse(&words(wrong)).unwrap_err().is::<Usage>(), "{wrong}");
        }
    }
}
