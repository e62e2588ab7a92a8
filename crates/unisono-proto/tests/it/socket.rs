//! Socket.IO packets. Texts and verdicts were recorded from socket.io-parser 4.2.7 where not said otherwise.

use bytes::Bytes;
use serde_json::json;
use unisono_proto::Value;
use unisono_proto::engine::Sid;
use unisono_proto::limits::{Limits, MAX_ACK_ID, MAX_CONNECT_LEN, MAX_NAMESPACE_LEN};
use unisono_proto::socket::{
    DecodeError, Decoder, EncodeError, Encoded, Packet, encode, encode_ack, encode_connected,
    encode_event,
};
use unisono_proto::value::JsonError;

fn event(nsp: &str, id: Option<u64>, args: Vec<Value>) -> Packet {
    Packet::Event {
        nsp: nsp.into(),
        id,
        args,
    }
}

fn ack(nsp: &str, id: u64, args: Vec<Value>) -> Packet {
    Packet::Ack {
        nsp: nsp.into(),
        id,
        args,
    }
}

fn connect(nsp: &str, data: Option<Value>) -> Packet {
    Packet::Connect {
        nsp: nsp.into(),
        data,
    }
}

fn args(json: serde_json::Value) -> Vec<Value> {
    Value::from(json).as_array().unwrap().to_vec()
}

fn bin(bytes: &[u8]) -> Value {
    Value::Bin(Bytes::copy_from_slice(bytes))
}

