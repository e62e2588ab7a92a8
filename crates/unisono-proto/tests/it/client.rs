//! The client's side of a session.

use bytes::Bytes;
use unisono_proto::Value;
use unisono_proto::client::{Client, CloseReason, CommandError, Config, Event, Output};
use unisono_proto::limits::{MAX_NAMESPACES, MAX_PENDING_ACKS};

const OPEN: &str =
    r#"0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;

fn outputs(client: &mut Client) -> Vec<Output> {
    std::iter::from_fn(|| client.poll_output()).collect()
}

fn text(text: &str) -> Output {
    Output::Text(text.into())
}

/// A client in the namespace `/`, opened at 1000 ms.
fn joined() -> Client {
    let mut client = Client::new(Config::default());
    client.handle_timeout(0);
    client.handle_text(OPEN, 1000);
    client.connect("/", None).unwrap();
    client.handle_text(r#"40{"sid":"x"}"#, 1000);
    outputs(&mut client);
    client
}

fn closed(reason: CloseReason) -> Vec<Output> {
    vec![Output::Event(Event::Closed(reason)), Output::Close]
}

/// What `client` puts out for each message.
fn check(client: &mut Client, steps: &[(&str, &[Output])]) {
    for (message, expected) in steps {
        client.handle_text(message, 2000);
        assert_eq!(outputs(client), *expected, "{message}");
    }
}

#[test]
fn opens_and_connects() {
    let mut client = Client::new(Config::default());
    client
        .connect("/", Some(Value::from(serde_json::json!({"token": "t"}))))
        .unwrap();
    client.connect("/chat", None).unwrap();
    assert_eq!(
        client.connect("/chat", None),
        Err(CommandError::AlreadyConnected)
    );
    assert_eq!(outputs(&mut client), []);
    client.handle_text(OPEN, 0);
    assert_eq!(
        outputs(&mut client),
        [
            Output::Event(Event::Opened { sid: "s".into() }),
            text(r#"40{"token":"t"}"#),
            text("40/chat,"),
        ]
    );
    assert_eq!(
        client.emit("/", &["e".into()]),
        Err(CommandError::NotConnected)
    );
    check(
        &mut client,
        &[
            (
                r#"40{"sid":"x"}"#,
                &[Output::Event(Event::Connected {
                    nsp: "/".into(),
                    sid: "x".into(),
                })],
            ),
            (
                r#"44/chat,{"message":"no"}"#,
                &[Output::Event(Event::ConnectError {
                    nsp: "/chat".into(),
                    data: Value::from(serde_json::json!({"message": "no"})),
                })],
            ),
            (
                r#"42["e",1]"#,
                &[Output::Event(Event::Event {
                    nsp: "/".into(),
                    id: None,
                    args: vec!["e".into(), 1.into()],
                })],
            ),
            (r#"42/chat,["late"]"#, &[]),
            (
                "41",
                &[Output::Event(Event::Disconnected { nsp: "/".into() })],
            ),
        ],
    );
    client.connect("/chat", None).unwrap();
    assert_eq!(outputs(&mut client), [text("40/chat,")]);
}

#[test]
fn acks() {
    let mut client = joined();
    assert_eq!(client.emit_with_ack("/", &["a".into()]), Ok(0));
    assert_eq!(
        client.emit_with_ack("/", &["b".into(), Value::Bin(Bytes::from_static(b"x"))]),
        Ok(1)
    );
    assert_eq!(
        outputs(&mut client),
        [
            text(r#"420["a"]"#),
            text(r#"451-1["b",{"_placeholder":true,"num":0}]"#),
            Output::Binary(Bytes::from_static(b"x")),
        ]
    );
    let ack = |id, args| {
        Output::Event(Event::Ack {
            nsp: "/".into(),
            id,
            args,
        })
    };
    check(
        &mut client,
        &[
            ("431[7]", &[ack(1, vec![7.into()])]),
            ("431[7]", &[]),
            ("439[]", &[]),
            ("430[]", &[ack(0, vec![])]),
        ],
    );
    client.ack("/", 5, &["ok".into()]).unwrap();
    assert_eq!(outputs(&mut client), [text(r#"435["ok"]"#)]);
    assert_eq!(client.emit_with_ack("/", &["c".into()]), Ok(2));
    client.forget_ack("/", 2);
    outputs(&mut client);
    check(&mut client, &[("432[]", &[])]);
}

#[test]
fn binary_events() {
    let mut client = joined();
    check(
        &mut client,
        &[(r#"451-["b",{"_placeholder":true,"num":0}]"#, &[])],
    );
    client.handle_binary(Bytes::from_static(b"x"));
    let args = vec!["b".into(), Value::Bin(Bytes::from_static(b"x"))];
    assert_eq!(
        outputs(&mut client),
        [Output::Event(Event::Event {
            nsp: "/".into(),
            id: None,
            args
        })]
    );
}

#[test]
fn pings() {
    let mut client = joined();
    assert_eq!(client.deadline_ms(), Some(46_000));
    client.handle_text("2", 26_000);
    assert_eq!(outputs(&mut client), [text("3")]);
    assert_eq!(client.deadline_ms(), Some(71_000));
    // Other traffic is no ping.
    client.handle_text(r#"42["e"]"#, 70_000);
    outputs(&mut client);
    client.handle_timeout(70_999);
    assert_eq!(outputs(&mut client), []);
    client.handle_timeout(71_000);
    assert_eq!(outputs(&mut client), closed(CloseReason::PingTimeout));
}

#[test]
fn ends() {
    let check = |reason, end: fn(&mut Client)| {
        let mut client = joined();
        end(&mut client);
        assert!(
            outputs(&mut client).ends_with(&closed(reason)),
            "{reason:?}"
        );
        assert!(client.is_closed());
        end(&mut client);
        assert_eq!(outputs(&mut client), []);
        assert_eq!(client.emit("/", &["e".into()]), Err(CommandError::Closed));
    };
    check(CloseReason::Local, Client::close);
    check(CloseReason::Remote, |client| client.handle_text("1", 0));
    check(CloseReason::Transport, Client::handle_transport_closed);
    for text in ["", "x", "49", "42{}", "40", OPEN, "5"] {
        let mut client = joined();
        client.handle_text(text, 0);
        assert_eq!(
            outputs(&mut client),
            closed(CloseReason::Protocol),
            "{text}"
        );
    }
    check(CloseReason::Protocol, |client| {
        client.handle_binary(Bytes::new());
    });
}

#[test]
fn a_server_that_never_opens() {
    let mut client = Client::new(Config {
        open_timeout_ms: 50,
        ..Config::default()
    });
    assert_eq!(client.deadline_ms(), None);
    client.handle_timeout(100);
    assert_eq!(client.deadline_ms(), Some(150));
    client.handle_timeout(150);
    assert_eq!(outputs(&mut client), closed(CloseReason::OpenTimeout));
}

#[test]
fn credentials_are_a_map() {
    let mut client = Client::new(Config::default());
    let refused = client.connect("/", Some("token".into()));
    assert_eq!(refused, Err(CommandError::AuthNotAMap));
    assert_eq!(client.connect("/", Some(Value::Map(Vec::new()))), Ok(()));
}

#[test]
fn bounds() {
    let mut client = Client::new(Config::default());
    (0..MAX_NAMESPACES).for_each(|i| client.connect(&format!("/{i}"), None).unwrap());
    assert_eq!(
        client.connect("/", None),
        Err(CommandError::TooManyNamespaces)
    );
    let mut client = joined();
    (0..MAX_PENDING_ACKS).for_each(|_| assert!(client.emit_with_ack("/", &["a".into()]).is_ok()));
    assert_eq!(
        client.emit_with_ack("/", &["a".into()]),
        Err(CommandError::TooManyAcks)
    );
}
