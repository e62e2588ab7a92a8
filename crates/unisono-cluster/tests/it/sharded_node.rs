//! The conversation of nodes that speak the sharded adapter.

use bytes::Bytes;
use unisono_cluster::limits::{ECHO_DEADLINE_MS, JOIN_SETTLES_MS, MAX_JOINED_ROOMS};
use unisono_cluster::sharded::{Body, decode, encode};
use unisono_cluster::{
    Adapter, Answer, AnswerBody, Awaited, Broadcast, Extension, Ledger, Listener, Members, Node,
    Received, Request, RequestBody, RequestError, Roll, Subscription, SubscriptionMode,
};
use unisono_proto::Value;

use crate::support::{event, hello, map, names, str};

const ADA: &str = "ada00000000000a1";
const BOB: &str = "b0b00000000000b1";

fn node(uid: &str, mode: SubscriptionMode) -> Node {
    Node::new(uid, "socket.io", "/").speaking(Adapter::Sharded(mode))
}

fn dynamic(uid: &str) -> Node {
    node(uid, SubscriptionMode::Dynamic)
}

/// With members in `room` alone.
fn hear(node: &mut Node, channel: &str, payload: &[u8]) -> Received {
    node.handle_message(channel, payload, &|room| room == "room", 0)
}

fn to(rooms: &[&str]) -> Broadcast {
    Broadcast {
        rooms: names(rooms),
        ..hello()
    }
}

#[test]
fn a_node_listens_to_its_namespace_and_its_own_channel() {
    for mode in SubscriptionMode::ALL {
        let node = node(ADA, mode);
        let channel = |name: &str| Subscription::Channel(name.to_owned());
        let expected = [
            channel("socket.io#/#ada00000000000a1#"),
            channel("socket.io#/#"),
        ];
        assert_eq!(node.subscriptions(), expected);
        assert_eq!(node.request_channel(), "socket.io#/#");
    }
}

#[test]
fn broadcasts_reach_those_who_are_there() {
    for mode in SubscriptionMode::ALL {
        let (mut ada, mut bob) = (node(ADA, mode), node(BOB, mode));
        let apart = mode != SubscriptionMode::Static;
        for (rooms, here, channel) in [
            (&[][..], true, "socket.io#/#"),
            (
                &["room"],
                true,
                ["socket.io#/#", "socket.io#/#room#"][usize::from(apart)],
            ),
            (
                &["away"],
                false,
                ["socket.io#/#", "socket.io#/#away#"][usize::from(apart)],
            ),
            (&["away", "room"], true, "socket.io#/#"),
            (&["away", "else"], false, "socket.io#/#"),
        ] {
            let mut broadcast = to(rooms);
            let (on, payload) = ada.number(&mut broadcast, 0).unwrap();
            assert_eq!(on, channel, "{mode} {rooms:?}");
            let expected = if here {
                Received::Deliver(broadcast)
            } else {
                Received::NotHere
            };
            assert_eq!(hear(&mut bob, &on, &payload), expected, "{mode} {rooms:?}");
            assert_eq!(hear(&mut ada, &on, &payload), Received::Own);
        }
        // The same on the channel of the namespace, as a static node and an emitter would.
        let payload = encode(ADA, "/", &to(&["room"])).unwrap();
        let delivered = hear(&mut bob, "socket.io#/#", &payload);
        assert_eq!(delivered, Received::Deliver(to(&["room"])));
    }
}

#[test]
fn only_what_all_hear_has_a_number_and_a_gap_is_counted() {
    let (mut ada, mut bob) = (dynamic(ADA), dynamic(BOB));
    let mut number = |rooms: &[&str]| {
        let mut broadcast = to(rooms);
        let (channel, payload) = ada.number(&mut broadcast, 0).unwrap();
        (broadcast.extension.unwrap().seq, channel, payload)
    };
    let messages = [&["room"][..], &[], &["away"], &["room"], &[], &[]].map(&mut number);
    let numbers: Vec<u64> = messages.iter().map(|(seq, ..)| *seq).collect();
    assert_eq!(numbers, [0, 1, 0, 0, 2, 3]);
    for (seq, channel, payload) in &messages {
        if *seq != 2 && !channel.ends_with("#away#") {
            hear(&mut bob, channel, payload);
        }
    }
    assert_eq!((bob.stats().gaps, bob.stats().peers), (1, 1));
    // One that cannot be written takes no number.
    let mut local = hello();
    local.flags.local = true;
    assert!(ada.number(&mut local, 0).is_err());
    let mut next = hello();
    ada.number(&mut next, 0).unwrap();
    assert_eq!(next.extension.unwrap().seq, 4);
}

