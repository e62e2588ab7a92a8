//! Members and rooms.

use std::collections::{BTreeMap, BTreeSet};

use unisono_cluster::{Rooms, Slot};

/// Members a, b, c, … in the rooms given for each.
fn rooms(members: &[(&'static str, &[&str])]) -> (Rooms<&'static str>, Vec<Slot>) {
    let mut rooms = Rooms::new();
    let mut slots = Vec::new();
    for (id, joined) in members {
        let slot = rooms.insert(id, *id);
        for room in *joined {
            rooms.join(slot, room);
        }
        slots.push(slot);
    }
    (rooms, slots)
}

fn selected<'a>(rooms: &Rooms<&'a str>, targets: &[&str], except: &[&str]) -> Vec<&'a str> {
    let mut selected = Vec::new();
    rooms.select(targets, except, |member| selected.push(*member));
    selected.sort_unstable();
    selected
}

#[test]
fn a_broadcast_reaches_the_union_of_rooms_minus_exceptions_once() {
    let (rooms, _) = rooms(&[
        ("a", &["r1", "r2"]),
        ("b", &["r1"]),
        ("c", &["r2", "b"]),
        ("d", &[]),
    ]);
    let check = |targets: &[&str], except: &[&str], expected: &[&str]| {
        assert_eq!(
            selected(&rooms, targets, except),
            expected,
            "{targets:?} except {except:?}"
        );
    };
    check(&[], &[], &["a", "b", "c", "d"]);
    check(&[], &["r1"], &["c", "d"]);
    check(&[], &["a"], &["b", "c", "d"]);
    check(&["r1"], &[], &["a", "b"]);
    check(&["r1"], &["a"], &["b"]);
    check(&["r1"], &["nobody"], &["a", "b"]);
    check(&["r1", "r2"], &[], &["a", "b", "c"]);
    check(&["r1", "r1"], &[], &["a", "b"]);
    check(&["r1", "r2"], &["r2"], &["b"]);
    check(&["nowhere"], &[], &[]);
    check(&["a"], &[], &["a"]);
    check(&["b"], &[], &["b", "c"]);
    check(&["d", "r2"], &[], &["a", "c", "d"]);
    check(&["a"], &["a"], &[]);
    check(&[], &["b"], &["a", "d"]);
}

#[test]
fn joining_and_leaving_tell_of_first_and_last() {
    let (mut rooms, slots) = rooms(&[("a", &[]), ("b", &[])]);
    assert!(rooms.join(slots[0], "r"), "first");
    assert!(!rooms.join(slots[0], "r"), "again");
    assert!(!rooms.join(slots[1], "r"), "second");
    assert!(!rooms.join(slots[0], "a"), "own id");
    assert!(!rooms.join(slots[0], "b"), "the room of b exists with b");
    assert_eq!(
        rooms.rooms_of(slots[0]).collect::<BTreeSet<_>>(),
        BTreeSet::from(["a", "b", "r"])
    );
    assert_eq!(rooms.rooms_of(slots[0]).next(), Some("a"), "own id first");
    assert!(
        rooms.is_in(slots[0], "a") && rooms.is_in(slots[0], "r") && !rooms.is_in(slots[1], "a")
    );
    assert!(!rooms.leave(slots[0], "a"), "own id stays");
    assert!(!rooms.leave(slots[0], "r"), "b is still there");
    assert!(!rooms.leave(slots[0], "r"), "was not in it");
    assert!(rooms.leave(slots[1], "r"), "last");
    assert_eq!(
        rooms.local_sids("b").collect::<BTreeSet<_>>(),
        BTreeSet::from(["a", "b"])
    );
    assert_eq!(rooms.local_sids("r").count(), 0);
}

#[test]
fn watched_rooms_are_known_without_members() {
    let (mut rooms, slots) = rooms(&[("a", &[])]);
    assert!(rooms.watch("w"));
    assert!(!rooms.watch("w"));
    assert!(rooms.has_room("w"));
    assert!(!rooms.join(slots[0], "w"), "known already");
    assert!(!rooms.unwatch("w") && !rooms.unwatch("w") && !rooms.unwatch("w"));
    assert!(rooms.has_room("w"), "a is in it");
    assert!(rooms.leave(slots[0], "w"));
    assert!(!rooms.has_room("w") && !rooms.unwatch("w"));
    assert_eq!((rooms.room_count(), rooms.len()), (0, 1));
}

