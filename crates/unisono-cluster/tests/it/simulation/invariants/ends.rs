//! What is true at the end.

use std::collections::BTreeSet;

use super::deliveries::deliveries;
use super::requests::answered_by;
use super::require;
use crate::simulation::world::World;

pub(super) fn losses_are_counted(world: &World) -> Result<(), String> {
    for pod in world.living() {
        let handed = world.record.handed.iter().filter(|((to, _), _)| *to == pod);
        let missed: u64 = handed
            .map(|((_, from), numbers)| missed(world, *from, numbers))
            .sum();
        let counted = world.pods[pod].node.stats().gaps;
        require(counted == missed, || {
            format!("pod {pod} missed {missed} messages and counted {counted}")
        })?;
    }
    Ok(())
}

/// Of what a pod emitted between the first and the last number that came: what did not come, or only after a later one.
fn missed(world: &World, from: usize, numbers: &[u64]) -> u64 {
    let (first, greatest) = (numbers[0], numbers.iter().max().copied().unwrap_or(0));
    let mut came = BTreeSet::new();
    for number in numbers {
        if came.last().is_none_or(|last| last < number) {
            came.insert(*number);
        }
    }
    let emitted = world.record.sent.iter().filter(|sent| {
        let is_between = |seq: u64| (first..=greatest).contains(&seq);
        sent.pod == from && sent.seq.is_some_and(is_between)
    });
    emitted.count() as u64 - came.len() as u64
}

pub(super) fn convergence(world: &World) -> Result<(), String> {
    for (member, id, sent, heard) in deliveries(world) {
        let must = sent.is_last && sent.to.get(&member) == Some(&true);
        require(!must || heard.len() == 1, || {
            format!(
                "member {member} got broadcast {id} of the last round {} times: {sent:?}",
                heard.len()
            )
        })?;
    }
    let living: Vec<_> = world.living().collect();
    for pod in &living {
        let emitted = world
            .record
            .sent
            .iter()
            .filter(|sent| sent.is_last && sent.pod == *pod);
        require(emitted.count() == 3, || {
            format!("the store does not answer pod {pod}")
        })?;
    }
    let mut asks = world.record.asks.iter().filter(|ask| ask.is_last);
    asks.try_for_each(|ask| answered_by(world, ask, &living))
}

pub(super) fn nothing_is_kept(world: &World) -> Result<(), String> {
    for pod in world.living() {
        let one = &world.pods[pod];
        let kept = (
            one.node.next_deadline(),
            one.ledger.bytes(),
            one.link.buffered(),
        );
        require(kept == (None, 0, 0), || {
            format!("pod {pod} keeps {kept:?}: deadline, bytes of answers, messages")
        })?;
        let peers = one.node.stats().peers;
        require(peers < world.pods.len() as u64, || {
            format!("pod {pod} remembers {peers} others")
        })?;
        let (rooms, capacity) = (one.rooms.room_count(), one.rooms.memory_capacity());
        require(one.rooms.is_empty() && rooms == 0 && capacity == 0, || {
            format!(
                "pod {pod} keeps {} members, {rooms} rooms and tables for {capacity}",
                one.rooms.len()
            )
        })?;
    }
    Ok(())
}