#[test]
fn what_is_ordered_goes_on_one_channel_and_comes_back_once() {
    for (mode, args) in SubscriptionMode::ALL.into_iter().flat_map(|mode| {
        let binary = Value::Bin(vec![1].into());
        [
            (mode, vec![str("hello")]),
            (mode, vec![str("hello"), binary]),
        ]
    }) {
        let (mut ada, mut bob) = (node(ADA, mode), node(BOB, mode));
        let mut broadcast = Broadcast {
            args,
            extension: Some(Extension {
                ordered: true,
                ..Extension::default()
            }),
            ..to(&["room"])
        };
        let (channel, payload) = ada.number(&mut broadcast, 0).unwrap();
        assert_eq!(channel, "socket.io#/#");
        ada.expect_echo(1, Awaited::Broadcast(broadcast.clone()), 0)
            .unwrap();
        let echo = Received::Echo(broadcast.clone());
        assert_eq!(hear(&mut ada, &channel, &payload), echo);
        assert_eq!(hear(&mut ada, &channel, &payload), Received::Own);
        let delivered = Received::Deliver(broadcast);
        assert_eq!(hear(&mut bob, &channel, &payload), delivered);
    }
}

#[test]
fn a_commit_comes_back_with_its_revision_or_is_given_up_with_it() {
    let mut ada = dynamic(ADA);
    let mut commit = |revision: u32| {
        let broadcast = Broadcast {
            args: vec![str("state"), map(&[("track", str("a"))])],
            extension: Some(Extension {
                seq: ada.next_commit_seq(),
                ordered: true,
                note: Some("n".into()),
                ..Extension::default()
            }),
            ..to(&["room"])
        };
        let template = ada.encode_template(&broadcast, "revision").unwrap();
        let awaited = Awaited::Template(template.clone());
        ada.expect_echo(template.seq, awaited, 0).unwrap();
        ada.set_revision(template.seq, revision);
        template
    };
    let (first, second) = (commit(7), commit(8));
    let revision = |broadcast: &Broadcast| broadcast.extension.as_ref().unwrap().revision;
    match hear(&mut ada, &first.channel, &first.fill(7)) {
        Received::Echo(broadcast) => assert_eq!(revision(&broadcast), Some(7)),
        other => panic!("{other:?}"),
    }
    let expired = ada.handle_timeout(ECHO_DEADLINE_MS);
    let expired: Vec<_> = expired
        .iter()
        .map(|one| (one.seq, one.broadcast.as_ref().and_then(revision)))
        .collect();
    assert_eq!(expired, [(second.seq, Some(8))]);
    let late = hear(&mut ada, &second.channel, &second.fill(8));
    assert_eq!(late, Received::Own);
}

/// Asks, and gives what the other one has to do with it.
fn ask(from: &mut Node, to: &mut Node, body: RequestBody) -> Request {
    let (id, channel, payload) = from.ask(body, 1000, 0).expect("nothing is pending");
    assert_eq!(id.len(), 16);
    assert!(
        id.bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    );
    assert_eq!(channel, "socket.io#/#");
    assert_eq!(hear(from, &channel, &payload), Received::Own);
    let listener = Listener {
        id: to.uid().to_owned(),
        is_silent: false,
        is_deaf: false,
    };
    let roll = Roll {
        known: vec![listener],
        ..Roll::default()
    };
    assert_eq!(from.expect_nodes(&id, roll), None);
    match hear(to, &channel, &payload) {
        Received::Request(request) => {
            assert_eq!(request.id.as_deref(), Some(id.as_str()));
            *request
        }
        other => panic!("{other:?}"),
    }
}

fn answer(from: &Node, request: &Request, body: AnswerBody) -> (String, Bytes) {
    let answering = from.answering(false);
    let channel = answering.channel(&request.uid, &body);
    let id = request.id.clone().expect("it is a question");
    (
        channel,
        answering
            .encode(Answer {
                id,
                from: None,
                body,
            })
            .expect("it encodes"),
    )
}

