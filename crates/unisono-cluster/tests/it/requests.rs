//! Requests and answers, against bytes recorded from Node.js pods and emitters.

use bytes::Bytes;
use unisono_cluster::classic::{decode_answer, decode_request, encode_answer, encode_request};
use unisono_cluster::limits::MAX_NAME_BYTES;
use unisono_cluster::{
    Answer, AnswerBody, Broadcast, Change, DecodeError, EncodeError, Flags, Members, Request,
    RequestBody, RequestError,
};
use unisono_proto::Value;

use crate::support::{event, hex, map, names, str};

const UID: &str = "6y_Ew4";

fn members(rooms: &[&str], except: &[&str]) -> Members {
    Members {
        rooms: names(rooms),
        except: names(except),
    }
}

fn bin(bytes: &[u8]) -> Value {
    Value::Bin(Bytes::copy_from_slice(bytes))
}

/// What a pod sent reads as `request`, and we send the same bytes for it.
fn check_request(recorded: &[u8], id: Option<&str>, body: RequestBody) {
    let request = Request {
        uid: UID.to_owned(),
        id: id.map(str::to_owned),
        body,
    };
    let shown = String::from_utf8_lossy(recorded);
    assert_eq!(decode_request(recorded).as_ref(), Ok(&request), "{shown}");
    assert_eq!(
        encode_request("/", &request).expect("it encodes"),
        recorded,
        "{shown}"
    );
    prefixes(recorded, |bytes| decode_request(bytes).map(drop));
}

/// The same of an answer.
fn check_answer(recorded: &[u8], id: &str, body: AnswerBody) {
    let answer = Answer {
        from: None,
        id: id.to_owned(),
        body,
    };
    let shown = String::from_utf8_lossy(recorded);
    assert_eq!(decode_answer(recorded).as_ref(), Ok(&answer), "{shown}");
    assert_eq!(
        encode_answer(answer).expect("it encodes"),
        recorded,
        "{shown}"
    );
    prefixes(recorded, |bytes| decode_answer(bytes).map(drop));
}

/// No part of a message is a message.
fn prefixes(recorded: &[u8], decode: impl Fn(&[u8]) -> Result<(), RequestError>) {
    for end in 0..recorded.len() {
        let error = decode(&recorded[..end]).expect_err("a part is none");
        let is_json = end > 0 && recorded[0] == b'{';
        match error {
            RequestError::Json(_) => assert!(is_json, "{end} bytes"),
            error => assert_eq!(error, DecodeError::Truncated.into(), "{end} bytes"),
        }
    }
}

#[test]
fn recorded_requests_are_read_and_written_alike() {
    check_request(
        br#"{"uid":"6y_Ew4","requestId":"pzbN9Z","type":1}"#,
        Some("pzbN9Z"),
        RequestBody::AllRooms,
    );
    check_request(
        br#"{"uid":"6y_Ew4","requestId":"FnWDh3","type":5,"opts":{"rooms":["lobby"],"except":["x"]}}"#,
        Some("FnWDh3"),
        RequestBody::Fetch {
            members: members(&["lobby"], &["x"]),
        },
    );
    check_request(
        br#"{"uid":"6y_Ew4","type":2,"opts":{"rooms":["lobby"],"except":[]},"rooms":["r1","r2"]}"#,
        None,
        RequestBody::Join {
            members: members(&["lobby"], &[]),
            rooms: names(&["r1", "r2"]),
        },
    );
    check_request(
        br#"{"uid":"6y_Ew4","type":3,"opts":{"rooms":["lobby"],"except":[]},"rooms":["r2"]}"#,
        None,
        RequestBody::Leave {
            members: members(&["lobby"], &[]),
            rooms: names(&["r2"]),
        },
    );
    check_request(
        br#"{"uid":"6y_Ew4","type":4,"opts":{"rooms":["lobby"],"except":[]},"close":true}"#,
        None,
        RequestBody::Disconnect {
            members: members(&["lobby"], &[]),
            close: true,
        },
    );
    check_request(
        br#"{"uid":"6y_Ew4","type":6,"data":["sse",1,{"type":"Buffer","data":[1,2]}]}"#,
        None,
        RequestBody::ServerSideEmit {
            args: vec![str("sse"), Value::Int(1), bin(&[1, 2])],
        },
    );
    check_request(
        br#"{"uid":"6y_Ew4","requestId":"NcBtMV","type":6,"data":["sse","q"]}"#,
        Some("NcBtMV"),
        RequestBody::ServerSideEmit {
            args: vec![str("sse"), str("q")],
        },
    );
}

