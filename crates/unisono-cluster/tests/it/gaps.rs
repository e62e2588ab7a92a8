//! What a peer published and never came, by its numbers.

use unisono_cluster::limits::{MAX_PEERS, MAX_SEQ_LEAP, SILENT_AFTER_MS};
use unisono_cluster::{COMMIT_SEQ_BASE, Gap, Node, PeerStats};

use crate::support::{hello, numbered};

fn node(uid: &str) -> Node {
    Node::new(uid, "socket.io", "/")
}

/// `to` hears a message of `from`.
fn pass(from: &Node, to: &mut Node, seq: u64, now_ms: u64) {
    let mut message = hello();
    message.extension = numbered(seq);
    let (channel, payload) = from.encode(&message).expect("it encodes");
    to.handle_message(&channel, &payload, &|_| true, now_ms);
}

fn of(node: &Node, uid: &str) -> PeerStats {
    let mut peers = node.peer_stats();
    peers.find(|peer| peer.uid == uid).unwrap_or_default()
}

fn lost(node: &mut Node) -> Vec<(String, String, u64)> {
    let gaps = node.take_gaps().into_iter();
    gaps.map(|Gap { uid, server, lost }| (uid, server, lost))
        .collect()
}

#[test]
fn the_end_of_what_was_published_is_missed_as_well() {
    let (peer, mut node) = (node("peer"), node("node"));
    let gap = |lost| vec![("peer".to_owned(), "server".to_owned(), lost)];
    pass(&peer, &mut node, 1, 0);
    pass(&peer, &mut node, 2, 0);
    node.handle_published("peer", 2, "server", 1);
    assert_eq!(lost(&mut node), []);
    // Three more, and then nothing.
    node.handle_published("peer", 5, "server", 1_000);
    assert_eq!(lost(&mut node), gap(3));
    node.handle_published("peer", 5, "server", 2_000);
    assert_eq!(lost(&mut node), []);
    // Between two messages, too, and both add up until they are asked for.
    pass(&peer, &mut node, 7, 2_500);
    pass(&peer, &mut node, 9, 2_500);
    assert_eq!(lost(&mut node), gap(2));
    let expected = PeerStats {
        uid: "peer".to_owned(),
        server: "server".to_owned(),
        last_seq: 9,
        gaps: 5,
        out_of_order: 0,
        received: 4,
        heard_ms: 2_500,
    };
    assert_eq!(of(&node, "peer"), expected);
    assert_eq!(node.stats().gaps, 5);
}

#[test]
fn what_is_told_of_somebody_new_is_where_counting_begins() {
    let (peer, mut node) = (node("peer"), node("node"));
    // Before we were up: not lost.
    node.handle_published("peer", 41, "server", 0);
    assert_eq!(lost(&mut node), []);
    // The first message after that is.
    pass(&peer, &mut node, 43, 10);
    assert_eq!(of(&node, "peer").gaps, 1);
    // Of one that has said nothing only what is behind its first message counts.
    let silent = self::node("silent");
    pass(&silent, &mut node, 7, 10);
    assert_eq!(of(&node, "silent").gaps, 0);
    assert_eq!(of(&node, "silent").server, "");
    // Our own numbers, and those of commits, mean nothing here.
    node.handle_published("node", 7, "server", 20);
    node.handle_published("silent", COMMIT_SEQ_BASE + 7, "server", 20);
    assert_eq!(node.stats().gaps, 1);
    assert_eq!(node.stats().peers, 2);
}

#[test]
fn everything_published_is_received_or_lost_whatever_is_lost() {
    let mut random = fastrand::Rng::with_seed(0x5eed);
    for _ in 0..200 {
        let (peer, mut node) = (node("peer"), node("node"));
        node.handle_published("peer", 0, "server", 0);
        let (mut received, sent) = (0, random.u64(0..50));
        let chance = random.f64();
        for seq in 1..=sent {
            if random.f64() < chance {
                pass(&peer, &mut node, seq, seq);
                received += 1;
            }
            // The heartbeat may be lost too.
            if random.u8(..) < 20 {
                node.handle_published("peer", seq, "server", seq);
            }
        }
        node.handle_published("peer", sent, "server", sent);
        let stats = of(&node, "peer");
        assert_eq!((stats.received, stats.gaps), (received, sent - received));
        assert_eq!(stats.out_of_order, 0);
        let told: u64 = node.take_gaps().iter().map(|gap| gap.lost).sum();
        assert_eq!(told, sent - received);
    }
}