#[test]
fn a_node_keeps_its_ledger_whichever_is_said_first() {
    let adapter = Adapter::Sharded(SubscriptionMode::Dynamic);
    let plain = || Node::new(ADA, "socket.io", "/");
    for ledger_first in [true, false] {
        let ledger = Ledger::default();
        let mut ada = match ledger_first {
            true => plain().keeping_in(ledger.clone()).speaking(adapter),
            false => plain().speaking(adapter).keeping_in(ledger.clone()),
        };
        let mut bob = dynamic(BOB);
        let request = ask(&mut ada, &mut bob, RequestBody::Broadcast(hello()));
        let (channel, payload) = answer(&bob, &request, AnswerBody::Ack(Some(str("first"))));
        assert_eq!(hear(&mut ada, &channel, &payload), Received::Answer);
        assert!(ledger.bytes() > 0, "ledger first: {ledger_first}");
    }
}

#[test]
fn requests_are_answered_on_the_channel_of_who_asks() {
    let (mut ada, mut bob) = (dynamic(ADA), dynamic(BOB));
    let fetch = || RequestBody::Fetch {
        members: Members::default(),
    };
    let sockets = || AnswerBody::Sockets(vec![map(&[("id", str("s"))])]);
    let emit = RequestBody::ServerSideEmit {
        args: vec![str("e")],
    };
    let broadcast = RequestBody::Broadcast(hello());
    for (asked, answers, expected) in [
        (fetch(), vec![sockets()], vec![map(&[("id", str("s"))])]),
        (
            emit,
            vec![AnswerBody::ServerSide(Some(Value::Int(7)))],
            vec![Value::Int(7)],
        ),
        (
            broadcast,
            vec![
                AnswerBody::Ack(Some(str("first"))),
                AnswerBody::ClientCount(2),
                AnswerBody::Ack(None),
            ],
            vec![str("first"), Value::Null],
        ),
    ] {
        let request = ask(&mut ada, &mut bob, asked.clone());
        assert_eq!((request.uid.as_str(), &request.body), (ADA, &asked));
        let last = answers.len() - 1;
        for (index, body) in answers.into_iter().enumerate() {
            let (channel, payload) = answer(&bob, &request, body);
            assert_eq!(channel, "socket.io#/#ada00000000000a1#");
            match hear(&mut ada, &channel, &payload) {
                Received::Answered(answered) if index == last => {
                    assert_eq!(
                        (answered.answers.clone(), answered.nodes_missing()),
                        (expected.clone(), 0)
                    );
                }
                Received::Answer if index < last => {}
                other => panic!("{other:?}"),
            }
            if index == last {
                let again = hear(&mut ada, &channel, &payload);
                assert_eq!(again, Received::Answer);
            }
        }
    }
    // On the channel of the namespace they count too.
    let request = ask(&mut ada, &mut bob, fetch());
    let (_, payload) = answer(&bob, &request, sockets());
    let answered = hear(&mut ada, "socket.io#/#", &payload);
    assert!(matches!(answered, Received::Answered(_)), "{answered:?}");
    // One who does not say who asks is answered where all hear it.
    let nameless = bob.answering(false).channel("", &sockets());
    assert_eq!(nameless, "socket.io#/#");
}

#[test]
fn all_rooms_are_those_of_all_sockets() {
    let (mut ada, mut bob) = (dynamic(ADA), dynamic(BOB));
    let request = ask(&mut ada, &mut bob, RequestBody::AllRooms);
    let members = Members::default();
    assert_eq!(request.body, RequestBody::Fetch { members });
    let socket = |id: &str, room: Value| {
        let rooms = Value::Array(vec![str(id), room]);
        map(&[("id", str(id)), ("rooms", rooms)])
    };
    let sockets = vec![socket("s", str("a")), socket("t", Value::Int(7)), map(&[])];
    let (channel, payload) = answer(&bob, &request, AnswerBody::Sockets(sockets));
    let Received::Answered(answered) = hear(&mut ada, &channel, &payload) else {
        panic!("it was the last answer");
    };
    assert_eq!(answered.answers, ["s", "a", "t", "7"].map(str));
}

