use std::collections::BTreeSet;

use redis::Value;

use super::*;
use crate::cluster::Slots;

/// A node by its letter.
fn node(name: char) -> Address {
    Address {
        host: name.to_string(),
        port: 7000,
    }
}

/// Who serves the three thirds of the slots, as in `abc`; `-` is nobody.
fn slots(owners: &str) -> Slots {
    let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
    let ranges = owners
        .chars()
        .zip([(0, 5000), (5001, 10_000), (10_001, 16_383)]);
    let ranges = ranges
        .filter(|(owner, _)| *owner != '-')
        .map(|(owner, (first, last))| {
            let master = Value::Array(vec![text(&owner.to_string()), Value::Int(7000)]);
            Value::Array(vec![Value::Int(first), Value::Int(last), master])
        });
    Slots::read(Value::Array(ranges.collect()), &node('?'))
}

/// Lines of a node, `+` (well) or `!` (cut off, or the cluster is down), and the owners that it names; or `?` where it does not answer.
fn view(lines: &[&str]) -> ClusterView {
    let mut view = ClusterView::default();
    for line in lines {
        let mut letters = line.chars();
        let name = letters.next().expect("a node");
        let state = letters.next().expect("a state");
        let survey = Survey {
            slots: slots(letters.as_str()),
            is_healthy: state == '+',
        };
        view.take(node(name), (state != '?').then_some(survey));
    }
    view
}

/// The judgement of a view: where to go, and what a link at each of the nodes does.
#[track_caller]
fn check(lines: &[&str], struck: &str, place: Option<char>, leaves: &[(char, Reason)]) {
    let view = view(lines);
    let is_struck = |node: &Address| struck.contains(&node.host);
    let found = view.place(is_struck);
    assert_eq!(found, place.map(node).as_ref(), "{lines:?}");
    for here in view.answers.keys() {
        let letter = here.host.chars().next().expect("a letter");
        let expected = leaves.iter().find(|(name, _)| *name == letter);
        let left = view.leave(here, is_struck);
        assert_eq!(
            left.as_ref().map(|wish| wish.reason),
            expected.map(|(_, reason)| *reason),
            "{here} in {lines:?}"
        );
        // Whoever goes, goes where whoever comes is sent: nobody is sent away from there.
        if let Some(wish) = left {
            assert_eq!(wish.to.as_ref(), found);
        }
    }
    if let Some(place) = found {
        assert_eq!(view.leave(place, is_struck), None, "{lines:?}");
    }
}

use Reason::{Demoted, LeftBehind, Meeting};

#[test]
fn links_of_a_cluster_meet_where_its_first_slot_is() {
    // Well, whoever has answered.
    check(
        &["a+abc", "b+abc", "c+abc"],
        "",
        Some('a'),
        &[('b', Meeting), ('c', Meeting)],
    );
    check(&["b+abc", "a+abc", "c?"], "", Some('a'), &[('b', Meeting)]);
    // The slot has moved.
    check(
        &["a+cba", "b+cba", "c+cba"],
        "",
        Some('c'),
        &[('a', Meeting), ('b', Meeting)],
    );
    // A replica is no place, and knows the place.
    check(&["a+abc", "r+abc"], "", Some('a'), &[('r', Demoted)]);
    check(&["r+abc"], "", None, &[]);
}

#[test]
fn where_the_owner_of_the_first_slot_does_not_answer_all_take_the_same_other_master() {
    // Whether it is dead, or well for others: nobody moves, all who come take the same.
    check(&["a?", "b+abc", "c+abc"], "", Some('b'), &[]);
    check(&["a?", "c+abc", "b+abc"], "", Some('b'), &[]);
    check(&["a?", "c+abc"], "", Some('c'), &[]);
    // Its replica has taken over; a node that has not heard of it yet changes nothing.
    check(
        &["a?", "b+rbc", "c+abc", "r+rbc"],
        "",
        Some('r'),
        &[('b', Meeting), ('c', Meeting)],
    );
    // It is back, and knows of it.
    check(
        &["a+rbc", "b+rbc", "r+rbc"],
        "",
        Some('r'),
        &[('a', Demoted), ('b', Meeting)],
    );
    // Nobody owns the slot, with the other slots served all the same, or not.
    check(&["b+-bc", "c+-bc"], "", Some('b'), &[]);
    check(&["b!-bc", "c!-bc"], "", Some('b'), &[]);
}

#[test]
fn a_node_that_is_cut_off_is_left_for_those_that_are_well() {
    // The minority believes what was true before.
    check(
        &["a!abc", "b+rbc", "c+rbc", "r+rbc"],
        "",
        Some('r'),
        &[('a', LeftBehind), ('b', Meeting), ('c', Meeting)],
    );
    check(&["a!abc", "b+abc"], "", Some('b'), &[('a', LeftBehind)]);
    // The cluster is down wherever one looks: all meet, and nobody is sent about.
    check(&["a!abc", "b!abc", "c!abc"], "", Some('a'), &[]);
    check(&["b!abc", "c!abc"], "", Some('b'), &[]);
    // Two that both say to own it: the one that more say it of.
    check(
        &["a+abc", "b+rbc", "c+rbc", "r+rbc"],
        "",
        Some('r'),
        &[('a', Meeting), ('b', Meeting), ('c', Meeting)],
    );
    check(&["a+abc", "r+rbc"], "", Some('a'), &[('r', Meeting)]);
}

