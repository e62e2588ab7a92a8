//! Bytes that nobody should send.

use unisono_cluster::DecodeError;
use unisono_cluster::classic::{decode, encode};
use unisono_cluster::{Broadcast, Extension, Flags};
use unisono_proto::Value;

use crate::support::{event, hex, map, names, str};

fn rich() -> Broadcast {
    let nested = map(&[(
        "list",
        Value::Array(vec![
            Value::Int(-7),
            Value::Float(0.5),
            Value::Bin(vec![1, 2].into()),
        ]),
    )]);
    Broadcast {
        args: vec![
            str("event"),
            Value::Int(70_000),
            nested,
            str(&"long ".repeat(20)),
        ],
        rooms: names(&["one", "two"]),
        except: names(&["three"]),
        flags: Flags {
            volatile: true,
            compress: Some(true),
            timeout_ms: Some(500),
            expect_single_response: true,
            local: false,
        },
        extension: Some(Extension {
            seq: 9,
            ordered: true,
            revision: Some(4),
            note: Some("note".into()),
        }),
    }
}

#[test]
fn every_prefix_is_refused_and_nothing_panics() {
    let bytes = encode("uid", "/chat", &rich()).expect("it encodes");
    for end in 0..bytes.len() {
        assert_eq!(
            decode(&bytes[..end]).expect_err("a prefix is no message"),
            DecodeError::Truncated,
            "{end} bytes"
        );
    }
}

#[test]
fn flipped_and_random_bytes_do_not_panic() {
    let bytes = encode("uid", "/chat", &rich()).expect("it encodes");
    for index in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.to_vec();
            flipped[index] ^= 1 << bit;
            let _ = decode(&flipped);
        }
    }
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..20_000 {
        let mut noise: Vec<u8> = (0..random.usize(..64)).map(|_| random.u8(..)).collect();
        let _ = decode(&noise);
        noise.insert(0, 0x93);
        let _ = decode(&noise);
    }
}

/// Lengths that are not there must not be allocated, and nesting must not exhaust the stack.
#[test]
fn lengths_and_depths_are_checked_first() {
    let check = |data: &[u8], expected: DecodeError| {
        let mut bytes = hex("93 a1 61 82 a4 74797065 02 a4 64617461");
        bytes.extend_from_slice(data);
        assert_eq!(decode(&bytes).expect_err("it must be refused"), expected);
    };
    check(&hex("dd ffffffff"), DecodeError::Truncated);
    check(&hex("df ffffffff"), DecodeError::Truncated);
    check(&hex("db ffffffff"), DecodeError::Truncated);
    check(&hex("c6 ffffffff"), DecodeError::Truncated);
    check(&hex("c9 ffffffff ff"), DecodeError::Truncated);
    check(&vec![0x91; 100_000], DecodeError::TooDeep);
    let mut nils = hex("dd 00ffffff");
    nils.resize(16_000_000, 0xc0);
    check(&nils, DecodeError::Truncated);
    let mut nils = hex("dd 00800000");
    nils.resize(9_000_000, 0xc0);
    check(&nils, DecodeError::TooManyValues);
    let mut bins = hex("dc 000c a1 61");
    bins.extend_from_slice(&[0xc4, 0].repeat(11));
    check(&bins, DecodeError::TooManyAttachments);
    assert_eq!(
        decode(&vec![0; (16 << 20) + 1]).expect_err("too large"),
        DecodeError::TooLarge
    );
}

#[test]
fn random_values_survive_the_way() {
    let mut random = fastrand::Rng::with_seed(2);
    for _ in 0..2_000 {
        let args: Vec<_> = (0..random.usize(..5))
            .map(|_| value(&mut random, 4))
            .collect();
        let broadcast = event(&[vec![str("event")], args].concat());
        let Ok(bytes) = encode("uid", "/", &broadcast) else {
            continue;
        };
        assert_eq!(decode(&bytes).expect("it decodes").broadcast, broadcast);
    }
}

fn value(random: &mut fastrand::Rng, depth: u32) -> Value {
    let few = |random: &mut fastrand::Rng| random.usize(..5);
    match random.u32(..if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => Value::Bool(random.bool()),
        2 => Value::Int(random.i64(-(1 << 53)..=1 << 53) >> random.u32(..54)),
        3 => Value::Float(f64::from(random.i32(..)) + 0.25),
        4 => str(&(0..random.usize(..50))
            .map(|_| random.char(..))
            .collect::<String>()),
        5 => Value::Bin((0..random.usize(..300)).map(|_| random.u8(..)).collect()),
        6 => Value::Array((0..few(random)).map(|_| value(random, depth - 1)).collect()),
        _ => Value::Map(
            (0..few(random))
                .map(|key| (key.to_string(), value(random, depth - 1)))
                .collect(),
        ),
    }
}
