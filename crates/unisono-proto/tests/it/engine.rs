//! Engine.IO.

use unisono_proto::engine::{
    Admission, DecodeError, Method, Open, Packet, Payload, Query, Rejection, Revision, Sid,
    Transport, check as admit, decode, encode_payload, pairs, parse_query,
};

fn message(text: &str) -> Packet<'_> {
    Packet::Message(text.into())
}

#[test]
fn packets() {
    let check = |text: &str, expected| assert_eq!(decode(text), expected, "{text:?}");
    check("0{}", Ok(Packet::Open("{}".into())));
    check("1", Ok(Packet::Close));
    check("2", Ok(Packet::Ping("".into())));
    check("2probe", Ok(Packet::Ping("probe".into())));
    check("3probe", Ok(Packet::Pong("probe".into())));
    check("4é😀", Ok(message("é😀")));
    check("4", Ok(message("")));
    check("5", Ok(Packet::Upgrade));
    check("6", Ok(Packet::Noop));
    check(
        "bAQIDBA==",
        Ok(Packet::Binary([1, 2, 3, 4].as_slice().into())),
    );
    check(
        "bAQIDBA",
        Ok(Packet::Binary([1, 2, 3, 4].as_slice().into())),
    );
    check("b", Ok(Packet::Binary([].as_slice().into())));
    check("", Err(DecodeError::Empty));
    check("7", Err(DecodeError::UnknownType));
    check("é", Err(DecodeError::UnknownType));
    check("abc", Err(DecodeError::UnknownType));
    check("b€", Err(DecodeError::Base64));
    check("bA", Err(DecodeError::Base64));
    check("b4===", Err(DecodeError::Base64));
}

/// The payloads of the Engine.IO protocol document.
#[test]
fn payloads() {
    let check = |body: &str, expected: &[Result<Packet<'_>, DecodeError>]| {
        let packets: Vec<_> = Payload::new(body).collect();
        assert_eq!(packets, expected, "{body:?}");
        if let Ok(packets) = packets.into_iter().collect::<Result<Vec<_>, _>>() {
            let mut again = String::new();
            encode_payload(&packets, &mut again);
            assert_eq!(again, body);
        }
    };
    check(
        "4hello\u{1e}2\u{1e}4world",
        &[
            Ok(message("hello")),
            Ok(Packet::Ping("".into())),
            Ok(message("world")),
        ],
    );
    check(
        "4hello\u{1e}bAQIDBA==",
        &[
            Ok(message("hello")),
            Ok(Packet::Binary([1, 2, 3, 4].as_slice().into())),
        ],
    );
    check("6\u{1e}1", &[Ok(Packet::Noop), Ok(Packet::Close)]);
    check("", &[Err(DecodeError::Empty)]);
    check("4a\u{1e}", &[Ok(message("a")), Err(DecodeError::Empty)]);
    check(
        "4a\u{1e}x\u{1e}4b",
        &[Ok(message("a")), Err(DecodeError::UnknownType)],
    );
}

#[test]
fn session_ids() {
    let sid = Sid::from_random([0xff; 15]);
    assert_eq!(sid.as_str(), "____________________");
    assert_eq!(
        Sid::from_random([0; 15]).to_string(),
        "AAAAAAAAAAAAAAAAAAAA"
    );
    assert_eq!(Sid::parse(sid.as_str()), Some(sid));
    assert!(!format!("{sid:?}").contains(sid.as_str()));
    for text in [
        "",
        "AAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAA+",
        "AAAAAAAAAAAAAAAAAAé",
        "__proto__",
    ] {
        assert_eq!(Sid::parse(text), None, "{text}");
    }
}

