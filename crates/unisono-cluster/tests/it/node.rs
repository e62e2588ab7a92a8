//! The conversation of one namespace.

use unisono_cluster::broker::Subscription;
use unisono_cluster::limits::{ECHO_DEADLINE_MS, MAX_PEERS, MAX_PENDING_ECHOES, SILENT_AFTER_MS};
use unisono_cluster::{
    Awaited, Broadcast, COMMIT_SEQ_BASE, DecodeError, Expired, Extension, Node, NodeStats,
    Received, TooManyEchoes,
};
use unisono_proto::Value;

use crate::support::{event, hello, map, names, numbered, str};

const DELIVERED: fn(&str) -> bool = |_| true;

fn node(uid: &str) -> Node {
    Node::new(uid, "socket.io", "/")
}

fn ordered(seq: u64) -> Broadcast {
    Broadcast {
        extension: Some(Extension {
            seq,
            ordered: true,
            ..Extension::default()
        }),
        ..hello()
    }
}

/// What `to` makes of a message of `from`.
fn pass(from: &Node, to: &mut Node, broadcast: &Broadcast, now_ms: u64) -> Received {
    let (channel, payload) = from.encode(broadcast).expect("it encodes");
    to.handle_message(&channel, &payload, &DELIVERED, now_ms)
}

#[test]
fn messages_of_peers_are_for_whom_they_concern() {
    let (peer, mut node) = (node("peer"), node("node"));
    let to_room = Broadcast {
        rooms: names(&["r1"]),
        ..hello()
    };
    let (channel, payload) = peer.encode(&to_room).expect("it encodes");
    let mut check = |channel: &str, payload: &[u8], has_room: bool, expected: Received| {
        assert_eq!(
            node.handle_message(channel, payload, &|room| room == "r1" && has_room, 0),
            expected,
            "{channel}"
        );
    };
    check(&channel, &payload, true, Received::Deliver(to_room.clone()));
    check(&channel, &payload, false, Received::NotHere);
    check(
        "socket.io#/#",
        &payload,
        false,
        Received::Deliver(to_room.clone()),
    );
    check("socket.io#/chat#", &payload, true, Received::Foreign);
    check(
        "socket.io-request#/chat#",
        &payload,
        true,
        Received::Foreign,
    );
    check(
        &channel,
        b"{}",
        true,
        Received::Undecodable(DecodeError::Envelope),
    );
    check(&channel, b"", false, Received::NotHere);
    let other = Node::new("other", "socket.io", "/other");
    let (_, elsewhere) = other.encode(&to_room).expect("it encodes");
    check(&channel, &elsewhere, true, Received::Foreign);
    let stats = node.stats();
    let mut expected = NodeStats::default();
    expected.delivered = 2;
    expected.not_here = 2;
    expected.foreign = 3;
    expected.undecodable = 1;
    assert_eq!(stats, expected);
}

#[test]
fn it_subscribes_with_one_pattern_and_is_counted_last() {
    let channel = |name: &str| Subscription::Channel(name.to_owned());
    assert_eq!(
        Node::new("n", "socket.io", "/a*").subscriptions(),
        [
            Subscription::Pattern("socket.io#/a\\*#*".to_owned()),
            channel("socket.io-response#/a*#"),
            channel("socket.io-response#/a*#n#"),
            channel("socket.io-request#/a*#"),
        ]
    );
}

#[test]
fn own_messages_are_dropped() {
    let mut node = node("node");
    let (channel, payload) = node.encode(&hello()).expect("it encodes");
    assert_eq!(
        node.handle_message(&channel, &payload, &DELIVERED, 0),
        Received::Own
    );
    let (channel, payload) = node.encode(&ordered(1)).expect("it encodes");
    assert_eq!(
        node.handle_message(&channel, &payload, &DELIVERED, 0),
        Received::Own,
        "nobody awaits it"
    );
}

#[test]
fn an_echo_is_delivered_once_even_if_the_room_is_empty_by_now() {
    let mut node = node("node");
    let seq = node.next_seq();
    let broadcast = Broadcast {
        rooms: names(&["r1"]),
        ..ordered(seq)
    };
    let (channel, payload) = node.encode(&broadcast).expect("it encodes");
    assert_eq!(
        node.expect_echo(seq, Awaited::Broadcast(broadcast.clone()), 100),
        Ok(())
    );
    assert_eq!(node.next_deadline(), Some(100 + ECHO_DEADLINE_MS));
    assert_eq!(
        node.handle_message(&channel, &payload, &|_| false, 101),
        Received::Echo(broadcast)
    );
    assert_eq!(node.next_deadline(), None);
    assert_eq!(
        node.handle_message(&channel, &payload, &|_| false, 102),
        Received::Own
    );
    assert_eq!(node.stats().echoes, 1);
}

#[test]
fn an_echo_that_does_not_come_is_given_up_and_dropped_when_it_comes_late() {
    let mut node = node("node");
    for seq in [1, 2, 3] {
        assert_eq!(
            node.expect_echo(seq, Awaited::Broadcast(ordered(seq)), seq * 10),
            Ok(())
        );
    }
    assert!(node.cancel_echo(2));
    assert!(!node.cancel_echo(2));
    assert_eq!(node.handle_timeout(9 + ECHO_DEADLINE_MS), []);
    assert_eq!(
        node.handle_timeout(10 + ECHO_DEADLINE_MS),
        [Expired {
            seq: 1,
            broadcast: Some(ordered(1))
        }]
    );
    assert_eq!(node.next_deadline(), Some(30 + ECHO_DEADLINE_MS));
    let (channel, payload) = node.encode(&ordered(1)).expect("it encodes");
    assert_eq!(
        node.handle_message(&channel, &payload, &DELIVERED, 5_000),
        Received::Own
    );
    assert_eq!(
        node.handle_timeout(u64::MAX),
        [Expired {
            seq: 3,
            broadcast: Some(ordered(3))
        }]
    );
    assert_eq!(node.stats().echoes_expired, 2);
}

