use super::*;

fn config() -> Config {
    Config {
        ping_interval_ms: 300,
        ping_timeout_ms: 200,
        connect_timeout_ms: 1_000,
        ..Config::default()
    }
}

fn text(connection: &mut Connection, text: &str) -> Result<Handled, CloseReason> {
    connection.handle_packet(
        engine::decode(text).map_err(|_| CloseReason::ParseError)?,
        0,
    )
}

fn joined(nsps: &[&str]) -> Connection {
    let mut connection = Connection::new(&config(), Revision::V4, 0);
    for nsp in nsps {
        text(&mut connection, &format!("40{nsp},")).unwrap();
        connection.accept(nsp).unwrap();
    }
    connection.settle();
    connection
}

#[test]
fn a_packet_means_what_the_membership_allows() {
    use CloseReason::{ForcedClose, ParseError, TransportError};
    for (nsps, input, expected) in [
        (&["/"][..], "42[\"e\"]", Ok("event 0")),
        (&["/", "/a"], "42/a,[\"e\"]", Ok("event 1")),
        (&["/"], "4317[1]", Ok("ack 0")),
        (&["/"], "41", Ok("leave 0")),
        (&["/"], "1", Ok("close")),
        (&["/"], "6", Ok("nothing")),
        (&["/"], "3", Ok("nothing")),
        (&["/a"], "40", Ok("connect /")),
        (&["/"], "40", Err(ForcedClose)),
        (&["/"], "42/a,[\"e\"]", Err(ForcedClose)),
        (&[], "42[\"e\"]", Err(ForcedClose)),
        (&["/"], "44{}", Err(ForcedClose)),
        (&["/"], "42[\"connect\"]", Err(ForcedClose)),
        (&["/"], "4abc", Err(ForcedClose)),
        (&["/"], "4", Err(ForcedClose)),
        (&["/"], "2", Err(TransportError)),
        (&["/"], "0{}", Err(ParseError)),
        (&["/"], "9", Err(ParseError)),
    ] {
        let seen = text(&mut joined(nsps), input).map(|handled| match handled {
            Handled::Nothing => "nothing".to_owned(),
            Handled::Connect { nsp, .. } => format!("connect {nsp}"),
            Handled::Event { member, .. } => format!("event {member}"),
            Handled::Ack { member, .. } => format!("ack {member}"),
            Handled::Leave { member } => format!("leave {member}"),
            Handled::Close => "close".to_owned(),
            Handled::Ping { data } => format!("ping {data}"),
        });
        assert_eq!(seen, expected.map(str::to_owned), "{nsps:?} {input}");
    }
}

#[test]
fn an_event_before_connect_is_answered_is_refused() {
    let mut connection = Connection::new(&config(), Revision::V4, 0);
    text(&mut connection, "40").unwrap();
    assert_eq!(
        text(&mut connection, "42[\"e\"]"),
        Err(CloseReason::ForcedClose)
    );
}

#[test]
fn a_left_namespace_can_be_joined_again_in_the_same_place() {
    let mut connection = joined(&["/", "/a"]);
    assert_eq!(
        text(&mut connection, "41"),
        Ok(Handled::Leave { member: 0 })
    );
    text(&mut connection, "40/b,").unwrap();
    assert_eq!(connection.accept("/b"), Some(0));
}

#[test]
fn namespaces_are_bounded() {
    let mut connection = Connection::new(
        &Config {
            max_namespaces: 2,
            ..config()
        },
        Revision::V4,
        0,
    );
    for nsp in ["/a", "/b"] {
        text(&mut connection, &format!("40{nsp},")).unwrap();
    }
    assert_eq!(
        text(&mut connection, "40/c,"),
        Err(CloseReason::ForcedClose)
    );
}

#[test]
fn a_client_that_joins_nothing_is_closed_in_time() {
    let mut connection = Connection::new(&config(), Revision::V4, 0);
    let mut now;
    let due = loop {
        now = connection.next_deadline();
        match connection.handle_timeout(now) {
            Due::Ping => connection
                .handle_packet(engine::Packet::Pong("".into()), now)
                .map(|_| ())
                .unwrap(),
            due => break due,
        }
    };
    assert_eq!((due, now), (Due::Close(CloseReason::ForcedClose), 1_000));
}

#[test]
fn the_heartbeat_pings_waits_and_gives_up() {
    let mut connection = joined(&["/"]);
    assert_eq!(connection.handle_timeout(299), Due::Nothing);
    assert_eq!(connection.handle_timeout(300), Due::Ping);
    assert_eq!(connection.handle_timeout(300), Due::Nothing);
    connection
        .handle_packet(engine::Packet::Pong("".into()), 450)
        .unwrap();
    // Counted from the pong.
    assert_eq!(connection.next_deadline(), 750);
    assert_eq!(connection.handle_timeout(750), Due::Ping);
    // Other traffic does not replace a pong. It gives it more time once, as a slow line may need.
    for (now, deadline) in [(900, 1_100), (1_000, 1_100)] {
        let packet = engine::Packet::Message("2[\"e\"]".into());
        connection.handle_packet(packet, now).unwrap();
        assert_eq!(connection.next_deadline(), deadline);
    }
    assert_eq!(
        connection.handle_timeout(1_100),
        Due::Close(CloseReason::PingTimeout)
    );
}

