//! WebSocket frames.

use unisono_proto::limits::MAX_FRAGMENTS;
use unisono_proto::ws::{
    CloseCode, Decoder, Error, Event, Opcode, Role, encode, encode_close, encode_masked,
    encode_text, header_len,
};

use crate::properties::ws_events;

const LIMIT: usize = 1000;

/// Decodes `frames` whole and byte by byte, and every truncation of them.
fn check(role: Role, frames: &[u8], events: &[Event<'static>], error: Option<Error>) {
    for piece in [frames.len().max(1), 1, 3, 7] {
        assert_eq!(
            ws_events(role, LIMIT, frames, piece),
            (events.to_vec(), error),
            "in pieces of {piece}"
        );
    }
    for len in 0..frames.len() {
        let (some, error_then) = ws_events(role, LIMIT, &frames[..len], 5);
        assert!(events.starts_with(&some), "the first {len} bytes");
        assert!(
            error_then.is_none() || error_then == error,
            "the first {len} bytes"
        );
    }
}

fn text(text: &str) -> Event<'static> {
    Event::Text(text.to_owned().into())
}

fn binary(data: &[u8]) -> Event<'static> {
    Event::Binary(data.to_vec().into())
}

fn masked(frames: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (first, payload) in frames {
        let start = out.len();
        encode_masked(Opcode::Text, payload, [1, 2, 3, 4], &mut out);
        out[start] = *first;
    }
    out
}

/// The examples of RFC 6455, section 5.7.
#[test]
fn examples_of_the_rfc() {
    check(Role::Client, b"\x81\x05Hello", &[text("Hello")], None);
    check(
        Role::Server,
        b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
        &[text("Hello")],
        None,
    );
    check(
        Role::Client,
        b"\x01\x03Hel\x80\x02lo",
        &[text("Hello")],
        None,
    );
    check(
        Role::Client,
        b"\x89\x05Hello",
        &[Event::Ping(b"Hello".as_slice().into())],
        None,
    );
    check(
        Role::Server,
        b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
        &[Event::Pong(b"Hello".as_slice().into())],
        None,
    );
    let mut long = b"\x82\x7e\x01\x00".to_vec();
    long.extend([7; 256]);
    check(Role::Client, &long, &[binary(&[7; 256])], None);
}

#[test]
fn fragments_with_control_frames_between_them() {
    let frames = masked(&[
        (0x01, "é".as_bytes().split_at(1).0),
        (0x89, b"p"),
        (0x00, b""),
        (0x8a, b""),
        (0x80, "é".as_bytes().split_at(1).1),
        (0x82, b"next"),
    ]);
    let events = [
        Event::Ping(b"p".as_slice().into()),
        Event::Pong(b"".as_slice().into()),
        text("é"),
        binary(b"next"),
    ];
    check(Role::Server, &frames, &events, None);
    // Lengths need not be spelt in the shortest way.
    check(
        Role::Client,
        b"\x81\x7e\x00\x01a\x81\x7f\0\0\0\0\0\0\0\x01b",
        &[text("a"), text("b")],
        None,
    );
}

#[test]
fn what_breaks_the_rules() {
    let refused = |frames: &[u8], error| check(Role::Client, frames, &[], Some(error));
    refused(b"\xc1\x00", Error::ReservedBits);
    refused(b"\xa1\x00", Error::ReservedBits);
    refused(b"\x91\x00", Error::ReservedBits);
    (3..8)
        .chain(11..16)
        .for_each(|opcode| refused(&[0x80 | opcode, 0], Error::ReservedOpcode));
    refused(b"\x81\x81\0\0\0\0a", Error::Masking);
    refused(b"\x09\x00", Error::ControlFrame);
    refused(b"\x89\x7e\x00\x7e", Error::ControlFrame);
    refused(b"\x88\x7f", Error::ControlFrame);
    refused(b"\x80\x00", Error::Fragmentation);
    refused(b"\x01\x00\x81\x00", Error::Fragmentation);
    refused(b"\x82\x7f\x80\0\0\0\0\0\0\0", Error::Length);
    refused(b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", Error::TooBig);
    refused(b"\x82\x7e\x03\xe9", Error::TooBig);
    refused(b"\x81\x02\xc3\x28", Error::Utf8);
    refused(b"\x81\x03\xed\xa0\x80", Error::Utf8);
    refused(b"\x01\x01\xc3\x80\x01\x28", Error::Utf8);
    refused(b"\x88\x01\x03", Error::CloseCode);
    refused(b"\x88\x03\x03\xe8\xff", Error::Utf8);
    check(Role::Server, b"\x81\x01a", &[], Some(Error::Masking));
}

#[test]
fn messages_up_to_the_limit() {
    let mut whole = Vec::new();
    encode(Opcode::Binary, &[1; LIMIT], &mut whole);
    check(Role::Client, &whole, &[binary(&[1; LIMIT])], None);
    // The limit is that of the message, not of its frames.
    let fragments = masked(&[(0x02, &[1; 600]), (0x80, &[1; 400])]);
    check(Role::Server, &fragments, &[binary(&[1; LIMIT])], None);
    let fragments = masked(&[(0x02, &[1; 600]), (0x00, &[1; 401])]);
    check(Role::Server, &fragments, &[], Some(Error::TooBig));
}

#[test]
fn close_codes() {
    let valid = [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999];
    let invalid = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535];
    for code in valid {
        let mut frame = Vec::new();
        encode_close(code, "why", &mut frame);
        check(
            Role::Client,
            &frame,
            &[Event::Close(CloseCode::new(code))],
            None,
        );
        assert_eq!(CloseCode::new(code).unwrap().get(), code);
    }
    for code in invalid {
        let mut frame = Vec::new();
        encode_close(code, "", &mut frame);
        check(Role::Client, &frame, &[], Some(Error::CloseCode));
    }
    check(Role::Client, b"\x88\x00", &[Event::Close(None)], None);
    // What follows a close frame is not looked at.
    check(
        Role::Client,
        b"\x88\x00\xff\xff",
        &[Event::Close(None)],
        None,
    );
}

