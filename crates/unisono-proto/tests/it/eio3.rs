//! Engine.IO 3: payloads and packets, against bytes recorded from Node's server and from stock Socket.IO 2 clients.

use std::borrow::Cow;

use unisono_proto::engine::PayloadEncoding::{V3Binary, V3Text, V4};
use unisono_proto::engine::v3::{self, encode_payload};
use unisono_proto::engine::{DecodeError, Packet, Payload, PayloadDecoder, PayloadEncoding};
use unisono_proto::limits::MAX_PAYLOAD_PACKETS;

type Decoded<'a> = Vec<Result<Packet<'a>, DecodeError>>;

fn message(text: &str) -> Packet<'_> {
    Packet::Message(text.into())
}

fn binary(data: &[u8]) -> Packet<'_> {
    Packet::Binary(data.into())
}

fn decoded(encoding: PayloadEncoding, body: &[u8]) -> Decoded<'_> {
    Payload::with(encoding, body).collect()
}

fn encoded(encoding: PayloadEncoding, packets: &[Packet<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_payload(packets, encoding, &mut out);
    out
}

/// A body is what these packets are encoded to, and decoded from; cut short anywhere it gives fewer of them, then an error unless the
/// cut is between two.
fn same(encoding: PayloadEncoding, body: &[u8], packets: &[Packet<'_>]) {
    assert_eq!(encoded(encoding, packets), body);
    let whole: Decoded<'_> = packets.iter().cloned().map(Ok).collect();
    assert_eq!(decoded(encoding, body), whole, "{body:?}");
    let ends: Vec<usize> = (0..=packets.len())
        .map(|count| encoded(encoding, &packets[..count]).len())
        .collect();
    for len in 0..body.len() {
        let got = decoded(encoding, &body[..len]);
        let complete = ends.iter().filter(|end| **end <= len).count() - 1;
        assert_eq!(got[..complete], whole[..complete], "{body:?} cut at {len}");
        if len > 0 && ends.contains(&len) {
            assert_eq!(got.len(), complete, "{body:?} cut at {len}");
        } else {
            assert!(got[complete].is_err(), "{body:?} cut at {len}: {got:?}");
            assert_eq!(got.len(), complete + 1);
        }
    }
}

#[test]
fn text_payloads() {
    same(V3Text, b"1:2", &[Packet::Ping("".into())]);
    same(V3Text, b"2:40", &[message("0")]);
    same(V3Text, b"6:3probe", &[Packet::Pong("probe".into())]);
    // A euro sign is one unit in three bytes, an emoji two in four.
    same(
        V3Text,
        "11:42[\"t\",\"€\"]".as_bytes(),
        &[message("2[\"t\",\"€\"]")],
    );
    same(
        V3Text,
        "13:42[\"t\",\"€😀\"]1:61:1".as_bytes(),
        &[message("2[\"t\",\"€😀\"]"), Packet::Noop, Packet::Close],
    );
    same(
        V3Text,
        b"42:451-[\"back\",{\"_placeholder\":true,\"num\":0}]10:b4AQIDBA==",
        &[
            message("51-[\"back\",{\"_placeholder\":true,\"num\":0}]"),
            binary(&[1, 2, 3, 4]),
        ],
    );
    same(V3Text, b"2:b4", &[binary(&[])]);
    let long = "x".repeat(70_000);
    let body = format!("70001:4{long}");
    assert_eq!(decoded(V3Text, body.as_bytes()), [Ok(message(&long))]);
}

#[test]
fn binary_payloads() {
    same(V3Binary, b"\x00\x01\xff2", &[Packet::Ping("".into())]);
    same(
        V3Binary,
        "\u{0}\u{1}\u{7}"
            .bytes()
            .chain(*b"\xff")
            .chain("42[\"t\",\"€😀\"]".bytes())
            .collect::<Vec<u8>>()
            .as_slice(),
        &[message("2[\"t\",\"€😀\"]")],
    );
    same(
        V3Binary,
        b"\x00\x04\x02\xff451-[\"back\",{\"_placeholder\":true,\"num\":0}]\x01\x05\xff\x04\x01\x02\x03\x04",
        &[
            message("51-[\"back\",{\"_placeholder\":true,\"num\":0}]"),
            binary(&[1, 2, 3, 4]),
        ],
    );
    same(V3Binary, b"\x01\x01\xff\x04", &[binary(&[])]);
    // Bytes that look like the end of a length, and like the next record.
    same(
        V3Binary,
        b"\x01\x06\xff\x04\xff\x00\x01\xff2\x00\x01\xff6",
        &[binary(b"\xff\x00\x01\xff2"), Packet::Noop],
    );
}

#[test]
fn what_is_tolerated() {
    let check = |encoding, body: &[u8], expected: &[Packet<'_>]| {
        let expected: Decoded<'_> = expected.iter().cloned().map(Ok).collect();
        assert_eq!(decoded(encoding, body), expected, "{body:?}");
    };
    // An empty record means nothing: Node's encoder writes one where there is no packet.
    check(V3Text, b"0:", &[]);
    check(V3Text, b"0:1:20:", &[Packet::Ping("".into())]);
    check(V3Text, b"0000000001:2", &[Packet::Ping("".into())]);
    check(V3Text, b"9:b4AQIDBA=", &[binary(&[1, 2, 3, 4])]);
    check(V3Binary, b"\x00\x00\xff\x01\x00\xff", &[]);
    check(V3Binary, b"\x00\x00\x01\xff2", &[Packet::Ping("".into())]);
    // A binary body may spell its bytes in base64 too.
    check(V3Binary, b"\x00\x06\xffb4AQID", &[binary(&[1, 2, 3])]);
}

#[test]
fn broken_lengths_are_errors_wherever_they_stand() {
    let check = |encoding, body: &[u8], expected| {
        assert_eq!(decoded(encoding, body), [Err(expected)], "{body:?}");
        let mut behind = encoded(encoding, &[Packet::Noop]);
        behind.extend_from_slice(body);
        if !body.is_empty() {
            let expected = [Ok(Packet::Noop), Err(expected)];
            assert_eq!(decoded(encoding, &behind), expected, "{behind:?}");
        }
    };
    for body in [
        "1",
        "12",
        "x:2",
        ":2",
        "::",
        "-1:2",
        "+1:2",
        " 1:2",
        "1 :2",
        "1e0:2",
        "0x1:2",
        "1.0:2",
        "2:2",
        "1:",
        "9999999999:2",
        "00000000001:2",
        "18446744073709551617:2",
        "99999999999999999999999999999999:2",
        "NaN:2",
        "١:2",
        "2",
        "4hello",
        // Cut in the middle of a pair, and of three bytes.
        "1:😀",
        "2:4😀",
        "4:4😀😀",
    ] {
        check(V3Text, body.as_bytes(), DecodeError::Length);
    }
    check(V3Text, b"", DecodeError::Empty);
    check(V3Text, b"2:4\xe2\x82", DecodeError::Utf8);
    check(V3Text, b"1:\x80", DecodeError::Length);
    check(V3Text, b"0:\x80", DecodeError::Utf8);
    check(V3Text, b"2:4\xff", DecodeError::Length);
    check(V3Text, b"3:4\xff\x80", DecodeError::Utf8);
    check(V3Text, b"2:4\xc0\x80", DecodeError::Utf8);
    check(V3Text, b"1:x", DecodeError::UnknownType);
    check(V3Text, b"1:b", DecodeError::UnknownType);
    check(V3Text, b"6:bAQIDB", DecodeError::UnknownType);
    check(V3Text, b"3:b4*", DecodeError::Base64);
    // Revision 4's separator is nothing here.
    check(V3Text, b"1:9", DecodeError::UnknownType);
    check(V3Binary, b"", DecodeError::Empty);
    for body in [
        &b"\x02\x01\xff2"[..],
        b"\x00\x01",
        b"\x00\xff",
        b"\x01\xff\xff",
        b"\x00\x0a\xff2",
        b"\x001\xff2",
        b"\x00\x02\xff2",
        b"\x00\x01\xff",
        b"\x00\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff2",
        b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xff2",
        b"1:2",
        b"42[\"x\"]",
    ] {
        check(V3Binary, body, DecodeError::Length);
    }
    check(V3Binary, b"\x00", DecodeError::Empty);
    check(V3Binary, b"\x00\x02\xff4\x80", DecodeError::Utf8);
    check(V3Binary, b"\x01\x01\xff\x02", DecodeError::UnknownType);
    check(V3Binary, b"\x01\x02\xff40", DecodeError::UnknownType);
}

/// CVE-2020-36048: a body of nothing but tiny packets.
#[test]
fn a_payload_has_a_bounded_number_of_packets() {
    let bodies = [
        (V3Text, b"1:2".as_slice(), 1),
        (V3Text, b"0:", 0),
        (V3Binary, b"\x00\x01\xff2", 1),
        (V4, b"3\x1e", 1),
    ];
    for (encoding, record, each) in bodies {
        let at_most = record.repeat(MAX_PAYLOAD_PACKETS);
        // A separator at the end would begin one more.
        let at_most = at_most.strip_suffix(b"\x1e").unwrap_or(&at_most);
        let packets = decoded(encoding, at_most);
        assert!(packets.iter().all(Result::is_ok));
        assert_eq!(packets.len(), MAX_PAYLOAD_PACKETS * each);
        let more = record.repeat(MAX_PAYLOAD_PACKETS + 100);
        let packets = decoded(encoding, &more);
        assert_eq!(packets.len(), MAX_PAYLOAD_PACKETS * each + 1);
        assert_eq!(packets.last(), Some(&Err(DecodeError::TooManyPackets)));
    }
}

#[test]
fn reading_can_pause_after_each_packet_and_an_error_is_final() {
    let body = "1:22:4€1:x1:2";
    let mut decoder = PayloadDecoder::new(V3Text);
    let mut next = || decoder.next(body.as_bytes());
    assert_eq!(next(), Some(Ok(Packet::Ping("".into()))));
    assert_eq!(next(), Some(Ok(message("€"))));
    assert_eq!(next(), Some(Err(DecodeError::UnknownType)));
    assert_eq!(next(), None);
    // Not the body that it began with: wrong, but no panic.
    let mut decoder = PayloadDecoder::new(V3Text);
    assert!(decoder.next(b"1:21:2").is_some());
    assert_eq!(decoder.next(b"1:"), Some(Err(DecodeError::Empty)));
}

#[test]
fn websocket_frames() {
    let text = |text, expected| assert_eq!(v3::decode(text), expected, "{text}");
    text("2probe", Ok(Packet::Ping("probe".into())));
    text("4b4", Ok(message("b4")));
    text("b4AQID", Ok(binary(&[1, 2, 3])));
    text("b4", Ok(binary(&[])));
    text("b", Err(DecodeError::UnknownType));
    text("bAQID", Err(DecodeError::UnknownType));
    text("b2", Err(DecodeError::UnknownType));
    text("b4*", Err(DecodeError::Base64));
    text("", Err(DecodeError::Empty));
    text("7", Err(DecodeError::UnknownType));
    for owned in [false, true] {
        let frame = |data: &'static [u8], expected| {
            let data = if owned {
                Cow::Owned(data.to_vec())
            } else {
                Cow::Borrowed(data)
            };
            assert_eq!(v3::decode_binary(data), expected);
        };
        frame(b"\x04\x01\x02", Ok(binary(&[1, 2])));
        frame(b"\x04", Ok(binary(&[])));
        frame(b"", Err(DecodeError::Empty));
        for other in [b"\x00", b"\x02", b"\x05", b"4", b"\xff"] {
            frame(other, Err(DecodeError::UnknownType));
        }
    }
}