#[test]
fn a_node_where_connections_fail_is_let_alone_for_a_while() {
    check(&["a+abc", "b+abc", "c+abc"], "a", Some('b'), &[]);
    check(&["a+abc", "b+abc", "c+abc"], "ab", Some('c'), &[]);
    // Unless there is no better one.
    check(&["a+abc", "b!abc"], "a", Some('a'), &[('b', LeftBehind)]);
    check(&["a+abc", "b+abc"], "ab", Some('a'), &[('b', Meeting)]);
}

#[test]
fn nothing_is_judged_without_an_answer() {
    check(&["a?", "b?"], "", None, &[]);
    check(&[], "", None, &[]);
    // The link's own server does not answer, others do.
    assert_eq!(view(&["a?", "b+bbc"]).leave(&node('a'), |_| false), None);
}

#[test]
fn further_nodes_are_asked_for_their_own_word() {
    let check = |lines: &[&str], expected: &str| {
        let asked: BTreeSet<_> = view(lines).to_ask(6).into_iter().collect();
        let expected: BTreeSet<_> = expected.chars().map(node).collect();
        assert_eq!(asked, expected, "{lines:?}");
    };
    check(&["r+abc"], "a");
    check(&["b+abc", "c+rbc"], "ar");
    check(&["a?", "r+abc"], "bc");
    check(&["a?", "b+abc", "c?"], "");
    check(&["a?"], "");
    assert_eq!(view(&["r+abc", "a?"]).to_ask(1), [node('b')]);
    let decisive = |lines: &[&str], struck: char| {
        view(lines).is_decisive(|node| node.host.starts_with(struck))
    };
    assert!(decisive(&["a+abc"], '-'));
    assert!(!decisive(&["a+abc"], 'a'));
    assert!(!decisive(&["a!abc"], '-'));
    assert!(!decisive(&["b+abc"], '-'));
    assert!(view(&["a+abc"]).is_meeting_place(&node('a')));
    assert!(!view(&["a+abc", "b+abc"]).is_meeting_place(&node('b')));
    assert!(!view(&["a!abc"]).is_meeting_place(&node('a')));
}

/// `votes` are the letters that sentinels name, `masters` and `replicas` those who say that they are.
#[track_caller]
fn check_sentinels(
    votes: &str,
    masters: &str,
    replicas: &str,
    place: Option<char>,
    leaves: &[(char, Reason)],
) {
    let mut view = SentinelView::default();
    votes.chars().for_each(|named| view.take_vote(node(named)));
    for name in masters.chars() {
        view.take_role(node(name), true);
    }
    for name in replicas.chars() {
        view.take_role(node(name), false);
    }
    let shown = format!("{votes:?} {masters:?} {replicas:?}");
    assert_eq!(view.place(), place.map(node).as_ref(), "{shown}");
    for name in ['a', 'b', 'c'] {
        let expected = leaves.iter().find(|(leaving, _)| *leaving == name);
        let left = view.leave(&node(name));
        assert_eq!(
            left.as_ref().map(|wish| wish.reason),
            expected.map(|(_, reason)| *reason),
            "{name} in {shown}"
        );
        if let Some(wish) = left {
            assert_eq!(wish.to.as_ref(), view.place(), "{shown}");
        }
    }
}

#[test]
fn the_master_is_whom_most_sentinels_name_and_who_says_so() {
    // All agree.
    check_sentinels(
        "aaa",
        "a",
        "",
        Some('a'),
        &[('b', LeftBehind), ('c', LeftBehind)],
    );
    // One has not heard of the failover yet; the old master has, or not.
    check_sentinels(
        "abb",
        "b",
        "a",
        Some('b'),
        &[('a', Demoted), ('c', LeftBehind)],
    );
    check_sentinels(
        "abb",
        "ab",
        "",
        Some('b'),
        &[('a', LeftBehind), ('c', LeftBehind)],
    );
    // Two disagree and the third is silent: all take the same, whatever order the answers came in.
    check_sentinels(
        "ba",
        "ab",
        "",
        Some('a'),
        &[('b', LeftBehind), ('c', LeftBehind)],
    );
    check_sentinels(
        "ab",
        "ab",
        "",
        Some('a'),
        &[('b', LeftBehind), ('c', LeftBehind)],
    );
    // Most name one that is dead: the other, and whoever is there stays.
    check_sentinels(
        "aab",
        "b",
        "",
        Some('b'),
        &[('a', LeftBehind), ('c', LeftBehind)],
    );
}

#[test]
fn without_a_master_there_is_no_place_and_who_was_left_goes() {
    // The named one is a replica still: a failover is under way.
    check_sentinels(
        "bbb",
        "",
        "b",
        None,
        &[('a', LeftBehind), ('b', Demoted), ('c', LeftBehind)],
    );
    // It does not answer; whoever is there is probed by its link.
    check_sentinels("bbb", "", "", None, &[('a', LeftBehind), ('c', LeftBehind)]);
    // The old master still calls itself one, and no sentinel does.
    check_sentinels(
        "bbb",
        "a",
        "",
        None,
        &[('a', LeftBehind), ('c', LeftBehind)],
    );
    // No sentinel answers: nothing is known, unless the server says that it is none.
    check_sentinels("", "a", "", None, &[]);
    check_sentinels("", "", "a", None, &[('a', Demoted)]);
}
