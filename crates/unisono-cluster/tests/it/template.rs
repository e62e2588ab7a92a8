//! Messages whose revision comes last.

use unisono_cluster::classic::{decode, encode, encode_template};
use unisono_cluster::{Broadcast, EncodeError, Extension};
use unisono_proto::Value;

use crate::support::{event, map, names, numbered, str};

fn state(pairs: &[(&str, Value)]) -> Broadcast {
    Broadcast {
        rooms: names(&["session"]),
        extension: numbered(5),
        ..event(&[str("state"), Value::Int(1), map(pairs)])
    }
}

fn with_revision(pairs: &[(&str, Value)], revision: u32) -> Broadcast {
    let mut pairs = pairs.to_vec();
    pairs.push(("revision", Value::Int(revision.into())));
    let extension = Extension {
        seq: 5,
        revision: Some(revision),
        ..Extension::default()
    };
    Broadcast {
        extension: Some(extension),
        ..state(&pairs)
    }
}

#[test]
fn a_filled_template_is_the_message_with_that_revision() {
    let pairs = [("track", str("a")), ("at", Value::Float(1.5))];
    let template =
        encode_template("socket.io", "uid", "/", &state(&pairs), "revision").expect("it encodes");
    assert_eq!(
        (template.channel.as_str(), template.seq),
        ("socket.io#/#session#", 5)
    );
    for revision in [0, 1, 127, 128, 65_536, u32::MAX] {
        let filled = template.fill(revision);
        assert_eq!(
            decode(&filled).expect("it decodes").broadcast,
            with_revision(&pairs, revision)
        );
        assert_eq!(filled, template.segments.join(&revision.to_be_bytes()[..]));
    }
    // From where integers take four bytes anyway it is exactly what a complete message would be.
    let complete = encode("uid", "/", &with_revision(&pairs, 70_000)).expect("it encodes");
    assert_eq!(template.fill(70_000), complete);
}

#[test]
fn every_segment_but_the_last_ends_with_the_marker_of_four_bytes() {
    let template = encode_template("p", "uid", "/", &state(&[]), "revision").expect("it encodes");
    let (last, before) = template.segments.split_last().expect("there are segments");
    assert_eq!(before.len(), 2, "in the argument and in the extension");
    assert!(before.iter().all(|segment| segment.ends_with(&[0xce])));
    assert!(!last.is_empty());
}

#[test]
fn a_stale_revision_is_replaced() {
    let stale = [("revision", Value::Int(3)), ("track", str("a"))];
    let template =
        encode_template("p", "uid", "/", &state(&stale), "revision").expect("it encodes");
    let broadcast = decode(&template.fill(4)).expect("it decodes").broadcast;
    assert_eq!(broadcast, with_revision(&[("track", str("a"))], 4));
}

#[test]
fn what_has_no_place_for_a_revision_is_refused() {
    let check = |broadcast: Broadcast, expected: EncodeError| {
        assert_eq!(
            encode_template("p", "uid", "/", &broadcast, "revision")
                .expect_err("it must be refused"),
            expected
        );
    };
    check(
        Broadcast {
            extension: numbered(1),
            ..event(&[str("state"), Value::Int(1)])
        },
        EncodeError::NoMap,
    );
    check(
        Broadcast {
            extension: numbered(1),
            ..event(&[])
        },
        EncodeError::NoEvent,
    );
    check(
        Broadcast {
            extension: None,
            ..state(&[])
        },
        EncodeError::NoSequence,
    );
}