/// The text is an open packet of Node's server.
#[test]
fn open_packet() {
    let open = Open {
        sid: "lv_VI97HAXpY6yYWAAAC".into(),
        upgrades: vec![Transport::WebSocket],
        ping_interval_ms: 25_000,
        ping_timeout_ms: 20_000,
        max_payload: 1_000_000,
    };
    let text = r#"{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    assert_eq!(open.to_json(), text);
    assert_eq!(Open::from_json(text), Ok(open.clone()));
    assert_eq!(
        Open::from_json(&text.replace(r#","maxPayload":1000000"#, "")),
        Ok(open.clone())
    );
    assert_eq!(
        Open::from_json(&text.replace("websocket", r#"webtransport","websocket"#)),
        Ok(open)
    );
    (0..text.len()).for_each(|len| assert!(Open::from_json(&text[..len]).is_err()));
}

#[test]
fn queries() {
    let all = |query| {
        pairs(query)
            .map(|(key, value)| format!("{key}:{value}"))
            .collect::<Vec<_>>()
    };
    // Right-hand sides as URLSearchParams gives them in Node 22.
    assert_eq!(
        all("a=1&&b=%20x+y&c&=d&%61=%e9&e=%C3%A9&f=100%&g=%4&h=a=b&i=%zz"),
        [
            "a:1",
            "b: x y",
            "c:",
            ":d",
            "a:\u{fffd}",
            "e:é",
            "f:100%",
            "g:%4",
            "h:a=b",
            "i:%zz"
        ]
    );
    let query = parse_query("EIO=4&transport=polling&t=x&sid=&b64=1&j=0&transport=websocket");
    assert_eq!(query.transport.as_deref(), Some("websocket"));
    assert_eq!(
        (query.sid, query.b64, query.j.as_deref()),
        (None, true, Some("0"))
    );
    assert!(!parse_query("b64=").b64);
    assert_eq!(parse_query(""), Query::default());
}

const SID: &str = "AAAAAAAAAAAAAAAAAAAA";
const BOTH: [Transport; 2] = [Transport::Polling, Transport::WebSocket];

/// A request against a server with one session, which is on `current`.
fn check(
    query: &str,
    method: Method,
    upgrade: bool,
    current: Transport,
    expected: Result<Admission, Rejection>,
) {
    let query = parse_query(query);
    let lookup = |sid: &Sid| (sid.as_str() == SID).then_some((current, Revision::V4));
    for v3 in [false, true] {
        let admission = admit(&query, method, upgrade, &BOTH, lookup)
            .and_then(|admission| admission.check_version(&query, v3));
        let expected = match &expected {
            Err(Rejection::UnsupportedVersion) if v3 => {
                Ok(Admission::Handshake(Transport::Polling))
            }
            expected => expected.clone(),
        };
        assert_eq!(
            admission, expected,
            "{query:?} {method:?} {upgrade} {current:?} {v3}"
        );
    }
}

/// A session keeps its revision, whichever that is: upgrading with another killed a Node server once (CVE-2026-102599).
#[test]
fn a_request_in_another_revision_than_its_session_is_refused() {
    let sid = Sid::parse(SID).unwrap();
    for (revision, eio, is_same) in [
        (Revision::V4, "EIO=4&", true),
        (Revision::V4, "EIO=3&", false),
        (Revision::V4, "", false),
        (Revision::V4, "EIO=garbage&", false),
        (Revision::V4, "EIO=4&EIO=3&", false),
        (Revision::V3, "EIO=3&", true),
        (Revision::V3, "", true),
        (Revision::V3, "EIO=garbage&", true),
        (Revision::V3, "EIO=04&", true),
        (Revision::V3, "EIO=4&", false),
        (Revision::V3, "EIO=3&EIO=4&", false),
    ] {
        for (transport, upgrade) in [("polling", false), ("websocket", true)] {
            let text = format!("{eio}transport={transport}&sid={SID}");
            let lookup = |_: &Sid| Some((Transport::Polling, revision));
            let admission = admit(&parse_query(&text), Method::Get, upgrade, &BOTH, lookup);
            let expected = match (is_same, upgrade) {
                (false, _) => Err(Rejection::BadRequest),
                (true, false) => Ok(Admission::Request(sid)),
                (true, true) => Ok(Admission::Upgrade(sid)),
            };
            assert_eq!(admission, expected, "{revision:?} {text}");
        }
    }
}

#[test]
fn admission() {
    use Method::{Get, Other, Post};
    use Transport::{Polling, WebSocket};
    let sid = Sid::parse(SID).unwrap();
    let handshake =
        |query: &str, method, upgrade, expected| check(query, method, upgrade, Polling, expected);
    handshake(
        "EIO=4&transport=polling",
        Get,
        false,
        Ok(Admission::Handshake(Polling)),
    );
    handshake(
        "EIO=4&transport=websocket",
        Get,
        true,
        Ok(Admission::Handshake(WebSocket)),
    );
    for transport in [
        "",
        "EIO=4&",
        "transport=__proto__",
        "transport=constructor",
        "transport=webtransport",
        "transport=Polling",
    ] {
        handshake(transport, Post, false, Err(Rejection::UnknownTransport));
    }
    handshake("transport=polling", Post, false, Err(Rejection::BadMethod));
    handshake(
        "transport=websocket",
        Other,
        false,
        Err(Rejection::BadMethod),
    );
    handshake(
        "transport=websocket",
        Get,
        false,
        Err(Rejection::BadRequest),
    );
    handshake(
        "transport=polling",
        Get,
        false,
        Err(Rejection::UnsupportedVersion),
    );
    handshake(
        "transport=polling&EIO=3",
        Get,
        false,
        Err(Rejection::UnsupportedVersion),
    );
    handshake(
        "transport=polling&EIO=4&EIO=3",
        Get,
        false,
        Err(Rejection::UnsupportedVersion),
    );

    let on = |current, transport: &str, method, upgrade, expected| {
        check(
            &format!("EIO=4&transport={transport}&sid={SID}"),
            method,
            upgrade,
            current,
            expected,
        );
    };
    on(Polling, "polling", Get, false, Ok(Admission::Request(sid)));
    on(Polling, "polling", Post, false, Ok(Admission::Request(sid)));
    on(
        Polling,
        "polling",
        Other,
        false,
        Ok(Admission::Request(sid)),
    );
    on(Polling, "websocket", Get, true, Ok(Admission::Upgrade(sid)));
    on(Polling, "websocket", Get, false, Err(Rejection::BadRequest));
    on(WebSocket, "polling", Get, false, Err(Rejection::BadRequest));
    on(
        WebSocket,
        "websocket",
        Get,
        false,
        Err(Rejection::BadRequest),
    );
    on(Polling, "polling", Get, true, Err(Rejection::BadRequest));
    handshake(
        "EIO=4&transport=polling&sid=__proto__",
        Get,
        false,
        Err(Rejection::UnknownSid),
    );
    handshake(
        "EIO=4&transport=polling&sid=BAAAAAAAAAAAAAAAAAAA",
        Get,
        false,
        Err(Rejection::UnknownSid),
    );
}

#[test]
fn disabled_transports_are_unknown() {
    let query = parse_query("EIO=4&transport=polling");
    assert_eq!(
        admit(&query, Method::Get, false, &[Transport::WebSocket], |_| {
            None
        }),
        Err(Rejection::UnknownTransport)
    );
}

#[test]
fn rejections() {
    let check = |rejection: Rejection, status, body: &str| {
        assert_eq!(
            (rejection.status(), rejection.body().as_str()),
            (status, body)
        );
    };
    check(
        Rejection::UnknownTransport,
        400,
        r#"{"code":0,"message":"Transport unknown"}"#,
    );
    check(
        Rejection::UnknownSid,
        400,
        r#"{"code":1,"message":"Session ID unknown"}"#,
    );
    check(
        Rejection::BadMethod,
        400,
        r#"{"code":2,"message":"Bad handshake method"}"#,
    );
    check(
        Rejection::BadRequest,
        400,
        r#"{"code":3,"message":"Bad request"}"#,
    );
    check(
        Rejection::Forbidden(None),
        403,
        r#"{"code":4,"message":"Forbidden"}"#,
    );
    check(
        Rejection::Forbidden(Some("no \"x\"".into())),
        403,
        r#"{"code":4,"message":"no \"x\""}"#,
    );
    check(
        Rejection::UnsupportedVersion,
        400,
        r#"{"code":5,"message":"Unsupported protocol version"}"#,
    );
}