#[test]
fn close_reasons_are_cut_between_characters() {
    let mut frame = Vec::new();
    encode_close(1000, &"é".repeat(100), &mut frame);
    assert_eq!(frame[..4], [0x88, 124, 0x03, 0xe8]);
    assert_eq!(frame[4..], *"é".repeat(61).as_bytes());
}

#[test]
fn too_many_fragments() {
    let frames = |continuations: u32| {
        let mut frames = b"\x02\x00".to_vec();
        (0..continuations).for_each(|_| frames.extend(b"\x00\x00"));
        frames.extend(b"\x80\x00");
        ws_events(Role::Client, LIMIT, &frames, 4096)
    };
    assert_eq!(frames(MAX_FRAGMENTS - 2), (vec![binary(b"")], None));
    assert_eq!(
        frames(MAX_FRAGMENTS - 1),
        (vec![], Some(Error::TooManyFragments))
    );
    // The count begins anew with each message.
    let twice: Vec<u8> = std::iter::repeat_n(b"\x02\x00\x80\x00", MAX_FRAGMENTS as usize)
        .flatten()
        .copied()
        .collect();
    assert_eq!(
        ws_events(Role::Client, LIMIT, &twice, twice.len()).0.len(),
        MAX_FRAGMENTS as usize
    );
}

#[test]
fn what_is_encoded_is_decoded() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let (mut plain, mut with_mask) = (Vec::new(), Vec::new());
        encode(Opcode::Binary, &payload, &mut plain);
        encode_masked(Opcode::Binary, &payload, [9, 8, 7, 6], &mut with_mask);
        assert_eq!(plain.len(), header_len(len) + len);
        assert_eq!(with_mask.len(), header_len(len) + 4 + len);
        assert_eq!(
            ws_events(Role::Client, len, &plain, 1000),
            (vec![binary(&payload)], None)
        );
        assert_eq!(
            ws_events(Role::Server, len, &with_mask, 1000),
            (vec![binary(&payload)], None)
        );
    }
}

#[test]
fn a_text_in_pieces_is_one_frame() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
        let text = "x".repeat(len);
        let (head, tail) = text.split_at(len / 3);
        let (mut whole, mut pieces) = (b"before".to_vec(), b"before".to_vec());
        encode(Opcode::Text, text.as_bytes(), &mut whole);
        encode_text(&[head, "", tail], &mut pieces);
        assert_eq!(pieces, whole, "{len}");
    }
}

#[test]
fn close_codes_of_errors() {
    let check = |error: Error, code| assert_eq!(error.close_code().get(), code);
    check(Error::Masking, 1002);
    check(Error::TooManyFragments, 1002);
    check(Error::Utf8, 1007);
    check(Error::TooBig, 1009);
}

#[test]
fn borrows_whole_frames_and_holds_nothing_while_idle() {
    assert!(size_of::<Decoder>() <= 32);
    let mut decoder = Decoder::new(Role::Client, LIMIT);
    let mut bytes = *b"\x81\x02hi\x01\x02yo";
    let mut input = &mut bytes[..];
    assert!(matches!(
        decoder.next(&mut input),
        Ok(Some(Event::Text(std::borrow::Cow::Borrowed("hi"))))
    ));
    assert_eq!(decoder.buffered(), 0);
    assert_eq!(decoder.next(&mut input), Ok(None));
    assert_eq!(decoder.buffered(), 2);
    let mut input = &mut b"\x80\x01u".to_owned()[..];
    assert_eq!(decoder.next(&mut input), Ok(Some(text("you"))));
    assert_eq!(decoder.buffered(), 0);
}