#[test]
fn a_commit_is_delivered_with_its_revision() {
    let (mut node, mut peer) = (node("node"), node("peer"));
    let commit = |node: &mut Node| {
        let seq = node.next_commit_seq();
        let broadcast = Broadcast {
            extension: ordered(seq).extension,
            ..event(&[str("state"), map(&[])])
        };
        let template = node
            .encode_template(&broadcast, "revision")
            .expect("it encodes");
        assert_eq!(
            node.expect_echo(seq, Awaited::Template(template.clone()), 0),
            Ok(())
        );
        template
    };
    let template = commit(&mut node);
    assert!(template.seq >= COMMIT_SEQ_BASE);
    let message = template.fill(8);
    // Somebody else's, with our name and our number on it, is not taken for it.
    let mut forged = message.to_vec();
    let behind_name = 1 + 1 + "node".len();
    forged[behind_name] = 0xc1;
    let received = node.handle_message(&template.channel, &forged, &DELIVERED, 1);
    assert!(matches!(received, Received::Undecodable(_)), "{received:?}");
    let Received::Echo(echo) = node.handle_message(&template.channel, &message, &DELIVERED, 1)
    else {
        panic!("the echo is delivered");
    };
    assert_eq!(echo.args[1], map(&[("revision", Value::Int(8))]));
    assert_eq!(
        peer.handle_message(&template.channel, &message, &DELIVERED, 1),
        Received::Deliver(echo)
    );
    // One whose echo does not come, and one whose outcome is not known either.
    let (known, unknown) = (commit(&mut node), commit(&mut node));
    node.set_revision(known.seq, 9);
    node.set_revision(12_345, 9);
    let expired = node.handle_timeout(ECHO_DEADLINE_MS);
    assert_eq!(
        expired
            .iter()
            .map(|expired| expired.seq)
            .collect::<Vec<_>>(),
        [known.seq, unknown.seq]
    );
    let revision = |expired: &Expired| {
        expired
            .broadcast
            .as_ref()
            .and_then(|broadcast| broadcast.extension.as_ref()?.revision)
    };
    assert_eq!(
        expired.iter().map(revision).collect::<Vec<_>>(),
        [Some(9), None]
    );
}

#[test]
fn pending_echoes_are_bounded() {
    let mut node = node("node");
    for seq in 0..MAX_PENDING_ECHOES as u64 {
        assert_eq!(
            node.expect_echo(seq, Awaited::Broadcast(hello()), 0),
            Ok(())
        );
    }
    assert_eq!(
        node.expect_echo(9_999, Awaited::Broadcast(hello()), 0),
        Err(TooManyEchoes)
    );
    assert!(node.cancel_echo(0));
    assert_eq!(
        node.expect_echo(9_999, Awaited::Broadcast(hello()), 0),
        Ok(())
    );
}

#[test]
fn gaps_in_what_a_peer_sent_are_counted() {
    let (peer, mut node) = (node("peer"), node("node"));
    let mut hear = |seq: u64, gaps: u64, out_of_order: u64| {
        pass(
            &peer,
            &mut node,
            &Broadcast {
                extension: numbered(seq),
                ..hello()
            },
            seq,
        );
        let stats = node.stats();
        assert_eq!(
            (stats.gaps, stats.out_of_order, stats.peers),
            (gaps, out_of_order, 1),
            "after {seq}"
        );
    };
    hear(5, 0, 0);
    hear(6, 0, 0);
    hear(8, 1, 0);
    hear(8, 1, 1);
    hear(7, 1, 2);
    hear(12, 4, 2);
    // Commits and messages without a number say nothing.
    hear(COMMIT_SEQ_BASE + 100, 4, 2);
    hear(0, 4, 2);
    hear(13, 4, 2);
}

#[test]
fn a_message_for_another_room_is_no_gap() {
    let (mut peer, mut node) = (node("peer"), node("node"));
    for room in ["here", "elsewhere", "here"] {
        let seq = peer.next_seq();
        let broadcast = Broadcast {
            rooms: names(&[room]),
            extension: numbered(seq),
            ..hello()
        };
        let (channel, payload) = peer.encode(&broadcast).expect("it encodes");
        node.handle_message(&channel, &payload, &|room| room == "here", 0);
    }
    let stats = node.stats();
    assert_eq!((stats.delivered, stats.not_here, stats.gaps), (2, 1, 0));
}

#[test]
fn remembered_peers_are_bounded_and_the_quietest_is_forgotten() {
    let mut node = node("node");
    let numbered = |seq| Broadcast {
        extension: numbered(seq),
        ..hello()
    };
    for index in 0..=MAX_PEERS {
        let peer = Node::new(format!("peer-{index}"), "socket.io", "/");
        // The last comes when the first have fallen silent.
        let now_ms = index as u64 + SILENT_AFTER_MS * u64::from(index == MAX_PEERS);
        pass(&peer, &mut node, &numbered(1), now_ms);
    }
    assert_eq!(node.stats().peers, MAX_PEERS as u64);
    // The first was forgotten, so a jump means nothing; the last is known, so it does.
    pass(
        &Node::new(format!("peer-{MAX_PEERS}"), "socket.io", "/"),
        &mut node,
        &numbered(3),
        10_000,
    );
    pass(
        &Node::new("peer-0", "socket.io", "/"),
        &mut node,
        &numbered(50),
        10_001,
    );
    assert_eq!(node.stats().gaps, 1);
}