fn map(pairs: Vec<(&str, Value)>) -> Value {
    Value::Map(
        pairs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

fn decode(text: &str, attachments: &[&[u8]]) -> Result<Option<Packet>, DecodeError> {
    let mut decoder = Decoder::default();
    let mut packet = decoder.text(text)?;
    for attachment in attachments {
        assert_eq!(packet, None);
        packet = decoder.binary(Bytes::copy_from_slice(attachment))?;
    }
    assert_eq!(decoder.pending_bytes(), 0);
    Ok(packet)
}

#[test]
fn encodes_as_node_and_decodes_again() {
    let check = |packet: Packet, text: &str, attachments: &[&[u8]]| {
        let bytes = attachments
            .iter()
            .map(|bytes| Bytes::copy_from_slice(bytes))
            .collect();
        assert_eq!(
            encode(&packet),
            Ok(Encoded {
                text: text.into(),
                attachments: bytes
            })
        );
        assert_eq!(decode(text, attachments), Ok(Some(packet)), "{text}");
        for len in (0..text.len()).filter(|len| text.is_char_boundary(*len)) {
            let _no_panic = Decoder::default().text(&text[..len]);
        }
    };
    check(connect("/", None), "0", &[]);
    check(
        connect("/chat", Some(json!({"token": "x"}).into())),
        r#"0/chat,{"token":"x"}"#,
        &[],
    );
    check(Packet::Disconnect { nsp: "/".into() }, "1", &[]);
    check(
        Packet::Disconnect {
            nsp: "/chat".into(),
        },
        "1/chat,",
        &[],
    );
    check(
        event("/", None, args(json!(["hello", 1, "x"]))),
        r#"2["hello",1,"x"]"#,
        &[],
    );
    check(
        event(
            "/chat",
            Some(12),
            args(json!(["hello", {"a": 1.5, "b": null}])),
        ),
        r#"2/chat,12["hello",{"a":1.5,"b":null}]"#,
        &[],
    );
    check(ack("/", 0, vec![]), "30[]", &[]);
    check(
        ack("/chat", 3, args(json!(["ok"]))),
        r#"3/chat,3["ok"]"#,
        &[],
    );
    check(
        Packet::ConnectError {
            nsp: "/x".into(),
            data: json!({"message": "Invalid namespace"}).into(),
        },
        r#"4/x,{"message":"Invalid namespace"}"#,
        &[],
    );
    check(
        event("/", None, vec!["b".into(), bin(&[1, 2, 3])]),
        r#"51-["b",{"_placeholder":true,"num":0}]"#,
        &[&[1, 2, 3]],
    );
    let nested = map(vec![("x", bin(&[1])), ("y", vec![bin(&[])].into())]);
    check(
        event("/chat", Some(7), vec!["b".into(), nested]),
        r#"52-/chat,7["b",{"x":{"_placeholder":true,"num":0},"y":[{"_placeholder":true,"num":1}]}]"#,
        &[&[1], &[]],
    );
    check(
        ack("/chat", 7, vec![bin(&[9])]),
        r#"61-/chat,7[{"_placeholder":true,"num":0}]"#,
        &[&[9]],
    );
    check(
        event(
            "/",
            None,
            args(json!(["é😀\"\\\n\u{1}\u{2028}", 1e21, 1e-7])),
        ),
        "2[\"é😀\\\"\\\\\\n\\u0001\u{2028}\",1e+21,1e-7]",
        &[],
    );
}

#[test]
fn accepts_what_node_accepts() {
    let check = |text: &str, packet| assert_eq!(decode(text, &[]), Ok(packet), "{text}");
    check("0{}", Some(connect("/", Some(map(vec![])))));
    check("0/", Some(connect("/", None)));
    check("0/chat", Some(connect("/chat", None)));
    check("0/chat,", Some(connect("/chat", None)));
    check("0123", Some(connect("/", None)));
    check("0/a?b=c,", Some(connect("/a?b=c", None)));
    check(
        "1/chat",
        Some(Packet::Disconnect {
            nsp: "/chat".into(),
        }),
    );
    check("123", Some(Packet::Disconnect { nsp: "/".into() }));
    check("2", Some(event("/", None, vec![])));
    check("2[1]", Some(event("/", None, vec![1.into()])));
    check("2[1.5]", Some(event("/", None, vec![1.5.into()])));
    check(
        r#"2["error"]"#,
        Some(event("/", None, vec!["error".into()])),
    );
    check(r#"212["a"]"#, Some(event("/", Some(12), vec!["a".into()])));
    check(r#"2/chat["a"]"#, Some(event(r#"/chat["a"]"#, None, vec![])));
    check("30", Some(ack("/", 0, vec![])));
    check("3", None);
    check("3[]", None);
    check(
        "4",
        Some(Packet::ConnectError {
            nsp: "/".into(),
            data: Value::Null,
        }),
    );
    check(
        r#"4"x""#,
        Some(Packet::ConnectError {
            nsp: "/".into(),
            data: "x".into(),
        }),
    );
    check(
        r#"2["a",{"_placeholder":true,"num":0}]"#,
        Some(event(
            "/",
            None,
            args(json!(["a", {"_placeholder": true, "num": 0}])),
        )),
    );
    check(
        "2[\"a\",{\"__proto__\":1,\"b\":2,\"b\":3}]",
        Some(event(
            "/",
            None,
            args(json!(["a", {"__proto__": 1, "b": 3}])),
        )),
    );
}

#[test]
fn refuses_what_closes_a_connection() {
    let check = |text: &str, error| assert_eq!(decode(text, &[]), Err(error), "{text}");
    check("", DecodeError::Empty);
    for text in ["7", "8[]", "9", "abc", "-1", "٢[\"a\"]", " "] {
        check(text, DecodeError::UnknownType);
    }
    for text in [
        "0[]",
        "0null",
        "0\"x\"",
        "1{}",
        "2[]",
        "2{}",
        "2null",
        "2[null]",
        "2[true,1]",
        "2[[]]",
        r#"2[{"toString":"foo"}]"#,
        "30{}",
        "30null",
        "4[]",
        "4null",
        "51-{}",
    ] {
        check(text, DecodeError::Payload);
    }
    for text in [
        "0,",
        "2abc",
        "2[\"a\"",
        "2[\"a\"]x",
        "51-x",
        "2[\"\u{1}\"]",
        "2[01]",
        "2['a']",
        "2[NaN]",
        "2[\"a\",]",
    ] {
        assert!(
            matches!(
                decode(text, &[]),
                Err(DecodeError::Json(JsonError::Syntax { .. }))
            ),
            "{text}"
        );
    }
    for name in unisono_proto::socket::RESERVED_EVENTS {
        check(&format!(r#"2["{name}"]"#), DecodeError::ReservedEvent);
        check(&format!(r#"51-/a,1["{name}"]"#), DecodeError::ReservedEvent);
    }
    // Some of these pass Node's loose comparison with a number; none is the notation of the protocol.
    for text in [
        "5",
        "5-",
        "5-[\"a\"]",
        "50-[\"a\"]",
        "500-[\"a\"]",
        "5 1-[\"a\"]",
        "51e1-[\"a\"]",
        "50x5-[\"a\"]",
        "5+3-[\"a\"]",
        "51",
        "5/chat,1-[]",
        "6",
        "60-[]",
    ] {
        check(text, DecodeError::Attachments);
    }
    check("511-[\"a\"]", DecodeError::TooManyAttachments);
    check("5999999-[\"a\"]", DecodeError::TooManyAttachments);
    check(
        &format!("5{}-[\"a\"]", "9".repeat(100_000)),
        DecodeError::TooManyAttachments,
    );
    check(&format!("2{}", "2".repeat(100_000)), DecodeError::AckId);
    check(&format!("2{}[\"a\"]", MAX_ACK_ID + 1), DecodeError::AckId);
    check(
        &format!("2/{}", "n".repeat(1_000_000)),
        DecodeError::NamespaceTooLong,
    );
    check(
        &format!("0{{\"token\":\"{}\"}}", "t".repeat(MAX_CONNECT_LEN)),
        DecodeError::ConnectTooLong,
    );
    check(
        &format!("2[\"a\",{}", "[".repeat(1_000_000)),
        DecodeError::Json(JsonError::TooDeep),
    );
}

#[test]
fn bounds_are_exact() {
    let nsp = format!("/{}", "n".repeat(MAX_NAMESPACE_LEN - 1));
    assert_eq!(
        decode(&format!("0{nsp},"), &[]),
        Ok(Some(connect(&nsp, None)))
    );
    assert_eq!(
        decode(&format!("0{nsp}n,"), &[]),
        Err(DecodeError::NamespaceTooLong)
    );
    assert_eq!(
        decode(&format!("3{MAX_ACK_ID}[]"), &[]),
        Ok(Some(ack("/", MAX_ACK_ID, vec![])))
    );
    let ten: Vec<&[u8]> = vec![b"x"; 10];
    assert_eq!(
        decode("510-[\"a\"]", &ten),
        Ok(Some(event("/", None, vec!["a".into()])))
    );
    assert_eq!(
        decode("5010-[\"a\"]", &ten),
        Ok(Some(event("/", None, vec!["a".into()])))
    );
    let mut decoder = Decoder::new(Limits {
        max_attachments: 2,
        ..Limits::default()
    });
    assert_eq!(
        decoder.text("53-[\"a\"]"),
        Err(DecodeError::TooManyAttachments)
    );
}

#[test]
fn placeholders() {
    let check = |text: &str, attachments: &[&[u8]], expected| {
        assert_eq!(decode(text, attachments), expected, "{text}");
    };
    let one = |value: Value| Ok(Some(event("/", None, vec!["a".into(), value])));
    for num in [
        "\"splice\"",
        "-1",
        "1",
        "1.5",
        "0.5",
        "1e9",
        "\"0\"",
        "null",
        "{}",
    ] {
        let text = format!(r#"51-["a",{{"_placeholder":true,"num":{num}}}]"#);
        check(&text, &[], Err(DecodeError::Json(JsonError::Placeholder)));
    }
    check(
        r#"51-["a",{"_placeholder":true}]"#,
        &[],
        Err(DecodeError::Json(JsonError::Placeholder)),
    );
    check(
        r#"51-["a",{"_placeholder":true,"num":0.0}]"#,
        &[b"x"],
        one(bin(b"x")),
    );
    check(
        r#"51-["a",{"_placeholder":false,"num":7}]"#,
        &[b"x"],
        one(json!({"_placeholder": false, "num": 7}).into()),
    );
    check(
        r#"51-["a",{"x":1,"num":0,"_placeholder":true}]"#,
        &[b"x"],
        one(bin(b"x")),
    );
    // Out of order, and one that nothing refers to.
    check(
        r#"53-["a",[{"_placeholder":true,"num":2},{"_placeholder":true,"num":0}]]"#,
        &[b"x", b"y", b"z"],
        one(vec![bin(b"z"), bin(b"x")].into()),
    );
    // Node would hand out one attachment any number of times; its own encoder never asks for that.
    check(
        r#"51-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#,
        &[],
        Err(DecodeError::Json(JsonError::Placeholder)),
    );
    // An event's name is text or number, never an attachment.
    check(
        r#"51-[{"_placeholder":true,"num":0}]"#,
        &[],
        Err(DecodeError::Payload),
    );
    check("51-", &[b"x"], Ok(Some(event("/", None, vec![]))));
    check("61-[]", &[b"x"], Ok(None));
}

#[test]
fn attachments_come_at_once_or_not_at_all() {
    let mut decoder = Decoder::default();
    assert!(size_of::<Decoder>() <= 16);
    assert_eq!(
        decoder.binary(Bytes::new()),
        Err(DecodeError::UnexpectedBinary)
    );
    let text = r#"52-["a"]"#;
    assert_eq!(decoder.text(text), Ok(None));
    assert_eq!(decoder.pending_bytes(), text.len());
    assert_eq!(decoder.binary(Bytes::from_static(b"12345")), Ok(None));
    assert_eq!(decoder.pending_bytes(), text.len() + 5);
    assert_eq!(decoder.text(r#"2["x"]"#), Err(DecodeError::UnexpectedText));
    assert_eq!(decoder.pending_bytes(), 0);
}

#[test]
fn whoever_is_let_in_is_told_like_with_any_packet() {
    let sid: Sid = "dGhlIHNhbXBsZSBub_-j".parse().unwrap();
    let data = || Some(map(vec![("sid", sid.as_str().into())]));
    for nsp in ["/", "/chat", "/a b\"é", "chat", "/a,b", ""] {
        assert_eq!(
            encode_connected(nsp, Some(sid)),
            encode(&connect(nsp, data())),
            "{nsp:?}"
        );
        assert_eq!(
            encode_connected(nsp, None),
            encode(&connect(nsp, None)),
            "{nsp:?}"
        );
    }
}

#[test]
fn what_cannot_be_sent() {
    let event = |args: &[Value]| encode_event("/", None, args).unwrap_err();
    let eleven: Vec<Value> = std::iter::once("a".into())
        .chain((0..11).map(|_| bin(b"")))
        .collect();
    assert_eq!(event(&eleven), EncodeError::TooManyAttachments);
    assert!(encode_event("/", None, &eleven[..11]).is_ok());
    assert_eq!(event(&[]), EncodeError::Name);
    assert_eq!(event(&[Value::Null]), EncodeError::Name);
    assert_eq!(event(&[f64::INFINITY.into()]), EncodeError::Name);
    assert_eq!(event(&["disconnect".into()]), EncodeError::ReservedName);
    assert_eq!(encode_ack("chat", 1, &[]), Err(EncodeError::Namespace));
    assert_eq!(encode_ack("/a,b", 1, &[]), Err(EncodeError::Namespace));
    assert_eq!(
        encode(&connect("/", Some(map(vec![("a", bin(b""))])))),
        Err(EncodeError::Binary)
    );
    let fake = json!({"_placeholder": true, "num": 99});
    assert!(matches!(
        event(&["a".into(), fake.into(), bin(b"")]),
        EncodeError::Value(_)
    ));
}