#[test]
fn a_node_that_asks_under_another_name_knows_both() {
    let mut ada = dynamic(BOB).asking_as(ADA);
    let (channel, payload) = ada
        .tell(
            RequestBody::Disconnect {
                members: Members::default(),
                close: false,
            },
            0,
        )
        .unwrap();
    let Body::Request(told) = decode(&payload).unwrap().body else {
        panic!("it is a request");
    };
    assert_eq!(told.uid, ADA);
    assert_eq!(hear(&mut ada, &channel, &payload), Received::Own);
    let mut broadcast = hello();
    let (channel, payload) = ada.number(&mut broadcast, 0).unwrap();
    assert_eq!(decode(&payload).unwrap().uid, BOB);
    assert_eq!(hear(&mut ada, &channel, &payload), Received::Own);
    let answers = Subscription::Channel("socket.io#/#ada00000000000a1#".to_owned());
    assert!(ada.subscriptions().contains(&answers));
}

#[test]
fn what_is_not_for_this_namespace_or_cannot_be_read_is_told_apart() {
    let mut ada = dynamic(ADA);
    let hello = encode(BOB, "/", &hello()).unwrap();
    for channel in ["socket.io#/chat#", "socket.io#/", "other#/#", ""] {
        assert_eq!(hear(&mut ada, channel, &hello), Received::Foreign);
    }
    let elsewhere = encode(BOB, "/chat", &event(&[str("e")])).unwrap();
    assert_eq!(
        hear(&mut ada, "socket.io#/#", &elsewhere),
        Received::Foreign
    );
    let refused = hear(&mut ada, "socket.io#/#", b"{}");
    assert_eq!(refused, Received::Refused(RequestError::Type));
    let refused = hear(&mut ada, "socket.io#/#", b"\x93\xa1a\x80\x80");
    assert_eq!(refused, Received::Refused(RequestError::NotAMap));
    let stats = ada.stats();
    assert_eq!(
        (stats.foreign, stats.requests_unknown, stats.undecodable),
        (5, 1, 1)
    );
}

#[test]
fn a_room_that_others_were_told_to_join_is_reached_before_they_listen_to_it() {
    let mut ada = dynamic(ADA);
    let join = |names: Vec<String>| RequestBody::Join {
        members: Members::default(),
        rooms: names,
    };
    let main = "socket.io#/#".to_owned();
    let apart = |room: &str| format!("socket.io#/#{room}#");
    let seq = |broadcast: &Broadcast| broadcast.extension.as_ref().unwrap().seq;
    let sent = |ada: &mut Node, room: &str, now_ms: u64| {
        let mut broadcast = to(&[room]);
        let (channel, _) = ada.number(&mut broadcast, now_ms).unwrap();
        (channel, seq(&broadcast))
    };
    assert_eq!(sent(&mut ada, "room", 0), (apart("room"), 0));
    ada.tell(join(names(&["room", "other"])), 100).unwrap();
    // As every message that all hear, it has a number.
    assert_eq!(sent(&mut ada, "room", 100), (main.clone(), 1));
    assert_eq!(sent(&mut ada, "elsewhere", 100), (apart("elsewhere"), 0));
    ada.tell(join(names(&["room"])), 600).unwrap();
    let settled = 100 + JOIN_SETTLES_MS;
    assert_eq!(sent(&mut ada, "other", settled - 1), (main.clone(), 2));
    assert_eq!(sent(&mut ada, "other", settled), (apart("other"), 0));
    assert_eq!(sent(&mut ada, "room", settled), (main.clone(), 3));
    assert_eq!(sent(&mut ada, "room", settled + 500), (apart("room"), 0));
    // Too many to be told apart: all are meant.
    let many: Vec<_> = (0..MAX_JOINED_ROOMS).map(|n| n.to_string()).collect();
    ada.tell(join(many), 5_000).unwrap();
    assert_eq!(sent(&mut ada, "room", 5_000), (apart("room"), 0));
    ada.tell(join(names(&["one-more"])), 5_100).unwrap();
    let settled = 5_100 + JOIN_SETTLES_MS;
    assert_eq!(sent(&mut ada, "room", settled - 1), (main, 4));
    assert_eq!(sent(&mut ada, "room", settled), (apart("room"), 0));
}