/// In MessagePack, unlike all others.
#[test]
fn recorded_broadcasts_with_acknowledgements_are_read_and_written_alike() {
    let timeout = |timeout_ms: u64| Flags {
        timeout_ms: Some(timeout_ms),
        ..Flags::default()
    };
    check_request(
        &hex(
            "85a3756964a636795f457734a9726571756573744964a65370726d674fa47479706507a67061636b6574
             83a47479706502a46461746192a171c40101a36e7370a12fa46f70747383a5726f6f6d7391a56c6f626279a665786365707490
             a5666c61677381a774696d656f7574cd03e8",
        ),
        Some("SprmgO"),
        RequestBody::Broadcast(Broadcast {
            rooms: names(&["lobby"]),
            flags: timeout(1_000),
            ..event(&[str("q"), bin(&[1])])
        }),
    );
    // From a remote socket's emit.
    check_request(
        &hex(
            "85a3756964a636795f457734a9726571756573744964a66b4e7375706ea47479706507a67061636b6574
             83a47479706502a46461746192a17101a36e7370a12fa46f70747383a5726f6f6d7391b473626d53417a7177736c385630382d5941414141
             a665786365707490a5666c61677382b465787065637453696e676c65526573706f6e7365c3a774696d656f7574cd01f4",
        ),
        Some("kNsupn"),
        RequestBody::Broadcast(Broadcast {
            rooms: names(&["sbmSAzqwsl8V08-YAAAA"]),
            flags: Flags {
                expect_single_response: true,
                ..timeout(500)
            },
            ..event(&[str("q"), Value::Int(1)])
        }),
    );
}

