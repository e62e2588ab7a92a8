//! The bytes of the sharded adapter: those that Node.js writes, what is refused, and ours.

use unisono_cluster::sharded::{
    Body, SocketsAnswer, decode, encode, encode_answer, encode_request, encode_template,
};
use unisono_cluster::{
    Answer, AnswerBody, Broadcast, DecodeError, EncodeError, Extension, Flags, Members, Request,
    RequestBody, RequestError,
};
use unisono_proto::Value;
use unisono_proto::value::JsonError;

use crate::support::{event, hello, hex, map, names, str};

const UID: &str = "f80004f8d68c26c6";

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it is JSON")
}

fn request(id: Option<&str>, body: RequestBody) -> Request {
    Request {
        uid: UID.to_owned(),
        id: id.map(str::to_owned),
        body,
    }
}

/// What it says, of node [`UID`] in `/`.
fn body(bytes: &[u8]) -> Body {
    let message = decode(bytes).unwrap_or_else(|error| panic!("{error}: {bytes:?}"));
    assert_eq!((message.uid.as_str(), message.nsp.as_str()), (UID, "/"));
    message.body
}

#[test]
fn broadcasts_are_the_bytes_of_node() {
    let check = |broadcast: &Broadcast, expected: &[u8]| {
        assert_eq!(encode(UID, "/", broadcast).unwrap(), expected);
        assert_eq!(body(expected), Body::Broadcast(broadcast.clone()));
    };
    let args = [str("hello"), Value::Int(1), str("x")];
    check(
        &event(&args),
        br#"{"type":3,"data":{"packet":{"type":2,"data":["hello",1,"x"]},"opts":{"rooms":[],"except":[],"flags":{}}},"uid":"f80004f8d68c26c6","nsp":"/"}"#,
    );
    let flags = Flags {
        volatile: true,
        compress: Some(false),
        timeout_ms: Some(1000),
        expect_single_response: true,
        local: false,
    };
    let narrowed = Broadcast {
        rooms: names(&["r1", "a\"b"]),
        except: names(&["r3"]),
        flags,
        ..hello()
    };
    check(
        &narrowed,
        br#"{"type":3,"data":{"packet":{"type":2,"data":["hello"]},"opts":{"rooms":["r1","a\"b"],"except":["r3"],"flags":{"volatile":true,"compress":false,"expectSingleResponse":true,"timeout":1000}}},"uid":"f80004f8d68c26c6","nsp":"/"}"#,
    );
    let binary = event(&[
        str("bin"),
        Value::Bin(vec![1, 2, 3].into()),
        Value::Null,
        map(&[]),
    ]);
    let bytes = format!(
        "84 a4 74797065 03 a4 64617461 82 a6 7061636b6574 82 a4 74797065 02 a4 64617461 94 a3 62696e c403010203 c0 80
         a4 6f707473 83 a5 726f6f6d73 90 a6 657863657074 90 a5 666c616773 80 a3 756964 b0 {} a3 6e7370 a1 2f",
        UID.bytes().map(|byte| format!("{byte:02x}")).collect::<String>(),
    );
    check(&binary, &hex(&bytes));
}

