//! Channels to ask each shard of a cluster by whether it is still heard.

use std::collections::BTreeMap;

use crate::cluster::{Slots, slot_of};
use crate::config::Address;
use crate::failure::Failure;

/// Names that are tried for all shards together. One in 16,384 is in the slot of a shard that has only one: such a shard is missed by all of
/// them less than once in a million times, and then the next attempt tries others.
const MAX_NAMES: u32 = 1 << 18;

/// For each master a channel whose slot it owns; all of them begin with `prefix`.
pub(super) fn probes(slots: &Slots, prefix: &str) -> Result<BTreeMap<Address, String>, Failure> {
    let masters = slots.masters().count();
    let mut probes = BTreeMap::new();
    for _ in 0..MAX_NAMES {
        if probes.len() == masters {
            break;
        }
        // Not one after another: names that differ in their last digits only leave out one slot in a hundred.
        let name = format!("{prefix}-{:08x}", fastrand::u32(..));
        if let Some(owner) = slots.owner(slot_of(name.as_bytes()))
            && !probes.contains_key(owner)
        {
            probes.insert(owner.clone(), name);
        }
    }
    match probes.len() {
        0 => Err(Failure::new("no slot of the cluster is served by any node")),
        found if found == masters => Ok(probes),
        _ => Err(Failure::new(
            "a master of the cluster has too few slots to be probed",
        )),
    }
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    fn node(port: u16) -> Address {
        Address {
            host: "a".to_owned(),
            port,
        }
    }

    fn slots(ranges: &[(u16, u16, u16)]) -> Slots {
        let range = |&(first, last, port): &(u16, u16, u16)| {
            let master = Value::Array(vec![
                Value::BulkString(b"a".to_vec()),
                Value::Int(port.into()),
            ]);
            Value::Array(vec![
                Value::Int(first.into()),
                Value::Int(last.into()),
                master,
            ])
        };
        Slots::read(Value::Array(ranges.iter().map(range).collect()), &node(0))
    }

    #[test]
    fn every_master_has_a_channel_in_one_of_its_slots() {
        let slots = slots(&[
            (0, 0, 1),
            (1, 9_000, 2),
            (9_001, 16_382, 3),
            (16_383, 16_383, 2),
        ]);
        let probes = probes(&slots, "probe#1").expect("there is one for each");
        assert_eq!(probes.len(), 3);
        for (master, probe) in probes {
            assert!(probe.starts_with("probe#1-"), "{probe}");
            assert_eq!(slots.owner(slot_of(probe.as_bytes())), Some(&master));
        }
    }

    #[test]
    fn no_slot_is_too_small() {
        for only in (0..16_384).step_by(64) {
            let slots = slots(&[(only, only, 1), (only + 1, 16_383, 2)]);
            assert!(probes(&slots, "probe#1").is_ok(), "slot {only}");
        }
    }

    #[test]
    fn a_cluster_without_slots_has_none() {
        assert!(probes(&slots(&[]), "probe#1").is_err());
    }
}