#[test]
fn recorded_answers_are_read_and_written_alike() {
    check_answer(
        br#"{"requestId":"pzbN9Z","rooms":["cvj91pbgtBn8eWLKAAAA","lobby"]}"#,
        "pzbN9Z",
        AnswerBody::Rooms(names(&["cvj91pbgtBn8eWLKAAAA", "lobby"])),
    );
    let handshake = map(&[
        (
            "headers",
            map(&[
                ("sec-websocket-key", str("PXQ0FzcgW3nHZdnzOxKh6g==")),
                ("host", str("127.0.0.1:34753")),
            ]),
        ),
        (
            "time",
            str("Thu Nov 26 2026 21:59:43 GMT+0000 (Coordinated Universal Time)"),
        ),
        ("address", str("127.0.0.1")),
        ("xdomain", Value::Bool(false)),
        ("secure", Value::Bool(false)),
        ("issued", Value::Int(1_795_730_383_393)),
        ("url", str("/socket.io/?k=v&EIO=4&transport=websocket")),
        ("query", map(&[("k", str("v")), ("EIO", str("4"))])),
        ("auth", map(&[("token", Value::Int(1))])),
    ]);
    check_answer(
        br#"{"requestId":"FnWDh3","sockets":[{"id":"cvj91pbgtBn8eWLKAAAA","handshake":{"headers":{"sec-websocket-key":"PXQ0FzcgW3nHZdnzOxKh6g==","host":"127.0.0.1:34753"},"time":"Thu Nov 26 2026 21:59:43 GMT+0000 (Coordinated Universal Time)","address":"127.0.0.1","xdomain":false,"secure":false,"issued":1795730383393,"url":"/socket.io/?k=v&EIO=4&transport=websocket","query":{"k":"v","EIO":"4"},"auth":{"token":1}},"rooms":["cvj91pbgtBn8eWLKAAAA","lobby"],"data":{"user":"x"}}]}"#,
        "FnWDh3",
        AnswerBody::Sockets(vec![map(&[
            ("id", str("cvj91pbgtBn8eWLKAAAA")),
            ("handshake", handshake),
            (
                "rooms",
                Value::Array(vec![str("cvj91pbgtBn8eWLKAAAA"), str("lobby")]),
            ),
            ("data", map(&[("user", str("x"))])),
        ])]),
    );
    check_answer(
        br#"{"type":6,"requestId":"NcBtMV","data":{"re":"q","b":{"type":"Buffer","data":[1,2]}}}"#,
        "NcBtMV",
        AnswerBody::ServerSide(Some(map(&[("re", str("q")), ("b", bin(&[1, 2]))]))),
    );
    check_answer(
        br#"{"type":6,"requestId":"ZqnUZw"}"#,
        "ZqnUZw",
        AnswerBody::ServerSide(None),
    );
    check_answer(
        br#"{"type":8,"requestId":"SprmgO","clientCount":1}"#,
        "SprmgO",
        AnswerBody::ClientCount(1),
    );
    check_answer(
        &hex("83a47479706509a9726571756573744964a65370726d674fa67061636b657481a162c40107"),
        "SprmgO",
        AnswerBody::Ack(Some(map(&[("b", bin(&[7]))]))),
    );
    check_answer(
        &hex("82a47479706509a9726571756573744964a65333395f4256"),
        "S39_BV",
        AnswerBody::Ack(None),
    );
    check_answer(br#"{"requestId":"a"}"#, "a", AnswerBody::Done);
}

/// What pods of earlier versions and emitters send.
#[test]
fn other_requests_are_understood() {
    let check = |json: &str, uid: &str, id: Option<&str>, body: RequestBody| {
        let request = decode_request(json.as_bytes()).expect(json);
        let (uid, id) = (uid.to_owned(), id.map(str::to_owned));
        assert_eq!(request, Request { uid, id, body }, "{json}");
    };
    check(
        r#"{"type":2,"opts":{"rooms":["lobby"],"except":[]},"rooms":["e1"]}"#,
        "",
        None,
        RequestBody::Join {
            members: members(&["lobby"], &[]),
            rooms: names(&["e1"]),
        },
    );
    check(
        r#"{"uid":"emitter","type":6,"data":["sse",5]}"#,
        "emitter",
        None,
        RequestBody::ServerSideEmit {
            args: vec![str("sse"), Value::Int(5)],
        },
    );
    check(
        r#"{"type":4,"opts":{"rooms":[777]},"close":1}"#,
        "",
        None,
        RequestBody::Disconnect {
            members: members(&["777"], &[]),
            close: false,
        },
    );
    let old = |kind: u8, rest: &str| {
        format!(r#"{{"uid":"u","requestId":"r","type":{kind},"sid":"s",{rest}}}"#)
    };
    let one = |change: Change| RequestBody::One {
        sid: "s".to_owned(),
        change,
    };
    let room = "\"room\":\"a\"";
    check(&old(2, room), "u", Some("r"), one(Change::Join("a".into())));
    check(
        &old(3, room),
        "u",
        Some("r"),
        one(Change::Leave("a".into())),
    );
    check(
        &old(4, "\"close\":true"),
        "u",
        Some("r"),
        one(Change::Disconnect(true)),
    );
    check(
        r#"{"uid":"u","requestId":"r","type":0,"rooms":["a"]}"#,
        "u",
        Some("r"),
        RequestBody::Sockets {
            rooms: names(&["a"]),
        },
    );
    // In the other spelling, and with a timeout that is none.
    check(
        r#"{"requestId":"r","type":7.0,"packet":{"type":2,"data":["e"],"nsp":"/x"},"opts":{"rooms":[],"flags":{"timeout":-1}}}"#,
        "",
        Some("r"),
        RequestBody::Broadcast(event(&[str("e")])),
    );
    let packed = hex("83 a3 756964 a1 75 a9 726571756573744964 a1 72 a4 74797065 01");
    let request = decode_request(&packed).expect("it decodes");
    assert_eq!(request.body, RequestBody::AllRooms);
}

#[test]
fn what_is_no_request_is_refused() {
    let check = |bytes: &[u8], expected: RequestError| {
        let shown = String::from_utf8_lossy(bytes);
        assert_eq!(decode_request(bytes), Err(expected), "{shown}");
    };
    let json = |text: &str, expected: RequestError| check(text.as_bytes(), expected);
    check(b"", DecodeError::Truncated.into());
    check(&[0xc1], DecodeError::ReservedMarker.into());
    check(&[0xc0], RequestError::NotAMap);
    check(&[0x80, 0x80], DecodeError::TrailingBytes.into());
    check(&vec![b'{'; (16 << 20) + 1], DecodeError::TooLarge.into());
    assert!(matches!(decode_request(b"{}}"), Err(RequestError::Json(_))));
    json("{}", RequestError::Type);
    for kind in ["8", "9", "-1", "1.5", "\"1\"", "null", "1e300"] {
        json(
            &format!(r#"{{"requestId":"r","type":{kind}}}"#),
            RequestError::Type,
        );
    }
    json(r#"{"type":1}"#, RequestError::Field("requestId"));
    json(
        r#"{"type":1,"requestId":7}"#,
        RequestError::Field("requestId"),
    );
    let long = "r".repeat(MAX_NAME_BYTES + 1);
    json(
        &format!(r#"{{"type":1,"requestId":"{long}"}}"#),
        RequestError::Name,
    );
    json(
        r#"{"type":0,"requestId":"r"}"#,
        RequestError::Field("rooms"),
    );
    // Without a target everybody would be meant.
    for opts in ["", r#","opts":null"#, r#","opts":[]"#] {
        for kind in [2, 3, 4, 5] {
            json(
                &format!(r#"{{"type":{kind},"requestId":"r","rooms":["a"]{opts}}}"#),
                RequestError::Field("opts"),
            );
        }
    }
    for rooms in ["", r#""rooms":null"#, r#""rooms":"a""#, r#""rooms":[null]"#] {
        for kind in [2, 3, 4, 5] {
            json(
                &format!(r#"{{"type":{kind},"requestId":"r","rooms":["a"],"opts":{{{rooms}}}}}"#),
                RequestError::Field("rooms"),
            );
        }
    }
    json(
        r#"{"type":4,"opts":{"rooms":[],"except":"a"}}"#,
        RequestError::Field("except"),
    );
    json(
        r#"{"type":2,"opts":{"rooms":[]}}"#,
        RequestError::Field("rooms"),
    );
    json(
        r#"{"type":2,"sid":"s","requestId":"r"}"#,
        RequestError::Field("room"),
    );
    for data in ["null", "[]", "[null]", "{}"] {
        json(
            &format!(r#"{{"type":6,"data":{data}}}"#),
            RequestError::Field("data"),
        );
        json(
            &format!(
                r#"{{"type":7,"requestId":"r","packet":{{"type":2,"data":{data}}},"opts":{{"rooms":[]}}}}"#
            ),
            RequestError::Field("data"),
        );
    }
    for packet in ["null", "{}", r#"{"type":5,"data":["e"]}"#] {
        json(
            &format!(r#"{{"type":7,"requestId":"r","packet":{packet},"opts":{{"rooms":[]}}}}"#),
            RequestError::Field("packet"),
        );
    }
}

#[test]
fn what_is_no_answer_is_refused() {
    let check = |text: &str, expected: RequestError| {
        assert_eq!(decode_answer(text.as_bytes()), Err(expected), "{text}");
    };
    check("{}", RequestError::Field("requestId"));
    check(r#"{"requestId":null}"#, RequestError::Field("requestId"));
    check(r#"{"requestId":"r","type":1}"#, RequestError::Type);
    check(
        r#"{"requestId":"r","sockets":null}"#,
        RequestError::Field("sockets"),
    );
    check(
        r#"{"requestId":"r","rooms":[{}]}"#,
        RequestError::Field("rooms"),
    );
    for count in ["-1", "1.5", "\"1\"", "null", "4294967296", "1e300"] {
        check(
            &format!(r#"{{"requestId":"r","type":8,"clientCount":{count}}}"#),
            RequestError::Field("clientCount"),
        );
    }
}

#[test]
fn what_others_would_refuse_is_not_sent() {
    let check = |args: Vec<Value>, expected: EncodeError| {
        let request = Request {
            uid: UID.to_owned(),
            id: None,
            body: RequestBody::ServerSideEmit { args },
        };
        assert_eq!(encode_request("/", &request), Err(expected));
    };
    check(
        vec![str("e"), bin(&vec![0; 600_000])],
        EncodeError::TooManyValues,
    );
    let nested = (0..64).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    check(vec![str("e"), nested], EncodeError::TooDeep);
    let long = str(&"x".repeat(16 << 20));
    let request = Request {
        uid: UID.to_owned(),
        id: None,
        body: RequestBody::ServerSideEmit {
            args: vec![str("e"), long],
        },
    };
    assert!(matches!(
        encode_request("/", &request),
        Err(EncodeError::TooLarge { .. })
    ));
}