#[test]
fn a_stale_slot_does_nothing() {
    let (mut rooms, slots) = rooms(&[("a", &["r"])]);
    assert_eq!(rooms.remove(slots[0]), Some("a"));
    assert!(rooms.is_empty());
    let successor = rooms.insert("b", "b");
    assert_ne!(successor, slots[0]);
    assert!(!rooms.join(slots[0], "r") && !rooms.leave(slots[0], "r"));
    assert_eq!(rooms.remove(slots[0]), None);
    assert_eq!(rooms.rooms_of(slots[0]).count(), 0);
    assert_eq!((rooms.len(), rooms.room_count()), (1, 0));
    assert_eq!(rooms.by_id("b"), Some(&"b"));
    assert_eq!(rooms.by_id("a"), None);
}

/// Thousands of random changes against the plainest model there is.
#[test]
fn behaves_as_sets_do() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut rooms: Rooms<u32> = Rooms::new();
        let mut model: BTreeMap<u32, (Slot, BTreeSet<String>)> = BTreeMap::new();
        for number in 0..3_000_u32 {
            let room = format!("room-{}", random.u32(..12));
            let target = random.choice(model.keys().copied().collect::<Vec<_>>());
            // Mostly growing at first, mostly shrinking later.
            let shrinking = number > 1_500;
            match (random.u8(..10), target) {
                (0, _) | (1..=2, None) => {
                    let slot = rooms.insert(&number.to_string(), number);
                    model.insert(number, (slot, BTreeSet::new()));
                }
                (1, Some(id)) if shrinking || number % 2 == 0 => {
                    let (slot, _) = model.remove(&id).expect("chosen among them");
                    assert_eq!(rooms.remove(slot), Some(id));
                }
                (2..=4, Some(id)) => {
                    let (slot, joined) = model.get_mut(&id).expect("chosen among them");
                    let was_left = joined.remove(&room);
                    let gone = rooms.leave(*slot, &room);
                    assert_eq!(
                        gone,
                        was_left && !model.values().any(|(_, joined)| joined.contains(&room))
                    );
                }
                (_, Some(id)) => {
                    let known = model.values().any(|(_, joined)| joined.contains(&room));
                    let (slot, joined) = model.get_mut(&id).expect("chosen among them");
                    assert_eq!(rooms.join(*slot, &room), !known);
                    joined.insert(room);
                }
                _ => {}
            }
            if number % 50 == 0 {
                check_against(&rooms, &model, &mut random);
            }
        }
        for (slot, _) in model.into_values() {
            rooms.remove(slot);
        }
        assert_eq!((rooms.len(), rooms.room_count()), (0, 0));
        assert_eq!(rooms.memory_capacity(), 0, "everything was given back");
    }
}

fn check_against(
    rooms: &Rooms<u32>,
    model: &BTreeMap<u32, (Slot, BTreeSet<String>)>,
    random: &mut fastrand::Rng,
) {
    assert_eq!(rooms.len(), model.len());
    let all: BTreeSet<_> = model.values().flat_map(|(_, joined)| joined).collect();
    assert_eq!(
        rooms.room_names().collect::<BTreeSet<_>>(),
        all.iter().map(|room| room.as_str()).collect()
    );
    for (id, (slot, joined)) in model {
        let expected: BTreeSet<_> = joined.iter().cloned().chain([id.to_string()]).collect();
        assert_eq!(
            rooms
                .rooms_of(*slot)
                .map(str::to_owned)
                .collect::<BTreeSet<_>>(),
            expected
        );
    }
    let mut pick = |count: usize| -> Vec<String> {
        let ids = model.keys().map(u32::to_string);
        let names: Vec<_> = ids
            .chain((0..12).map(|room| format!("room-{room}")))
            .collect();
        (0..count)
            .filter_map(|_| random.choice(&names).cloned())
            .collect()
    };
    for (targets, except) in [(0, 0), (1, 0), (0, 1), (1, 1), (3, 0), (3, 2), (0, 3)] {
        let (targets, except) = (pick(targets), pick(except));
        let is_in = |id: &u32, joined: &BTreeSet<String>, names: &[String]| {
            names
                .iter()
                .any(|name| *name == id.to_string() || joined.contains(name))
        };
        let reached = model.iter().filter(|(id, (_, joined))| {
            (targets.is_empty() || is_in(id, joined, &targets)) && !is_in(id, joined, &except)
        });
        let mut selected = Vec::new();
        rooms.select(&targets, &except, |member| selected.push(*member));
        selected.sort_unstable();
        assert_eq!(
            selected,
            reached.map(|(id, _)| *id).collect::<Vec<_>>(),
            "{targets:?} except {except:?}"
        );
    }
}