#[test]
fn what_comes_late_or_twice_is_counted_by_peer() {
    let (peer, mut node) = (node("peer"), node("node"));
    for seq in [1, 3, 2, 3] {
        pass(&peer, &mut node, seq, 0);
    }
    let stats = of(&node, "peer");
    assert_eq!((stats.received, stats.gaps, stats.out_of_order), (2, 1, 2));
}

#[test]
fn a_number_that_somebody_else_wrote_is_put_right_by_what_the_server_tells() {
    for forged in [3 + MAX_SEQ_LEAP, 500, 2] {
        let (peer, mut node) = (node("peer"), node("node"));
        node.handle_published("peer", 0, "server", 0);
        pass(&peer, &mut node, 1, 10);
        pass(&peer, &mut node, forged, 20);
        // From the second time on that the server tells of less, what it sends counts again.
        for second in 1..=3_u64 {
            node.handle_published("peer", second, "server", second * 1_000);
            pass(&peer, &mut node, second + 1, second * 1_000 + 500);
        }
        let before = of(&node, "peer");
        assert_eq!(before.last_seq, 4, "{forged}");
        assert!(before.gaps < MAX_SEQ_LEAP);
        node.take_gaps();
        node.handle_published("peer", 7, "server", 4_000);
        assert_eq!(
            lost(&mut node),
            [("peer".to_owned(), "server".to_owned(), 3)]
        );
    }
}

#[test]
fn messages_may_overtake_what_is_told_of_them() {
    let (peer, mut node) = (node("peer"), node("node"));
    node.handle_published("peer", 0, "server", 0);
    for second in 1..=20 {
        let seqs = (second - 1) * 10 + 1..=second * 10;
        seqs.for_each(|seq| pass(&peer, &mut node, seq, second * 1_000));
        // Three were sent after it and came before.
        node.handle_published("peer", second * 10 - 3, "server", second * 1_000);
    }
    let stats = of(&node, "peer");
    assert_eq!(
        (stats.received, stats.gaps, stats.out_of_order),
        (200, 0, 0)
    );
}

#[test]
fn a_peer_is_its_servers_as_long_as_that_tells_of_it() {
    let mut node = node("node");
    node.handle_published("peer", 5, "server", 0);
    node.handle_published("peer", 900, "forger", 1_000);
    let stats = of(&node, "peer");
    assert_eq!((stats.server.as_str(), stats.last_seq), ("server", 5));
    node.handle_published("peer", 6, "heir", SILENT_AFTER_MS);
    assert_eq!(of(&node, "peer").server, "heir");
}

#[test]
fn whoever_lives_is_remembered_however_many_are_made_up() {
    let (peer, mut node) = (node("peer"), node("node"));
    pass(&peer, &mut node, 1, 1_000);
    for n in 0..2 * MAX_PEERS {
        node.handle_published(&format!("made up {n}"), 1, "server", 1_001);
    }
    pass(&peer, &mut node, 3, 1_002);
    assert_eq!(of(&node, "peer").gaps, 1);
    assert_eq!(node.stats().peers, MAX_PEERS as u64);
    // Whoever has fallen silent gives way.
    node.handle_published("new", 1, "server", 1_001 + SILENT_AFTER_MS);
    assert_eq!(of(&node, "new").last_seq, 1);
}

#[test]
fn what_is_remembered_is_bounded_whoever_makes_up_peers() {
    let mut node = node("node");
    for n in 0..=MAX_PEERS as u64 {
        let uid = format!("peer{n}");
        node.handle_published(&uid, 1, "server", n);
        node.handle_published(&uid, u64::from(u32::MAX), "server", n);
    }
    assert_eq!(node.stats().peers, MAX_PEERS as u64);
    assert_eq!(node.take_gaps().len(), MAX_PEERS);
}