#[test]
fn time_in_which_nothing_was_read_is_not_the_clients_fault() {
    let mut connection = joined(&["/"]);
    assert_eq!(connection.handle_timeout(300), Due::Ping);
    connection.handle_reading_resumed(10_000);
    assert_eq!(connection.handle_timeout(10_199), Due::Nothing);
    assert_eq!(
        connection.handle_timeout(10_200),
        Due::Close(CloseReason::PingTimeout)
    );
}

#[test]
fn a_ping_that_leaves_slightly_late_gives_no_more_time_for_the_pong() {
    for (pinged, closed) in [(300, 500), (302, 500), (400, 500), (401, 601)] {
        let mut connection = joined(&["/"]);
        assert_eq!(connection.handle_timeout(pinged), Due::Ping);
        assert_eq!(connection.next_deadline(), closed, "{pinged}");
    }
}

#[test]
fn an_unasked_pong_does_not_postpone_the_ping() {
    let mut connection = joined(&["/"]);
    connection
        .handle_packet(engine::Packet::Pong("".into()), 200)
        .unwrap();
    assert_eq!(connection.handle_timeout(300), Due::Ping);
}

#[test]
fn attachments_that_wait_for_the_last_are_bounded_together() {
    let limited = Config {
        max_pending: 200,
        ..config()
    };
    let mut connection = Connection::new(&limited, Revision::V4, 0);
    text(&mut connection, "40").unwrap();
    connection.accept("/").unwrap();
    let head = r#"452-["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    let attach = |connection: &mut Connection, len: usize| {
        connection.handle_packet(engine::Packet::Binary(vec![0; len].into()), 0)
    };
    text(&mut connection, head).unwrap();
    assert_eq!(attach(&mut connection, 60), Ok(Handled::Nothing));
    assert!(matches!(
        attach(&mut connection, 60),
        Ok(Handled::Event { .. })
    ));
    text(&mut connection, head).unwrap();
    assert_eq!(attach(&mut connection, 100), Ok(Handled::Nothing));
    assert_eq!(attach(&mut connection, 100), Err(CloseReason::ForcedClose));
}

#[test]
fn attachments_are_collected_for_members_only_and_not_for_ever() {
    let head = r#"452-["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    let mut outside = Connection::new(&config(), Revision::V4, 0);
    assert_eq!(text(&mut outside, head), Err(CloseReason::ForcedClose));
    let mut elsewhere = joined(&["/"]);
    let other = head.replace("2-[", "2-/a,[");
    assert_eq!(text(&mut elsewhere, &other), Err(CloseReason::ForcedClose));

    let mut member = joined(&["/"]);
    let attach = |connection: &mut Connection| {
        connection.handle_packet(engine::Packet::Binary(vec![0].into()), 0)
    };
    for _ in 0..3 {
        // A pong between two attachments is no crime.
        text(&mut member, head).unwrap();
        text(&mut member, "3").unwrap();
        attach(&mut member).unwrap();
        text(&mut member, "3").unwrap();
        assert!(matches!(attach(&mut member), Ok(Handled::Event { .. })));
        text(&mut member, "3").unwrap();
    }
    text(&mut member, head).unwrap();
    attach(&mut member).unwrap();
    assert_eq!(text(&mut member, "3"), Ok(Handled::Nothing));
    assert_eq!(text(&mut member, "3"), Err(CloseReason::ForcedClose));
}

/// A session of Engine.IO 3 in these namespaces, the main one by itself.
fn joined_v3(nsps: &[&str]) -> Connection {
    let mut connection = Connection::new(&config(), Revision::V3, 0);
    let opened = connection.handle_opened();
    assert_eq!(
        opened,
        Handled::Connect {
            nsp: "/".to_owned(),
            auth: None,
            again: false
        }
    );
    connection.accept("/").unwrap();
    for nsp in nsps {
        text(&mut connection, &format!("40{nsp},")).unwrap();
        connection.accept(nsp).unwrap();
    }
    connection.settle();
    connection
}

#[test]
fn only_a_client_of_revision_3_is_let_in_unasked() {
    let mut connection = Connection::new(&config(), Revision::V4, 0);
    assert_eq!(connection.handle_opened(), Handled::Nothing);
    let mut connection = joined_v3(&[]);
    assert_eq!(connection.handle_opened(), Handled::Nothing);
    // It has been let in once.
    assert_eq!(text(&mut connection, "40"), Err(CloseReason::ForcedClose));
}

