//! Envelopes around an event: what is tolerated, what is refused, and ours.

use bytes::Bytes;
use unisono_cluster::classic::{decode, encode};
use unisono_cluster::{Broadcast, DecodeError, EncodeError, Extension, Flags};
use unisono_proto::Value;

use crate::support::{event, hello, hex, names, str};

const UID: &str = "hkw5El";
/// `["hkw5El", {"type": 2, "data":`
const HEAD: &str = "93 a6 686b7735456c 83 a4 74797065 02 a4 64617461";
/// `"nsp": "/"}`
const NSP: &str = "a3 6e7370 a1 2f";
/// `{"rooms": [], "except": [], "flags": {}}`
const NO_OPTIONS: &str = "83 a5 726f6f6d73 90 a6 657863657074 90 a5 666c616773 80";

/// Envelopes that Node.js accepts too, though it does not write them.
#[test]
fn lenient_where_node_is() {
    let check = |bytes: &str, expected: &Broadcast| {
        let message = decode(&hex(bytes)).unwrap_or_else(|error| panic!("{bytes}: {error}"));
        assert_eq!(
            (message.nsp.as_str(), &message.broadcast),
            ("/", expected),
            "{bytes}"
        );
    };
    let data = "a4 64617461 91 a5 68656c6c6f";
    // No namespace; nil, missing or unknown options; keys in another order; unknown keys; an event named by a number.
    check(
        &format!("93 a1 61 82 a4 74797065 02 {data} {NO_OPTIONS}"),
        &hello(),
    );
    check(&format!("93 a1 61 82 {data} a4 74797065 02 80"), &hello());
    check(
        &format!(
            "93 a1 61 82 {data} a4 74797065 02 83 a5 726f6f6d73 c0 a6 657863657074 c0 a5 666c616773 c0"
        ),
        &hello(),
    );
    check(
        &format!(
            "93 a1 61 83 {data} a4 74797065 cb 4000000000000000 a1 78 92 c0 81 c0 c0 81 a1 79 93 01 02 03"
        ),
        &hello(),
    );
    check(
        "93 a1 61 82 a4 64617461 91 07 a4 74797065 02 80",
        &event(&[Value::Int(7)]),
    );
    // A uid that is no string is nobody's.
    check(
        &format!("93 c4 01 61 82 a4 74797065 02 {data} {NO_OPTIONS}"),
        &hello(),
    );
    // A fourth element of somebody else, and a fifth.
    check(
        &format!("94 a1 61 82 a4 74797065 02 {data} {NO_OPTIONS} 81 a1 78 01"),
        &hello(),
    );
    check(
        &format!("95 a1 61 82 a4 74797065 02 {data} {NO_OPTIONS} 07 91 c0"),
        &hello(),
    );
    // Rooms joined as numbers.
    let numbers = Broadcast {
        rooms: names(&["777", "-1", "r"]),
        ..hello()
    };
    check(
        &format!("93 a1 61 82 a4 74797065 02 {data} 81 a5 726f6f6d73 93 cd 0309 ff a1 72"),
        &numbers,
    );
    // All the flags.
    let flags = "85 a8 766f6c6174696c65 c3 a8 636f6d7072657373 c3 a7 74696d656f7574 cd 03e8
        b4 65787065637453696e676c65526573706f6e7365 c3 a5 6c6f63616c c3";
    let all = Flags {
        volatile: true,
        compress: Some(true),
        timeout_ms: Some(1_000),
        expect_single_response: true,
        local: true,
    };
    check(
        &format!("93 a1 61 82 a4 74797065 02 {data} 81 a5 666c616773 {flags}"),
        &Broadcast {
            flags: all,
            ..hello()
        },
    );
}

