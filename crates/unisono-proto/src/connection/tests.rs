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
    let mut connection = Connection::new(&config(), 0);
    for nsp in nsps {
        text(&mut connection, &format!("40{nsp},")).unwrap();
        connection.accept(nsp).unwrap();
    }
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
        });
        assert_eq!(seen, expected.map(str::to_owned), "{nsps:?} {input}");
    }
}

#[test]
fn an_event_before_connect_is_answered_is_refused() {
    let mut connection = Connection::new(&config(), 0);
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
    let mut connection = Connection::new(&config(), 0);
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
    // Other traffic does not replace a pong.
    text(&mut connection, "42[\"e\"]").unwrap();
    assert_eq!(
        connection.handle_timeout(950),
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
    let mut connection = Connection::new(&limited, 0);
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
    let mut outside = Connection::new(&config(), 0);
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
