//! How links fare.

use super::{HEALS_MS, NOTICES_MS, lived_until, require};
use crate::simulation::world::World;

pub(super) fn deafness_is_noticed(world: &World) -> Result<(), String> {
    for &(pod, at_ms) in &world.record.deafened {
        let due_ms = at_ms + NOTICES_MS;
        let mut changes = world.record.link_changes.iter();
        let noticed = changes.any(|&(changed, when, state)| {
            changed == pod && (at_ms..=due_ms).contains(&when) && !state.is_up()
        });
        require(noticed || !lived_until(world, pod, due_ms), || {
            format!("pod {pod} is deaf since {at_ms} and has not noticed by {due_ms}")
        })?;
    }
    Ok(())
}

pub(super) fn links_heal(world: &World) -> Result<(), String> {
    for healing in &world.record.healings {
        let due_ms = healing.over_ms + NOTICES_MS + HEALS_MS;
        require(healing.calm_ms <= due_ms, || {
            format!("pod {} is whole too late: {healing:?}", healing.pod)
        })?;
    }
    for pod in world.living() {
        require(world.record.is_calm(pod), || {
            format!("pod {pod} is {} at the end", world.pods[pod].link.state())
        })?;
    }
    for &(pod, at_ms, state) in &world.record.link_changes {
        let was_whole = world.record.was_calm(pod, at_ms.saturating_sub(1), at_ms);
        require(state.is_up() || !was_whole, || {
            format!("pod {pod} gave up a link that was whole at {at_ms}")
        })?;
    }
    Ok(())
}
