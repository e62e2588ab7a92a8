//! What must be true of every run: each a sentence and the check of it, held against what really happened.

mod deliveries;
mod ends;
mod links;
mod requests;

use super::world::World;

/// In a whole cluster everything has arrived, and been answered, after this time.
const ARRIVES_MS: u64 = 1_000;

/// Within this time before a question a connection that was replaced may still be counted.
const COUNTED_MS: u64 = 100;

/// In which a link notices that it is deaf, as `unisono-redis` says of its limits.
const NOTICES_MS: u64 = 2_300;

/// In which a link is up again after the bus can be reached, as `unisono-redis` says of its limits.
const HEALS_MS: u64 = 4_000;

#[derive(Debug)]
pub(super) struct Invariant {
    pub(super) name: &'static str,
    pub(super) sentence: &'static str,
    pub(super) check: fn(&World) -> Result<(), String>,
}

pub(super) const INVARIANTS: &[Invariant] = &[
    Invariant {
        name: "exactly-once",
        sentence: "While no link is cut, whoever is in a room gets each broadcast to it exactly once; members of the pod that emits it local first always do.",
        check: deliveries::exactly_once,
    },
    Invariant {
        name: "at-most-once",
        sentence: "Whatever happens, nobody gets a broadcast twice, unless a stranger publishes it again; its own pod does not deliver it twice even then.",
        check: deliveries::at_most_once,
    },
    Invariant {
        name: "nobody-else",
        sentence: "Nobody gets a broadcast to a room that they are not in.",
        check: deliveries::nobody_else,
    },
    Invariant {
        name: "one-order",
        sentence: "Ordered broadcasts are delivered everywhere in the order of the bus, except on a pod that has given up waiting for its own.",
        check: deliveries::one_order,
    },
    Invariant {
        name: "revisions",
        sentence: "A commit is delivered with the revision that the store gave it, and revisions never go back.",
        check: deliveries::revisions,
    },
    Invariant {
        name: "own-pod-in-time",
        sentence: "An ordered broadcast is delivered on its own pod in time, whatever becomes of the link; of a commit whose outcome is not known the pod is told so.",
        check: deliveries::own_pod_in_time,
    },
    Invariant {
        name: "deafness-is-noticed",
        sentence: "A link that does not hear any more knows it in time.",
        check: links::deafness_is_noticed,
    },
    Invariant {
        name: "links-heal",
        sentence: "A link is up again in time once the bus can be reached, and is not given up while it is whole.",
        check: links::links_heal,
    },
    Invariant {
        name: "requests-end",
        sentence: "No request outlives its deadline.",
        check: requests::requests_end,
    },
    Invariant {
        name: "everybody-answers",
        sentence: "While no link is cut, a request ends with the answers of all pods.",
        check: requests::everybody_answers,
    },
    Invariant {
        name: "nobody-counts-twice",
        sentence: "Nobody's answer counts twice, and no more answer than there are.",
        check: requests::nobody_counts_twice,
    },
    Invariant {
        name: "losses-are-counted",
        sentence: "What a pod missed of another is counted as soon as it hears of that again, and nothing else is.",
        check: ends::losses_are_counted,
    },
    Invariant {
        name: "convergence",
        sentence: "Once the faults are over everybody hears and answers everybody again.",
        check: ends::convergence,
    },
    Invariant {
        name: "nothing-is-kept",
        sentence: "Nothing is remembered of what is over: no echo, request, answer or message, and no room of those who have left.",
        check: ends::nothing_is_kept,
    },
];

fn require(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

fn lived_until(world: &World, pod: usize, until_ms: u64) -> bool {
    world.pods[pod]
        .ended_ms
        .is_none_or(|ended_ms| ended_ms > until_ms)
}
