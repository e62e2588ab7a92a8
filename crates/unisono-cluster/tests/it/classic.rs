//! The wire, against bytes recorded from Node.js pods and emitters.

use bytes::Bytes;
use unisono_cluster::classic::{decode, encode};
use unisono_cluster::{Broadcast, Flags};
use unisono_proto::Value;

use crate::support::{event, hello, hex, map, names, str};

const UID: &str = "hkw5El";

/// `["hkw5El", {"type": 2, "data":`
const HEAD: &str = "93 a6 686b7735456c 83 a4 74797065 02 a4 64617461";
/// `"nsp": "/"}`
const NSP: &str = "a3 6e7370 a1 2f";
/// `{"rooms": [], "except": [], "flags": {}}`
const NO_OPTIONS: &str = "83 a5 726f6f6d73 90 a6 657863657074 90 a5 666c616773 80";

/// What a pod sent reads as `broadcast`, and we send the same bytes for it.
fn check_both_ways(recorded: &str, broadcast: &Broadcast) {
    let recorded = hex(recorded);
    let message = decode(&recorded).expect("a recorded message decodes");
    assert_eq!((message.uid.as_str(), message.nsp.as_str()), (UID, "/"));
    assert_eq!(&message.broadcast, broadcast);
    assert_eq!(encode(UID, "/", broadcast).expect("it encodes"), recorded);
}

#[test]
fn recorded_broadcasts_are_read_and_written_alike() {
    // io.emit("hello", 1, "x")
    check_both_ways(
        "93 a6 68 6b 77 35 45 6c 83 a4 74 79 70 65 02 a4 64 61 74 61 93 a5 68 65 6c 6c 6f 01 a1 78 a3 6e 73 70 a1 2f
         83 a5 72 6f 6f 6d 73 90 a6 65 78 63 65 70 74 90 a5 66 6c 61 67 73 80",
        &event(&[str("hello"), Value::Int(1), str("x")]),
    );
    // io.to("r1").emit("hello", {a: 1})
    check_both_ways(
        "93 a6 68 6b 77 35 45 6c 83 a4 74 79 70 65 02 a4 64 61 74 61 92 a5 68 65 6c 6c 6f 81 a1 61 01 a3 6e 73 70 a1 2f
         83 a5 72 6f 6f 6d 73 91 a2 72 31 a6 65 78 63 65 70 74 90 a5 66 6c 61 67 73 80",
        &Broadcast { rooms: names(&["r1"]), ..event(&[str("hello"), map(&[("a", Value::Int(1))])]) },
    );
    // io.to(["r1", "r2"]).except("r3").volatile.compress(false).emit("hello")
    check_both_ways(
        &format!(
            "{HEAD} 91 a5 68 65 6c 6c 6f {NSP}
             83 a5 72 6f 6f 6d 73 92 a2 72 31 a2 72 32 a6 65 78 63 65 70 74 91 a2 72 33
             a5 66 6c 61 67 73 82 a8 76 6f 6c 61 74 69 6c 65 c3 a8 63 6f 6d 70 72 65 73 73 c2"
        ),
        &Broadcast {
            rooms: names(&["r1", "r2"]),
            except: names(&["r3"]),
            flags: Flags {
                volatile: true,
                compress: Some(false),
                ..Flags::default()
            },
            ..hello()
        },
    );
}

#[test]
fn emitters_are_understood() {
    let recorded = hex(
        "93 a7 65 6d 69 74 74 65 72 83 a4 74 79 70 65 02 a4 64 61 74 61 92 ab 66 72 6f 6d 45 6d 69 74 74 65 72 01 a3 6e 73 70 a1 2f
         83 a5 72 6f 6f 6d 73 90 a5 66 6c 61 67 73 80 a6 65 78 63 65 70 74 90",
    );
    let message = decode(&recorded).expect("a recorded message decodes");
    assert_eq!(message.uid, "emitter");
    assert_eq!(
        message.broadcast,
        event(&[str("fromEmitter"), Value::Int(1)])
    );
}

