//! Answers with sockets, of which some are too much.

use unisono_cluster::classic::{
    SocketsAnswer, decode_answer, decode_request, encode_answer, encode_request,
};
use unisono_cluster::limits::{MAX_BUS_MESSAGE_BYTES, MAX_CHANGED_ROOMS};
use unisono_cluster::{
    Answer, AnswerBody, DecodeError, EncodeError, Members, Request, RequestBody, RequestError,
};
use unisono_proto::Value;
use unisono_proto::limits::MAX_JSON_VALUES;

use crate::support::{map, str};

fn nested(levels: usize) -> Value {
    (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]))
}

/// A socket whose `auth` is that.
fn socket(auth: Value) -> Value {
    let handshake = map(&[("url", str("/")), ("auth", auth)]);
    map(&[("id", str("s")), ("handshake", handshake)])
}

fn decoded(bytes: &[u8]) -> Vec<Value> {
    match decode_answer(bytes).expect("it is read").body {
        AnswerBody::Sockets(sockets) => sockets,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_after_another_they_are_the_same_bytes() {
    for count in 0..3 {
        let sockets = vec![socket(str("\"x\"")); count];
        let mut answer = SocketsAnswer::new("r\"1", None).expect("it begins");
        for socket in &sockets {
            assert_eq!(answer.push(socket), Ok(()));
        }
        let whole = Answer {
            from: None,
            id: "r\"1".to_owned(),
            body: AnswerBody::Sockets(sockets),
        };
        let whole = encode_answer(whole).expect("it encodes");
        assert_eq!(answer.finish(), whole);
    }
}

#[test]
fn a_socket_that_cannot_be_written_costs_the_others_nothing() {
    let mut answer = SocketsAnswer::new("r", None).expect("it begins");
    let zeros = Value::Array(vec![Value::Int(0); MAX_JSON_VALUES]);
    let mut check = |auth: Value, expected: Result<(), EncodeError>| {
        assert_eq!(answer.push(&socket(auth)), expected);
    };
    // Four levels stand around it.
    check(nested(61), Err(EncodeError::TooDeep));
    check(nested(60), Ok(()));
    check(zeros, Err(EncodeError::TooManyValues));
    check(str("x"), Ok(()));
    let sockets = decoded(&answer.finish());
    assert_eq!(sockets, [socket(nested(60)), socket(str("x"))]);
}

#[test]
fn an_answer_is_never_larger_than_a_message() {
    let mut answer = SocketsAnswer::new("r", None).expect("it begins");
    let large = socket(str(&"x".repeat(1 << 20)));
    let mut pushed = 0;
    while answer.push(&large).is_ok() {
        pushed += 1;
    }
    assert_eq!(pushed, 15);
    // What is small still fits.
    assert_eq!(answer.push(&socket(Value::Null)), Ok(()));
    let bytes = answer.finish();
    assert!(bytes.len() <= MAX_BUS_MESSAGE_BYTES);
    assert_eq!(decoded(&bytes).len(), 16);
}

/// A Node.js pod has no bound of its own.
#[test]
fn what_is_nested_too_deep_in_an_answer_is_null_and_the_rest_is_there() {
    let check = |depth: usize, brackets: [&str; 2], expected: usize| {
        let deep = brackets.map(|bracket| bracket.repeat(depth));
        let [open, close] = deep;
        let text = format!(
            r#"{{"requestId":"r","sockets":[{{"id":"a","data":{open}"\"]}}[{{\\"{close}}},{{"id":"]"}}]}}"#
        );
        let sockets = decoded(text.as_bytes());
        assert_eq!(sockets.len(), 2, "{depth}");
        assert_eq!(sockets[1], map(&[("id", str("]"))]));
        let mut inner = sockets[0].get("data").expect("it is there");
        let mut levels = 0;
        loop {
            inner = match inner {
                Value::Array(items) => &items[0],
                Value::Map(pairs) => &pairs[0].1,
                _ => break,
            };
            levels += 1;
        }
        assert_eq!(levels, expected, "{depth}");
        assert_eq!(*inner == Value::Null, depth > expected, "{depth}");
    };
    for brackets in [["[", "]"], [r#"{"k":"#, "}"]] {
        // The answer, its list and the socket stand around it.
        check(61, brackets, 61);
        check(62, brackets, 61);
        check(10_000, brackets, 61);
    }
    // What is no JSON is none, however deep.
    for broken in ["[".repeat(100), format!("{}\"", "[".repeat(100))] {
        let text = format!(r#"{{"requestId":"r","sockets":{broken}"#);
        let error = decode_answer(text.as_bytes()).expect_err("it is none");
        assert!(matches!(error, RequestError::Json(_)), "{error:?}");
    }
    // In MessagePack too: arrays of one, and what follows is still read.
    let mut bytes = b"\x83\xa6packet".to_vec();
    bytes.extend([0x91; 100]);
    bytes.extend(b"\x81\xa1k\xc3\xa4type\x09\xa9requestId\xa1r");
    let answer = decode_answer(&bytes).expect("it is read");
    assert_eq!(answer.body, AnswerBody::Ack(Some(nested(63))));
    let truncated = decode_answer(&bytes[..100]);
    assert_eq!(truncated, Err(DecodeError::Truncated.into()));
    // Requests stay strict.
    let text = format!(
        r#"{{"uid":"u","type":6,"data":["e",{}{}]}}"#,
        "[".repeat(63),
        "]".repeat(63)
    );
    assert!(decode_request(text.as_bytes()).is_err());
}

#[test]
fn rooms_to_join_or_leave_are_bounded_in_number() {
    let check = |count: usize, is_taken: bool| {
        let rooms = || vec!["r".to_owned(); count];
        let members = Members::default();
        for body in [
            RequestBody::Join {
                members: members.clone(),
                rooms: rooms(),
            },
            RequestBody::Leave {
                members: members.clone(),
                rooms: rooms(),
            },
        ] {
            let request = Request {
                uid: "u".to_owned(),
                id: None,
                body,
            };
            let encoded = encode_request("/", &request);
            assert_eq!(encoded.is_ok(), is_taken, "{count}");
        }
        for kind in [2, 3] {
            let list = vec!["\"r\""; count].join(",");
            let text =
                format!(r#"{{"uid":"u","type":{kind},"opts":{{"rooms":[]}},"rooms":[{list}]}}"#);
            let decoded = decode_request(text.as_bytes());
            match is_taken {
                true => assert!(decoded.is_ok()),
                false => assert_eq!(decoded, Err(RequestError::TooManyRooms)),
            }
        }
    };
    check(MAX_CHANGED_ROOMS, true);
    check(MAX_CHANGED_ROOMS + 1, false);
}
