//! A cluster in one thread and virtual time: true nodes, rooms, wire and link machine on a bus that fails as a seed says.
//!
//! A seed makes a [`script::Script`]: which adapter pods speak, who emits, asks, comes and goes, and what breaks. The [`world::World`] runs it, and notes what really happened;
//! the [`invariants`] are held against that. A script that breaks one is made as short as it can be and printed with its seed:
//!
//! ```text
//! SEED=… cargo test -p unisono-cluster --test it simulation::
//! SIMULATION_SEEDS=100000 cargo test -p unisono-cluster --test it simulation::
//! ```
//!
//! What is not the product's here: the bus (`bus`), the queue before it and the timers of a link (`link`), and the few lines between node, rooms and
//! link that are the shell's (`pod`, `requests`, `following`).

mod agenda;
mod bus;
mod faults;
mod following;
mod invariants;
mod link;
mod members;
mod pod;
mod record;
mod requests;
mod runner;
mod sabotage;
mod script;
mod world;

use sabotage::Sabotage;

/// Seeds among which a sabotage must show.
const SABOTAGED_SEEDS: u64 = 200;

#[test]
fn the_invariants_hold_whatever_happens_to_a_cluster() {
    runner::run_all();
}

/// Whoever breaks this finds it here, and that each check can fail.
#[test]
fn each_invariant_is_broken_by_a_cluster_that_does_otherwise() {
    let missed: Vec<_> = [
        ("exactly-once", Sabotage::LoseSome),
        ("exactly-once", Sabotage::ForgetSubscription),
        ("exactly-once", Sabotage::ForgetRooms),
        ("exactly-once", Sabotage::LeaveRooms),
        ("exactly-once", Sabotage::TellLate),
        ("at-most-once", Sabotage::DeliverOwn),
        ("nobody-else", Sabotage::IgnoreRooms),
        ("one-order", Sabotage::MessagesOvertake),
        ("one-order", Sabotage::OrderedAtOnce),
        ("revisions", Sabotage::WrongRevision),
        ("own-pod-in-time", Sabotage::ForgetOverdue),
        ("deafness-is-noticed", Sabotage::LinkNeverProbes),
        ("links-heal", Sabotage::LinkSleeps),
        ("links-heal", Sabotage::LinkGivesUp),
        ("requests-end", Sabotage::RequestsWaitForEver),
        ("everybody-answers", Sabotage::OneIsMute),
        ("nobody-counts-twice", Sabotage::AnswersComeTwice),
        ("losses-are-counted", Sabotage::SkipOtherRooms),
        ("convergence", Sabotage::ForgetSubscription),
        ("nothing-is-kept", Sabotage::KeepMembers),
        ("nothing-is-kept", Sabotage::RequestsWaitForEver),
    ]
    .into_iter()
    .filter(|(name, sabotage)| !runner::is_broken_by(*sabotage, name, SABOTAGED_SEEDS))
    .collect();
    assert_eq!(missed, []);
}