#[test]
fn what_would_break_pods_is_refused() {
    let check = |bytes: &str, expected: DecodeError| {
        assert_eq!(decode(&hex(bytes)).expect_err(bytes), expected, "{bytes}");
    };
    let packet = "82 a4 74797065 02 a4 64617461 91 a5 68656c6c6f";
    check("", DecodeError::Truncated);
    check("c1", DecodeError::ReservedMarker);
    check("7b 22 61", DecodeError::Envelope);
    check("c0", DecodeError::Envelope);
    check("83 a1 61 c0 a1 62 c0 a1 63 c0", DecodeError::Envelope);
    check(&format!("92 a1 61 {packet}"), DecodeError::Envelope);
    check(
        &format!("93 a1 61 {packet} {NO_OPTIONS} 00"),
        DecodeError::TrailingBytes,
    );
    // Structs sent as arrays.
    check(
        &format!("93 a1 61 93 02 91 a5 68656c6c6f a1 2f {NO_OPTIONS}"),
        DecodeError::Packet,
    );
    check(
        &format!("93 a1 61 {packet} 93 91 a1 72 90 80"),
        DecodeError::Options,
    );
    check(&format!("93 a1 61 {packet} c0"), DecodeError::Options);
    // Other packet types, and none.
    check(
        &format!("93 a1 61 82 a4 74797065 05 a4 64617461 91 a5 68656c6c6f {NO_OPTIONS}"),
        DecodeError::PacketType,
    );
    check(
        &format!("93 a1 61 82 a4 74797065 a1 32 a4 64617461 91 a5 68656c6c6f {NO_OPTIONS}"),
        DecodeError::PacketType,
    );
    check(
        &format!("93 a1 61 81 a4 64617461 91 a5 68656c6c6f {NO_OPTIONS}"),
        DecodeError::PacketType,
    );
    check(
        &format!(
            "93 a1 61 83 a4 74797065 02 a4 64617461 91 a5 68656c6c6f a3 6e7370 c0 {NO_OPTIONS}"
        ),
        DecodeError::Namespace,
    );
    // Data that is no event.
    for data in ["90", "80", "c0", "a1 61", "91 c0", "91 90"] {
        check(
            &format!("93 a1 61 82 a4 74797065 02 a4 64617461 {data} {NO_OPTIONS}"),
            DecodeError::Data,
        );
    }
    check(
        &format!("93 a1 61 81 a4 74797065 02 {NO_OPTIONS}"),
        DecodeError::Data,
    );
    // Targets that cannot be understood must not become everybody.
    for rooms in ["a1 72", "81 a1 72 c3", "91 c0", "91 91 a1 72", "91 c3"] {
        check(
            &format!("93 a1 61 {packet} 81 a5 726f6f6d73 {rooms}"),
            DecodeError::Rooms,
        );
        check(
            &format!("93 a1 61 {packet} 81 a6 657863657074 {rooms}"),
            DecodeError::Rooms,
        );
    }
    check(
        &format!("93 a1 61 83 a4 74797065 02 a4 64617461 92 a1 61 81 90 c0 {NSP} {NO_OPTIONS}"),
        DecodeError::MapKey,
    );
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let check = |broadcast: Broadcast, expected: EncodeError| {
        assert_eq!(
            encode(UID, "/", &broadcast).expect_err("it must be refused"),
            expected
        );
    };
    check(event(&[]), EncodeError::NoEvent);
    check(event(&[Value::Null]), EncodeError::NoEvent);
    check(
        Broadcast {
            flags: Flags {
                local: true,
                ..Flags::default()
            },
            ..hello()
        },
        EncodeError::Local,
    );
    let bin = Value::Bin(Bytes::from_static(b"x"));
    check(
        event(&[str("a"), Value::Array(vec![bin.clone(); 11])]),
        EncodeError::TooManyAttachments,
    );
    assert!(encode(UID, "/", &event(&[str("a"), Value::Array(vec![bin; 10])])).is_ok());
    let nested =
        |levels: usize| (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    assert!(encode(UID, "/", &event(&[str("a"), nested(63)])).is_ok());
    check(event(&[str("a"), nested(64)]), EncodeError::TooDeep);
    let large = event(&[str("a"), Value::Bin(Bytes::from(vec![0; 16 << 20]))]);
    assert!(matches!(
        encode(UID, "/", &large),
        Err(EncodeError::TooLarge { .. })
    ));
}

#[test]
fn our_extension_rides_as_fourth_element() {
    let full = Extension {
        seq: 7,
        ordered: true,
        revision: Some(300),
        note: Some(Bytes::from_static(b"hi")),
    };
    for extension in [
        Extension {
            seq: 1,
            ..Extension::default()
        },
        Extension {
            seq: u64::MAX >> 1,
            ordered: true,
            ..Extension::default()
        },
        Extension {
            revision: Some(0),
            ..Extension::default()
        },
        full.clone(),
    ] {
        let broadcast = Broadcast {
            extension: Some(extension),
            ..hello()
        };
        let bytes = encode(UID, "/", &broadcast).expect("it encodes");
        assert_eq!(decode(&bytes).expect("it decodes").broadcast, broadcast);
    }
    let bytes = encode(
        UID,
        "/",
        &Broadcast {
            extension: Some(full),
            ..hello()
        },
    )
    .expect("it encodes");
    let expected = hex(&format!(
        "{} 91 a5 68656c6c6f {NSP} {NO_OPTIONS}
         84 a1 6f c3 a1 72 ce 0000012c a1 6e c4 02 6869 a1 73 cf 0000000000000007",
        HEAD.replacen("93", "94", 1)
    ));
    assert_eq!(bytes, expected);
}