#[test]
fn requests_are_the_bytes_of_node() {
    let check = |id: Option<&str>, request: RequestBody, expected: &str| {
        let expected = format!(r#"{{{expected},"uid":"f80004f8d68c26c6","nsp":"/"}}"#);
        let request = self::request(id, request);
        assert_eq!(text(&encode_request("/", &request).unwrap()), expected);
        assert_eq!(body(expected.as_bytes()), Body::Request(request));
    };
    let members = || Members {
        rooms: names(&["r1"]),
        except: names(&[]),
    };
    let opts = r#""opts":{"rooms":["r1"],"except":[],"flags":{}}"#;
    let rooms = || names(&["rr"]);
    check(
        None,
        RequestBody::Join {
            members: members(),
            rooms: rooms(),
        },
        &format!(r#""type":4,"data":{{{opts},"rooms":["rr"]}}"#),
    );
    check(
        None,
        RequestBody::Leave {
            members: members(),
            rooms: rooms(),
        },
        &format!(r#""type":5,"data":{{{opts},"rooms":["rr"]}}"#),
    );
    check(
        None,
        RequestBody::Disconnect {
            members: members(),
            close: true,
        },
        &format!(r#""type":6,"data":{{{opts},"close":true}}"#),
    );
    check(
        Some("59b51fdd48c2a07d"),
        RequestBody::Fetch { members: members() },
        &format!(r#""type":7,"data":{{{opts},"requestId":"59b51fdd48c2a07d"}}"#),
    );
    let args = || vec![str("sse"), Value::Int(1)];
    check(
        None,
        RequestBody::ServerSideEmit { args: args() },
        r#""type":9,"data":{"packet":["sse",1]}"#,
    );
    check(
        Some("59b51fdd48c2a07d"),
        RequestBody::ServerSideEmit { args: args() },
        r#""type":9,"data":{"requestId":"59b51fdd48c2a07d","packet":["sse",1]}"#,
    );
    let timeout = Flags {
        timeout_ms: Some(1000),
        ..Flags::default()
    };
    check(
        Some("407669d8324c41b1"),
        RequestBody::Broadcast(Broadcast {
            flags: timeout,
            ..event(&[str("wa"), str("z")])
        }),
        r#""type":3,"data":{"packet":{"type":2,"data":["wa","z"]},"requestId":"407669d8324c41b1","opts":{"rooms":[],"except":[],"flags":{"timeout":1000}}}"#,
    );
}

#[test]
fn answers_are_the_bytes_of_node() {
    let check = |answer: AnswerBody, expected: &str| {
        let expected = format!(r#"{{{expected},"uid":"f80004f8d68c26c6","nsp":"/"}}"#);
        let id = "407669d8324c41b1".to_owned();
        let answer = Answer {
            id,
            from: None,
            body: answer,
        };
        assert_eq!(text(&encode_answer(UID, "/", &answer).unwrap()), expected);
        assert_eq!(body(expected.as_bytes()), Body::Answer(answer));
    };
    let data = |rest: &str| format!(r#""data":{{"requestId":"407669d8324c41b1"{rest}}}"#);
    let re = map(&[("re", Value::Int(1))]);
    check(
        AnswerBody::ClientCount(1),
        &format!(r#""type":11,{}"#, data(r#","clientCount":1"#)),
    );
    check(
        AnswerBody::ServerSide(Some(re)),
        &format!(r#""type":10,{}"#, data(r#","packet":{"re":1}"#)),
    );
    check(AnswerBody::Ack(None), &format!(r#""type":12,{}"#, data("")));
    check(
        AnswerBody::Sockets(vec![map(&[("id", str("a"))])]),
        &format!(r#""type":8,{}"#, data(r#","sockets":[{"id":"a"}]"#)),
    );
    // Byte strings travel as such, and as many as there are.
    let bytes = Value::Array(vec![Value::Bin(vec![7].into()); 20]);
    let ack = Answer {
        from: None,
        id: "i".to_owned(),
        body: AnswerBody::Ack(Some(bytes)),
    };
    let encoded = encode_answer(UID, "/", &ack).unwrap();
    assert_eq!(encoded[0], 0x84);
    assert_eq!(body(&encoded), Body::Answer(ack));
}

#[test]
fn either_spelling_and_any_order_is_read() {
    let check = |json: &str, expected: &Body| {
        assert_eq!(body(json.as_bytes()), *expected, "{json}");
    };
    let hello = Body::Broadcast(hello());
    let tail = r#""uid":"f80004f8d68c26c6","nsp":"/""#;
    // Unknown keys, a packet with more in it, no flags and no `except`.
    check(
        &format!(
            r#"{{{tail},"x":[1],"data":{{"y":null,"opts":{{"rooms":[]}},"packet":{{"nsp":"/other","id":7,"data":["hello"],"type":2.0}}}},"type":3.0}}"#
        ),
        &hello,
    );
    let numbers = Broadcast {
        rooms: names(&["777", "-1", "r"]),
        ..self::hello()
    };
    check(
        &format!(
            r#"{{"type":3,"data":{{"packet":{{"type":2,"data":["hello"]}},"opts":{{"rooms":[777,-1,"r"],"except":null,"flags":null}}}},{tail}}}"#
        ),
        &Body::Broadcast(numbers),
    );
    // A buffer as JSON spells it is what it is: Node.js sends binary as MessagePack.
    let buffer = map(&[
        ("type", str("Buffer")),
        ("data", Value::Array(vec![Value::Int(1)])),
    ]);
    check(
        &format!(r#"{{"type":9,"data":{{"packet":["e",{{"type":"Buffer","data":[1]}}]}},{tail}}}"#),
        &Body::Request(request(
            None,
            RequestBody::ServerSideEmit {
                args: vec![str("e"), buffer],
            },
        )),
    );
    // Nobody's, which Node.js takes.
    let anonymous = br#"{"type":3,"data":{"packet":{"type":2,"data":["hello"]},"opts":{"rooms":[]}},"nsp":"/"}"#;
    assert_eq!(decode(anonymous).unwrap().uid, "");
}

#[test]
fn what_would_break_pods_or_reach_everybody_is_refused() {
    let check = |json: &str, expected: RequestError| {
        assert_eq!(decode(json.as_bytes()).expect_err(json), expected, "{json}");
    };
    let message =
        |kind: i64, data: &str| format!(r#"{{"type":{kind},"data":{data},"uid":"u","nsp":"/"}}"#);
    let field = RequestError::Field;
    check("{", RequestError::Json(JsonError::Syntax { at: 1 }));
    check("", DecodeError::Truncated.into());
    check("\u{1}", RequestError::NotAMap);
    check(" {}", DecodeError::TrailingBytes.into());
    check("{}", RequestError::Type);
    check(r#"{"type":"3","data":{},"nsp":"/"}"#, RequestError::Type);
    // Heartbeats and goodbyes of other adapters, and what nobody knows.
    for kind in [-1, 0, 1, 2, 13, 14, i64::MAX] {
        check(&message(kind, "{}"), RequestError::Type);
    }
    for nsp in ["", r#","nsp":null"#, r#","nsp":7"#] {
        check(&format!(r#"{{"type":3,"data":{{}}{nsp}}}"#), field("nsp"));
    }
    for data in ["null", "[]", "7", r#""x""#] {
        for kind in 3..=12 {
            check(&message(kind, data), field("data"));
        }
    }
    let packet = r#""packet":{"type":2,"data":["e"]}"#;
    let opts = r#""opts":{"rooms":[],"except":[]}"#;
    for kind in [4, 5, 6] {
        check(&message(kind, r#"{"rooms":["r"]}"#), field("opts"));
        // The form of one socket belongs to the classic adapter.
        check(&message(kind, r#"{"sid":"s","room":"r"}"#), field("opts"));
    }
    check(&message(7, r#"{"requestId":"i"}"#), field("opts"));
    check(&message(7, &format!("{{{opts}}}")), field("requestId"));
    check(&message(4, &format!("{{{opts}}}")), field("rooms"));
    check(&message(3, &format!("{{{packet}}}")), field("opts"));
    check(&message(3, &format!("{{{opts}}}")), field("packet"));
    for rooms in ["", r#""rooms":null"#, r#""rooms":{}"#, r#""rooms":[[]]"#] {
        let opts = format!(r#""opts":{{{rooms}}}"#);
        check(&message(3, &format!("{{{packet},{opts}}}")), field("rooms"));
        check(
            &message(6, &format!(r#"{{{opts},"close":true}}"#)),
            field("rooms"),
        );
    }
    for packet in [
        r#"{"type":5,"data":["e"]}"#,
        r#"{"type":"2","data":["e"]}"#,
        r#"{"data":["e"]}"#,
        "[2,[\"e\"]]",
        "null",
    ] {
        let data = format!(r#"{{"packet":{packet},{opts}}}"#);
        check(&message(3, &data), field("packet"));
    }
    for data in ["[]", "{}", "null", "[null]", "[[]]", r#""e""#] {
        let broadcast = format!(r#"{{"packet":{{"type":2,"data":{data}}},{opts}}}"#);
        check(&message(3, &broadcast), field("data"));
        check(
            &message(9, &format!(r#"{{"packet":{data}}}"#)),
            field("packet"),
        );
    }
    for kind in [8, 10, 11, 12] {
        check(&message(kind, "{}"), field("requestId"));
    }
    check(&message(8, r#"{"requestId":"i"}"#), field("sockets"));
    for count in ["-1", "0.5", "null", "4294967296", r#""1""#] {
        let data = format!(r#"{{"requestId":"i","clientCount":{count}}}"#);
        check(&message(11, &data), field("clientCount"));
    }
    let long = "x".repeat(601);
    let data = format!(r#"{{"requestId":"{long}","packet":1}}"#);
    check(&message(12, &data), RequestError::Name);
    let rooms = vec![r#""r""#; 16 * 1024 + 1].join(",");
    let data = format!(r#"{{{opts},"rooms":[{rooms}]}}"#);
    check(&message(4, &data), RequestError::TooManyRooms);
}

/// In both spellings: everything there is.
fn rich(binary: bool) -> Broadcast {
    let bytes = || Value::Bin(vec![1, 2].into());
    Broadcast {
        args: vec![
            str("event"),
            Value::Float(0.5),
            map(&[("list", Value::Array(vec![Value::Int(-7), str("é\"\\")]))]),
            if binary { bytes() } else { Value::Null },
        ],
        rooms: names(&["one", "two"]),
        except: names(&["three"]),
        flags: Flags {
            compress: Some(true),
            ..Flags::default()
        },
        extension: Some(Extension {
            seq: 9,
            ordered: true,
            revision: Some(4),
            note: binary.then(|| "note".into()),
        }),
    }
}

#[test]
fn our_own_part_survives_and_is_ignored_by_node() {
    for binary in [false, true] {
        let bytes = encode(UID, "/", &rich(binary)).unwrap();
        assert_eq!(bytes[0] == b'{', !binary);
        assert_eq!(body(&bytes), Body::Broadcast(rich(binary)));
    }
    let json = encode(UID, "/", &rich(false)).unwrap();
    let expected = r#"]},"opts":{"rooms":["one","two"],"except":["three"],"flags":{"compress":true}}},"unisono":{"o":true,"r":4,"s":9},"uid":"f80004f8d68c26c6","nsp":"/"}"#;
    assert!(text(&json).ends_with(expected), "{}", text(&json));
    // A note is bytes.
    let noted = Broadcast {
        extension: rich(true).extension,
        ..hello()
    };
    let bytes = encode(UID, "/", &noted).unwrap();
    assert_eq!((bytes[0], body(&bytes)), (0x85, Body::Broadcast(noted)));
}

#[test]
fn every_prefix_is_refused_and_flipped_bits_do_not_panic() {
    for binary in [false, true] {
        let bytes = encode("uid", "/chat", &rich(binary)).unwrap();
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "{end} bytes");
        }
        for index in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.to_vec();
                flipped[index] ^= 1 << bit;
                let _ = decode(&flipped);
            }
        }
    }
}

#[test]
fn lengths_depths_and_counts_are_checked_first() {
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let broadcast = |arg: &str| {
        format!(
            r#"{{"type":3,"data":{{"packet":{{"type":2,"data":["e",{arg}]}},"opts":{{"rooms":[]}}}},"uid":"u","nsp":"/"}}"#
        )
    };
    // As deep as a client may nest its arguments, whose list is the first level of 64.
    assert!(decode(broadcast(&nested(63)).as_bytes()).is_ok());
    let deep = decode(broadcast(&nested(64)).as_bytes());
    assert_eq!(deep, Err(JsonError::TooDeep.into()));
    let deepest = (0..63).fold(Value::Int(1), |inner, _| Value::Array(vec![inner]));
    for bin in [Value::Null, Value::Bin(vec![1].into())] {
        let arguments = event(&[str("e"), deepest.clone(), bin.clone()]);
        let bytes = encode(UID, "/", &arguments).unwrap();
        assert_eq!(body(&bytes), Body::Broadcast(arguments));
        let deeper = event(&[str("e"), Value::Array(vec![deepest.clone()]), bin]);
        assert_eq!(encode(UID, "/", &deeper), Err(EncodeError::TooDeep));
    }
    let endless = [&hex("81 a4 64617461")[..], &[0x91; 100_000]].concat();
    assert_eq!(decode(&endless), Err(DecodeError::TooDeep.into()));
    for length in ["df ffffffff", "81 dd ffffffff", "81 a1 61 db ffffffff"] {
        assert_eq!(
            decode(&hex(length)),
            Err(RequestError::Decode(DecodeError::Truncated)),
            "{length}"
        );
    }
    assert_eq!(
        decode(&vec![b'{'; (16 << 20) + 1]),
        Err(DecodeError::TooLarge.into())
    );
    // Eleven byte strings would disconnect clients.
    let bins = |count| {
        event(&[
            str("e"),
            Value::Array(vec![Value::Bin(vec![0].into()); count]),
        ])
    };
    assert!(decode(&encode(UID, "/", &bins(10)).unwrap()).is_ok());
    assert_eq!(
        encode(UID, "/", &bins(11)),
        Err(EncodeError::TooManyAttachments)
    );
    let server_side = RequestBody::ServerSideEmit {
        args: bins(11).args,
    };
    let mut bytes = encode_request("/", &request(None, server_side))
        .unwrap()
        .to_vec();
    assert!(decode(&bytes).is_ok(), "nodes take any number");
    // The same as a broadcast.
    let eleven = bins(11).args;
    bytes = hex(
        "84 a4 74797065 03 a4 64617461 82 a6 7061636b6574 82 a4 74797065 02 a4 64617461 92 a1 65 9b",
    );
    bytes.extend([0xc4, 1, 0].repeat(11));
    bytes.extend(hex(
        "a4 6f707473 81 a5 726f6f6d73 90 a3 756964 a1 75 a3 6e7370 a1 2f",
    ));
    assert_eq!(
        decode(&bytes),
        Err(DecodeError::TooManyAttachments.into()),
        "{eleven:?}"
    );
}

#[test]
fn of_an_answer_only_what_is_too_deep_is_lost() {
    let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
    let answer = |kind: i64| {
        format!(
            r#"{{"type":{kind},"data":{{"requestId":"i","sockets":[{{"id":"a","data":{deep}}},{{"id":"b"}}]}},"uid":"{UID}","nsp":"/"}}"#
        )
    };
    let Body::Answer(Answer { body: read, .. }) = body(answer(8).as_bytes()) else {
        panic!("it is an answer");
    };
    let AnswerBody::Sockets(sockets) = read else {
        panic!("it lists sockets");
    };
    let ids: Vec<_> = sockets.iter().map(|socket| socket.get("id")).collect();
    assert_eq!(ids, [Some(&str("a")), Some(&str("b"))]);
    assert_eq!(
        decode(answer(7).as_bytes()),
        Err(JsonError::TooDeep.into()),
        "whoever asks is not asked for half of it"
    );
}

#[test]
fn a_filled_template_is_the_message_with_that_revision() {
    let broadcast = Broadcast {
        rooms: names(&["session"]),
        ..event(&[str("state"), map(&[("track", str("a"))])])
    };
    let numbered = Broadcast {
        extension: Some(Extension {
            seq: 5,
            ordered: true,
            ..Extension::default()
        }),
        ..broadcast
    };
    let template = encode_template("socket.io", UID, "/", &numbered, "revision").unwrap();
    // Not that of the room: commits have one order.
    assert_eq!(
        (template.channel.as_str(), template.seq),
        ("socket.io#/#", 5)
    );
    for revision in [0, 127, 65_536, u32::MAX] {
        let Body::Broadcast(read) = body(&template.fill(revision)) else {
            panic!("it is a broadcast");
        };
        let extension = read.extension.unwrap();
        assert_eq!((extension.seq, extension.revision), (5, Some(revision)));
        let expected = map(&[
            ("track", str("a")),
            ("revision", Value::Int(revision.into())),
        ]);
        assert_eq!(read.args[1], expected);
    }
    let unnumbered = encode_template("p", UID, "/", &hello(), "revision");
    assert_eq!(unnumbered, Err(EncodeError::NoSequence));
}

#[test]
fn sockets_are_written_one_by_one() {
    let mut answer = SocketsAnswer::new(UID, "/", "407669d8324c41b1");
    let socket = |n: i64, data: Value| map(&[("id", Value::Int(n)), ("data", data)]);
    let deep = (0..64).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    let large = str(&"x".repeat(17 << 20));
    let bytes = Value::Bin(vec![0; 3].into());
    answer.push(&socket(1, bytes.clone())).unwrap();
    assert_eq!(answer.push(&socket(2, deep)), Err(EncodeError::TooDeep));
    assert!(matches!(
        answer.push(&socket(3, large)),
        Err(EncodeError::TooLarge { .. })
    ));
    let many = Value::Array(vec![Value::Null; 1 << 20]);
    assert_eq!(
        answer.push(&socket(4, many)),
        Err(EncodeError::TooManyValues)
    );
    for n in 5..80 {
        answer.push(&socket(n, bytes.clone())).unwrap();
    }
    let Body::Answer(answer) = body(&answer.finish()) else {
        panic!("it is an answer");
    };
    assert_eq!(answer.id, "407669d8324c41b1");
    let expected = std::iter::once(1).chain(5..80);
    let expected = expected.map(|n| socket(n, bytes.clone())).collect();
    assert_eq!(answer.body, AnswerBody::Sockets(expected));
}

#[test]
fn what_only_the_classic_adapter_has_is_not_written() {
    for body in [
        RequestBody::Sockets { rooms: Vec::new() },
        RequestBody::One {
            sid: "s".to_owned(),
            change: unisono_cluster::Change::Disconnect(true),
        },
    ] {
        let written = encode_request("/", &request(None, body));
        assert_eq!(written, Err(EncodeError::ClassicOnly));
    }
    let id = String::new;
    for body in [AnswerBody::Done, AnswerBody::Rooms(Vec::new())] {
        let written = encode_answer(
            UID,
            "/",
            &Answer {
                id: id(),
                from: None,
                body,
            },
        );
        assert_eq!(written, Err(EncodeError::ClassicOnly));
    }
}
