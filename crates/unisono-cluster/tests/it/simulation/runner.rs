//! Runs scripts, makes those that fail as short as they can be, and says how to run them again.

use std::fmt;

use super::invariants::{INVARIANTS, Invariant};
use super::sabotage::Sabotage;
use super::script::Script;
use super::world::World;

/// Scripts of a run unless `SIMULATION_SEEDS` says otherwise: a few seconds without optimisation.
const SEEDS: u64 = 2_000;

/// A script that breaks an invariant.
pub(super) struct Failure {
    invariant: &'static Invariant,
    script: Script,
    what: String,
}

/// Runs one script.
pub(super) fn try_script(script: &Script, sabotage: Option<Sabotage>) -> Result<(), Failure> {
    let world = World::run(script, sabotage);
    for invariant in INVARIANTS {
        (invariant.check)(&world).map_err(|what| Failure {
            invariant,
            script: script.clone(),
            what,
        })?;
    }
    Ok(())
}

/// Runs the scripts of many seeds, or of the one that `SEED` names.
pub(super) fn run_all() {
    let read = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("a whole number"))
    };
    let seeds = match read("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..read("SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        if let Err(failure) = try_script(&Script::of(seed), None) {
            panic!("{}", shrink(failure));
        }
    }
}

/// Whether the invariant of this name is broken by one of some seeds.
pub(super) fn is_broken_by(sabotage: Sabotage, name: &str, seeds: u64) -> bool {
    let invariant = INVARIANTS
        .iter()
        .find(|one| one.name == name)
        .expect("it is in the table");
    (0..seeds)
        .any(|seed| (invariant.check)(&World::run(&Script::of(seed), Some(sabotage))).is_err())
}

/// Leaves out steps for as long as the same invariant is broken: halves, quarters, and so on to single ones, until nothing more can go.
fn shrink(mut failure: Failure) -> Failure {
    let mut length = failure.script.steps.len();
    while length > 0 {
        let mut from = 0;
        let before = failure.script.steps.len();
        while from < failure.script.steps.len() {
            match shorter(&failure, from, length) {
                Some(shorter) => failure = shorter,
                None => from += length,
            }
        }
        if length > 1 || failure.script.steps.len() == before {
            length /= 2;
        }
    }
    failure
}

fn shorter(failure: &Failure, from: usize, length: usize) -> Option<Failure> {
    let mut script = failure.script.clone();
    let to = script.steps.len().min(from + length);
    script.steps.drain(from..to);
    let shorter = try_script(&script, None).err()?;
    (shorter.invariant.name == failure.invariant.name).then_some(shorter)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Script {
            seed,
            adapter,
            pods,
            steps,
        } = &self.script;
        writeln!(f, "{}: {}", self.invariant.name, self.invariant.sentence)?;
        writeln!(f, "{}", self.what)?;
        writeln!(
            f,
            "of {pods} pods that speak {adapter:?}, after these steps:"
        )?;
        for step in steps {
            writeln!(f, "  {:>6} ms  {:?}", step.at_ms, step.act)?;
        }
        write!(
            f,
            "SEED={seed} cargo test -p unisono-cluster --test it simulation::"
        )
    }
}
