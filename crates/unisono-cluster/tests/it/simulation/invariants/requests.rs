//! What comes of requests.

use std::collections::BTreeSet;

use unisono_cluster::Answered;
use unisono_proto::Value;

use super::{ARRIVES_MS, COUNTED_MS, lived_until, require};
use crate::simulation::record::{Ask, Question};
use crate::simulation::world::World;

pub(super) fn requests_end(world: &World) -> Result<(), String> {
    for ask in &world.record.asks {
        let due_ms = ask.at_ms + ask.timeout_ms;
        let ended = ask
            .ended
            .as_ref()
            .is_some_and(|(at_ms, _)| *at_ms <= due_ms);
        require(ended || !lived_until(world, ask.pod, due_ms), || {
            format!("not over by {due_ms}: {ask:?}")
        })?;
    }
    Ok(())
}

pub(super) fn everybody_answers(world: &World) -> Result<(), String> {
    for ask in &world.record.asks {
        let (from_ms, to_ms) = (ask.at_ms.saturating_sub(COUNTED_MS), ask.at_ms + ARRIVES_MS);
        let pods: Vec<_> = around(world, from_ms, to_ms).collect();
        let is_whole = pods
            .iter()
            .all(|pod| world.record.was_calm(*pod, from_ms, to_ms));
        if is_whole && ask.timeout_ms >= ARRIVES_MS && !ask.is_repeated {
            answered_by(world, ask, &pods)?;
        }
    }
    Ok(())
}

pub(super) fn nobody_counts_twice(world: &World) -> Result<(), String> {
    for ask in &world.record.asks {
        let Some((at_ms, answered)) = &ask.ended else {
            continue;
        };
        let others = around(world, ask.at_ms, *at_ms).count() - 1;
        let is_bounded = ask.is_repeated || answered.nodes_answered <= others;
        let texts = texts(answered);
        let names: BTreeSet<_> = texts.iter().collect();
        let mut moves = world.record.moves_ms.iter();
        // Nothing tells the same answer of two nodes from one that is repeated, except where names of sockets are in it.
        let may_repeat = match ask.question {
            Question::Sockets => {
                ask.is_repeated && moves.any(|when| (ask.at_ms..=*at_ms).contains(when))
            }
            Question::ServerSide => ask.is_repeated,
            Question::Rooms | Question::Acknowledgements => true,
        };
        require(
            is_bounded && (may_repeat || names.len() == texts.len()),
            || format!("of {others} others: {ask:?}"),
        )?;
    }
    Ok(())
}

pub(super) fn answered_by(world: &World, ask: &Ask, pods: &[usize]) -> Result<(), String> {
    let Some((at_ms, answered)) = &ask.ended else {
        return Err(format!("no answer: {ask:?}"));
    };
    let others = pods.len() - 1;
    let is_complete = answered.nodes_expected == Some(others)
        && answered.nodes_answered == others
        && *at_ms <= ask.at_ms + ARRIVES_MS;
    let is_right = match ask.question {
        Question::ServerSide => {
            let others = pods.iter().filter(|pod| **pod != ask.pod);
            let names: BTreeSet<_> = others.map(|pod| world.pods[*pod].node.uid()).collect();
            texts(answered).into_iter().collect::<BTreeSet<_>>() == names
        }
        Question::Acknowledgements => answered.answers.len() as u64 == answered.clients_asked,
        Question::Sockets | Question::Rooms => true,
    };
    require(is_complete && is_right, || {
        format!("of {others} others: {ask:?}")
    })
}

/// The pods that lived at some time while the request could be answered, or that were counted still because the bus could not know better.
fn around(world: &World, from_ms: u64, to_ms: u64) -> impl Iterator<Item = usize> {
    (0..world.pods.len()).filter(move |pod| {
        let one = &world.pods[*pod];
        let known_ms = |ended_ms: u64| ended_ms.max(one.troubled_until_ms);
        one.began_ms <= to_ms
            && one
                .ended_ms
                .is_none_or(|ended_ms| known_ms(ended_ms) >= from_ms)
    })
}

fn texts(answered: &Answered) -> Vec<&str> {
    answered.answers.iter().filter_map(Value::as_str).collect()
}