#[test]
fn a_namespace_of_revision_3_may_have_a_query() {
    let auth = |key: &str, value: &str| Some(Value::Map(vec![(key.to_owned(), value.into())]));
    for (input, nsp, expected) in [
        ("40/ok,", "/ok", None),
        ("40/ok", "/ok", None),
        ("40/ok?x=1,", "/ok", auth("x", "1")),
        ("40/ok?x=1", "/ok", auth("x", "1")),
        // A payload is nothing in this revision.
        ("40/ok,{\"x\":1}", "/ok", None),
    ] {
        assert_eq!(
            text(&mut joined_v3(&[]), input),
            Ok(Handled::Connect {
                nsp: nsp.to_owned(),
                auth: expected,
                again: false
            }),
            "{input}"
        );
    }
    let member = |input: &str| match text(&mut joined_v3(&["/ok"]), input) {
        Ok(Handled::Event { member, .. }) => Ok(member),
        other => Err(other),
    };
    assert_eq!(member("42/ok,[\"e\"]"), Ok(1));
    assert_eq!(member("42/ok?y=2,[\"e\"]"), Ok(1));
    assert_eq!(member("42[\"e\"]"), Ok(0));
    let refused = Err(Err(CloseReason::ForcedClose));
    assert_eq!(member("42/other,[\"e\"]"), refused);
    assert_eq!(member("40/ok?x=2,"), refused);
    // In revision 4 the query is part of the name.
    assert_eq!(
        text(&mut joined(&["/"]), "40/ok?x=1,"),
        Ok(Handled::Connect {
            nsp: "/ok?x=1".to_owned(),
            auth: None,
            again: false
        })
    );
}

#[test]
fn a_query_may_be_long_and_a_namespace_may_not() {
    let query = "x".repeat(MAX_NAMESPACE_QUERY - 2);
    let connect = |target: &str| text(&mut joined_v3(&[]), &format!("40{target},"));
    assert!(connect(&format!("/ok?{query}")).is_ok());
    let name = "n".repeat(MAX_NAMESPACE_LEN - 1);
    assert!(connect(&format!("/{name}?{query}")).is_ok());
    assert_eq!(connect(&format!("/{name}n")), Err(CloseReason::ForcedClose));
    assert_eq!(
        connect(&format!("/{name}?{query}xx")),
        Err(CloseReason::ForcedClose)
    );
}

#[test]
fn in_revision_3_the_client_pings() {
    let mut connection = joined_v3(&[]);
    let ping = |connection: &mut Connection, data: &str, now| {
        connection.handle_packet(engine::Packet::Ping(data.into()), now)
    };
    assert_eq!(connection.next_deadline(), 500);
    let answer = |data: &str| {
        Ok(Handled::Ping {
            data: data.to_owned(),
        })
    };
    assert_eq!(ping(&mut connection, "", 400), answer(""));
    assert_eq!(ping(&mut connection, "hello", 450), answer("hello"));
    assert_eq!(connection.next_deadline(), 950);
    // Other traffic does not replace a ping.
    text(&mut connection, "42[\"e\"]").unwrap();
    assert_eq!(connection.handle_timeout(949), Due::Nothing);
    assert_eq!(
        connection.handle_timeout(950),
        Due::Close(CloseReason::PingTimeout)
    );
    assert_eq!(
        text(&mut joined_v3(&[]), "3"),
        Err(CloseReason::TransportError)
    );
}

#[test]
fn a_client_of_revision_3_hears_of_us_while_we_do_not_read() {
    let mut connection = joined_v3(&[]);
    connection.handle_reading_held_back(450);
    for now in [550, 650, 750, 850] {
        assert_eq!(connection.handle_timeout(now - 1), Due::Nothing);
        assert_eq!(connection.handle_timeout(now), Due::Pong);
        assert_eq!(connection.handle_timeout(now), Due::Nothing);
        assert_eq!(connection.next_deadline(), now + 100);
    }
    connection.handle_reading_resumed(900);
    assert_eq!(connection.handle_timeout(1_399), Due::Nothing);
    assert_eq!(
        connection.handle_timeout(1_400),
        Due::Close(CloseReason::PingTimeout)
    );
    // In revision 4 the server's pings say so.
    let mut connection = joined(&["/"]);
    connection.handle_reading_held_back(0);
    assert_eq!(connection.next_deadline(), 300);
}

#[test]
fn a_client_of_revision_3_that_is_let_in_nowhere_is_closed_in_time() {
    let mut connection = Connection::new(&config(), Revision::V3, 0);
    assert!(matches!(
        connection.handle_opened(),
        Handled::Connect { .. }
    ));
    connection.leave(connection.find("/").unwrap());
    connection
        .handle_packet(engine::Packet::Ping("".into()), 600)
        .unwrap();
    assert_eq!(connection.next_deadline(), 1_000);
    assert_eq!(
        connection.handle_timeout(1_000),
        Due::Close(CloseReason::ForcedClose)
    );
    // And it may ask again before that.
    assert!(matches!(
        text(&mut connection, "40"),
        Ok(Handled::Connect { .. })
    ));
}