/// The bytes of one argument as `notepack` writes it, and the value. Checked in both directions.
#[test]
fn values_are_written_as_notepack_does() {
    let check = |bytes: &str, value: Value| {
        let recorded = format!("{HEAD} 92 a5 68656c6c6f {bytes} {NSP} {NO_OPTIONS}");
        check_both_ways(&recorded, &event(&[str("hello"), value]));
    };
    check("c0", Value::Null);
    check("c3", Value::Bool(true));
    check("c2", Value::Bool(false));
    for (bytes, number) in [
        ("00", 0),
        ("7f", 127),
        ("cc 80", 128),
        ("cc ff", 255),
        ("cd 01 2c", 300),
        ("cd ff ff", 65_535),
        ("ce 00 01 00 00", 65_536),
        ("ce ff ff ff ff", 4_294_967_295),
        ("cf 00 00 00 01 00 00 00 00", 4_294_967_296),
        ("cf 00 20 00 00 00 00 00 00", 1 << 53),
        ("ff", -1),
        ("e0", -32),
        ("d0 df", -33),
        ("d0 80", -128),
        ("d1 ff 7f", -129),
        ("d1 80 00", -32_768),
        ("d2 ff ff 7f ff", -32_769),
        ("d2 80 00 00 00", -2_147_483_648),
        ("d3 ff ff ff ff 7f ff ff ff", -2_147_483_649),
    ] {
        check(bytes, Value::Int(number));
    }
    check("cb 3f f8 00 00 00 00 00 00", Value::Float(1.5));
    check("cb 7f f0 00 00 00 00 00 00", Value::Float(f64::INFINITY));
    check("a0", str(""));
    check("a2 c3 a9", str("é"));
    check("c4 03 01 02 03", Value::Bin(Bytes::from_static(&[1, 2, 3])));
    check("90", Value::Array(vec![]));
    check("80", map(&[]));
    for (length, head) in [
        (31, "bf"),
        (32, "d9 20"),
        (255, "d9 ff"),
        (256, "da 01 00"),
        (65_536, "db 00 01 00 00"),
    ] {
        check(
            &format!("{head} {}", "61".repeat(length)),
            str(&"a".repeat(length)),
        );
    }
    for (length, head) in [(15, "9f"), (16, "dc 00 10"), (65_536, "dd 00 01 00 00")] {
        check(
            &format!("{head} {}", "c0".repeat(length)),
            Value::Array(vec![Value::Null; length]),
        );
    }
    for (length, head) in [(256, "c5 01 00"), (65_536, "c6 00 01 00 00")] {
        check(
            &format!("{head} {}", "00".repeat(length)),
            Value::Bin(Bytes::from(vec![0; length])),
        );
    }
}

/// Numbers that are written in another form than they have.
#[test]
fn numbers_survive_javascript() {
    let check = |value: Value, bytes: &str| {
        let encoded = encode(UID, "/", &event(&[str("hello"), value.clone()])).expect("it encodes");
        let expected = hex(&format!(
            "{HEAD} 92 a5 68656c6c6f {bytes} {NSP} {NO_OPTIONS}"
        ));
        assert_eq!(encoded, expected, "{value:?}");
    };
    check(Value::Float(1.0), "01");
    check(Value::Float(-0.0), "00");
    check(Value::Float(-300.0), "d1 fe d4");
    check(
        Value::Float(9_007_199_254_740_992.0),
        "cf 00 20 00 00 00 00 00 00",
    );
    check(Value::Float(1e300), "cb 7e 37 e4 3c 88 00 75 9c");
    check(Value::Int((1 << 53) + 1), "cb 43 40 00 00 00 00 00 00");
    check(Value::Int(i64::MAX), "cb 43 e0 00 00 00 00 00 00");
    check(Value::Int(i64::MIN), "cb c3 e0 00 00 00 00 00 00");
}

/// What only JavaScript sends, and old versions of its packer.
#[test]
fn foreign_values_become_what_a_client_would_see() {
    let check = |bytes: &str, value: Value| {
        let bytes = hex(&format!(
            "{HEAD} 92 a5 68656c6c6f {bytes} {NSP} {NO_OPTIONS}"
        ));
        assert_eq!(decode(&bytes).expect("it decodes").broadcast.args[1], value);
    };
    check(
        "d7 ff a1 a5 d6 00 65 93 7d 25",
        str("2024-01-02T03:04:05.678Z"),
    );
    check("d6 ff 65 93 7d 25", str("2024-01-02T03:04:05.000Z"));
    check(
        "c7 0c ff 1d cd 65 00 ff ff ff ff ff ff ff ff",
        str("1969-12-31T23:59:59.500Z"),
    );
    check("c7 0c ff ff ff ff ff 7f ff ff ff ff ff ff ff", Value::Null);
    check("d4 00 00", Value::Null);
    check(
        "d7 00 00 00 01 8c c8 20 db 3e",
        str("2024-01-02T03:04:05.694Z"),
    );
    check("c7 02 00 01 02", Value::Bin(Bytes::from_static(&[1, 2])));
    check(
        "d4 05 09",
        Value::Array(vec![Value::Int(5), Value::Bin(Bytes::from_static(&[9]))]),
    );
    check(
        "c8 00 01 fe 09",
        Value::Array(vec![Value::Int(-2), Value::Bin(Bytes::from_static(&[9]))]),
    );
    check("ca 3f c0 00 00", Value::Float(1.5));
    check(
        "cf ff ff ff ff ff ff ff ff",
        Value::Float(18_446_744_073_709_551_615.0),
    );
    check("d3 80 00 00 00 00 00 00 00", Value::Int(i64::MIN));
    check("a3 ed a0 80", str("\u{fffd}\u{fffd}\u{fffd}"));
    check(
        "83 01 c0 c3 c0 ff c0",
        map(&[
            ("1", Value::Null),
            ("true", Value::Null),
            ("-1", Value::Null),
        ]),
    );
}
