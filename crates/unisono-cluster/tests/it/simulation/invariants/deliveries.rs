//! What members get.

use std::collections::BTreeMap;

use unisono_cluster::limits::ECHO_DEADLINE_MS;

use super::{ARRIVES_MS, lived_until, require};
use crate::simulation::members::Heard;
use crate::simulation::record::{How, Sent};
use crate::simulation::world::World;

pub(super) fn exactly_once(world: &World) -> Result<(), String> {
    for (member, id, sent, heard) in deliveries(world) {
        let pod = world.members[member].pod;
        let is_local = pod == sent.pod && matches!(sent.how, How::LocalFirst | How::Acknowledged);
        let is_promised =
            is_local || (was_whole(world, sent.pod, sent) && was_whole(world, pod, sent));
        let must = sent.to.get(&member) == Some(&true) && is_promised;
        require(
            !must || heard.len() == 1 + sent.repeats || (sent.repeats > 0 && !heard.is_empty()),
            || {
                format!(
                    "member {member} on pod {pod} got broadcast {id} {} times: {sent:?}",
                    heard.len()
                )
            },
        )?;
    }
    Ok(())
}

pub(super) fn at_most_once(world: &World) -> Result<(), String> {
    for (member, id, sent, heard) in deliveries(world) {
        let pod = world.members[member].pod;
        let most = if pod == sent.pod { 1 } else { 1 + sent.repeats };
        require(heard.len() <= most, || {
            format!(
                "member {member} on pod {pod} got broadcast {id} {} times: {sent:?}",
                heard.len()
            )
        })?;
    }
    Ok(())
}

pub(super) fn nobody_else(world: &World) -> Result<(), String> {
    for (member, id, sent, heard) in deliveries(world) {
        require(heard.is_empty() || sent.to.contains_key(&member), || {
            format!("member {member} got broadcast {id}, which is not for it: {sent:?}")
        })?;
    }
    Ok(())
}

pub(super) fn one_order(world: &World) -> Result<(), String> {
    for member in 0..world.members.len() {
        let mut last = 0;
        for (heard, sent) in in_order(world, member) {
            let order = sent.order.unwrap_or(0);
            require(order > last, || {
                format!(
                    "member {member} got broadcast {} of place {order} after one of place {last}",
                    heard.id
                )
            })?;
            last = order;
        }
    }
    Ok(())
}

pub(super) fn revisions(world: &World) -> Result<(), String> {
    for member in 0..world.members.len() {
        for heard in &world.members[member].log {
            let sent = &world.record.sent[heard.id];
            require(
                sent.how != How::Commit || heard.revision == sent.revision,
                || {
                    format!(
                        "member {member} got revision {:?} of {sent:?}",
                        heard.revision
                    )
                },
            )?;
        }
        let revisions: Vec<_> = in_order(world, member)
            .filter_map(|(heard, _)| heard.revision)
            .collect();
        require(revisions.is_sorted(), || {
            format!("member {member} got revisions {revisions:?}")
        })?;
    }
    Ok(())
}

pub(super) fn own_pod_in_time(world: &World) -> Result<(), String> {
    for (member, id, sent, heard) in deliveries(world) {
        let due_ms = sent.at_ms + ECHO_DEADLINE_MS;
        let is_promised = sent.is_ordered()
            && (sent.is_known || !sent.is_unknown)
            && world.members[member].pod == sent.pod
            && sent.to.get(&member) == Some(&true)
            && lived_until(world, sent.pod, due_ms);
        let came = heard.first().is_some_and(|heard| heard.at_ms <= due_ms);
        require(!is_promised || came, || {
            format!(
                "member {member} on the same pod has not got broadcast {id} by {due_ms}: {sent:?}"
            )
        })?;
    }
    Ok(())
}

/// Of each member and broadcast: what it got.
pub(super) fn deliveries(
    world: &World,
) -> impl Iterator<Item = (usize, usize, &Sent, Vec<&Heard>)> {
    let counts: Vec<_> = (0..world.members.len())
        .map(|member| counts(world, member))
        .collect();
    let sent = world.record.sent.iter().enumerate();
    sent.flat_map(move |(id, sent)| {
        let of_member = |(member, counts): (usize, &BTreeMap<usize, Vec<_>>)| {
            (
                member,
                id,
                sent,
                counts.get(&id).cloned().unwrap_or_default(),
            )
        };
        counts.iter().enumerate().map(of_member).collect::<Vec<_>>()
    })
}

/// What a member got of each broadcast.
fn counts(world: &World, member: usize) -> BTreeMap<usize, Vec<&Heard>> {
    let mut counts = BTreeMap::<_, Vec<_>>::new();
    for heard in &world.members[member].log {
        counts.entry(heard.id).or_default().push(heard);
    }
    counts
}

fn was_whole(world: &World, pod: usize, sent: &Sent) -> bool {
    world
        .record
        .was_calm(pod, sent.at_ms, sent.at_ms + ARRIVES_MS)
}

/// The ordered broadcasts that a member got, without those whose place its own pod or a stranger has decided.
fn in_order(world: &World, member: usize) -> impl Iterator<Item = (&Heard, &Sent)> {
    let pod = world.members[member].pod;
    let log = world.members[member].log.iter();
    let log = log.map(|heard| (heard, &world.record.sent[heard.id]));
    log.filter(move |(_, sent)| {
        let is_from_bus = sent.pod != pod || was_whole(world, pod, sent);
        sent.is_ordered() && sent.repeats == 0 && is_from_bus
    })
}
