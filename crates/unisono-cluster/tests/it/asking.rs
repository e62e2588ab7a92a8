//! The conversation in which nodes ask and answer, with the time as an argument.

use bytes::Bytes;
use unisono_cluster::broker::Subscription;
use unisono_cluster::classic::encode_answer;
use unisono_cluster::limits::{MAX_ANSWER_BYTES, MAX_PENDING_REQUESTS};
use unisono_cluster::{
    Answer, AnswerBody, Answered, AskError, Ledger, Members, Node, Received, Request, RequestBody,
};
use unisono_proto::Value;

use crate::support::{event, map, names, str};

fn node(uid: &str) -> Node {
    Node::new(uid, "socket.io", "/")
}

fn hear(node: &mut Node, channel: &str, payload: &[u8]) -> Received {
    node.handle_message(channel, payload, &|_| true, 0)
}

/// What `to` is asked by `from`, and the request's id.
fn asked(from: &mut Node, to: &mut Node, body: RequestBody) -> (String, Request) {
    let (id, channel, payload) = from.ask(body, 1_000, 0).expect("it asks");
    assert_eq!(hear(from, &channel, &payload), Received::Own);
    match hear(to, &channel, &payload) {
        Received::Request(request) => (id, *request),
        other => panic!("{other:?}"),
    }
}

/// Channel and payload of an answer.
fn answer(from: &Node, uid: &str, id: &str, body: AnswerBody, privately: bool) -> (String, Bytes) {
    let channel = from.answering(privately).channel(uid, &body);
    let id = id.to_owned();
    let payload = encode_answer(Answer {
        id,
        from: None,
        body,
    })
    .expect("it encodes");
    (channel, payload)
}

/// What `to` makes of an answer of `from` to its request.
fn answered(from: &mut Node, to: &mut Node, request: &Request, body: AnswerBody) -> Received {
    let id = request.id.as_deref().expect("it wants answers");
    let (channel, payload) = answer(from, &request.uid, id, body, false);
    assert_eq!(channel, "socket.io-response#/#");
    // Others hear it too, and it is nothing to them.
    assert_eq!(hear(from, &channel, &payload), Received::Answer);
    hear(to, &channel, &payload)
}

fn fetch() -> RequestBody {
    RequestBody::Fetch {
        members: Members::default(),
    }
}

fn socket(id: &str) -> Value {
    map(&[("id", str(id))])
}

#[test]
fn a_request_ends_with_the_answer_of_the_last_node() {
    let (mut a, mut b, mut c) = (node("aaaaaa"), node("bbbbbb"), node("cccccc"));
    let (id, request) = asked(&mut a, &mut b, fetch());
    assert_eq!(request.uid, "aaaaaa");
    let sockets = |ids: &[&str]| AnswerBody::Sockets(ids.iter().map(|id| socket(id)).collect());
    // Before it is known how many there are.
    let first = answered(&mut b, &mut a, &request, sockets(&["b1", "b2"]));
    assert_eq!(first, Received::Answer);
    assert_eq!(a.expect_nodes(&id, 2), None);
    let last = answered(&mut c, &mut a, &request, sockets(&[]));
    let expected = Answered {
        id: id.clone(),
        answers: vec![socket("b1"), socket("b2")],
        nodes_expected: Some(2),
        nodes_answered: 2,
        missing: Vec::new(),
        missing_unknown: 0,
        clients_asked: 0,
        clients_missing: 0,
    };
    assert_eq!(last, Received::Answered(Box::new(expected)));
    // Over: one more is too late.
    let late = answered(&mut c, &mut a, &request, sockets(&["c1"]));
    assert_eq!(late, Received::Answer);
    assert_eq!(a.give_up(&id), None);
    let stats = a.stats();
    assert_eq!((stats.answers, stats.answers_late, stats.own), (2, 1, 1));
    assert_eq!((b.stats().requests, b.stats().answers), (1, 0));
    assert_eq!(a.next_deadline(), None);
}

#[test]
fn all_that_is_asked_has_its_kind_of_answer() {
    let (mut a, mut b) = (node("aaaaaa"), node("bbbbbb"));
    let bodies = [
        AnswerBody::Sockets(vec![socket("s")]),
        AnswerBody::Rooms(names(&["r"])),
        AnswerBody::ServerSide(Some(Value::Int(1))),
    ];
    let others = [
        AnswerBody::ClientCount(0),
        AnswerBody::Ack(None),
        AnswerBody::Done,
    ];
    let questions = [
        (fetch(), 0),
        (
            RequestBody::Sockets {
                rooms: names(&["r"]),
            },
            0,
        ),
        (RequestBody::AllRooms, 1),
        (
            RequestBody::ServerSideEmit {
                args: vec![str("e")],
            },
            2,
        ),
    ];
    for (question, fitting) in questions {
        let (id, request) = asked(&mut a, &mut b, question);
        a.expect_nodes(&id, 1);
        for (index, body) in bodies.iter().chain(&others).enumerate() {
            if index != fitting {
                let received = answered(&mut b, &mut a, &request, body.clone());
                assert_eq!(received, Received::Answer, "{body:?}");
            }
        }
        let received = answered(&mut b, &mut a, &request, bodies[fitting].clone());
        let Received::Answered(answered) = received else {
            panic!("{received:?}");
        };
        assert_eq!(answered.answers.len(), 1);
    }
    assert_eq!(a.stats().answers_refused, 4 * 5);
    for body in [
        RequestBody::Leave {
            members: Members::default(),
            rooms: vec![],
        },
        RequestBody::Disconnect {
            members: Members::default(),
            close: true,
        },
    ] {
        assert_eq!(a.ask(body.clone(), 1, 0), Err(AskError::NoQuestion));
        let (channel, payload) = a.tell(body.clone(), 0).expect("it encodes");
        let Received::Request(request) = hear(&mut b, &channel, &payload) else {
            panic!("{body:?}");
        };
        assert_eq!((request.id, request.body), (None, body));
    }
}

#[test]
fn acknowledgements_are_counted_in_whatever_order_they_come() {
    let (mut a, mut b, mut c) = (node("aaaaaa"), node("bbbbbb"), node("cccccc"));
    let ack = |value: i64| AnswerBody::Ack(Some(Value::Int(value)));
    let (id, request) = asked(&mut a, &mut b, RequestBody::Broadcast(event(&[str("q")])));
    answered(&mut b, &mut a, &request, ack(1));
    answered(&mut c, &mut a, &request, AnswerBody::ClientCount(0));
    assert_eq!(a.expect_nodes(&id, 2), None);
    answered(&mut b, &mut a, &request, AnswerBody::ClientCount(2));
    // A third node that nobody has counted.
    answered(&mut b, &mut a, &request, AnswerBody::ClientCount(5));
    let last = answered(&mut b, &mut a, &request, AnswerBody::Ack(None));
    let Received::Answered(answers) = last else {
        panic!("{last:?}");
    };
    assert_eq!(answers.answers, [Value::Int(1), Value::Null]);
    assert_eq!((answers.nodes_answered, answers.clients_asked), (2, 2));
    assert_eq!(a.stats().answers_refused, 1);
    // Nobody else is there.
    let (id, _) = asked(&mut a, &mut b, RequestBody::Broadcast(event(&[str("q")])));
    let alone = a.expect_nodes(&id, 0).expect("it is over");
    assert_eq!(alone.missing_unknown, 0);
}

#[test]
fn who_does_not_answer_is_missing_when_the_time_is_over() {
    let (mut a, mut b) = (node("aaaaaa"), node("bbbbbb"));
    let (id, request) = asked(&mut a, &mut b, RequestBody::AllRooms);
    let (_, _, _) = a.ask(RequestBody::AllRooms, 500, 100).expect("it asks");
    a.expect_nodes(&id, 3);
    answered(&mut b, &mut a, &request, AnswerBody::Rooms(names(&["r"])));
    assert_eq!(a.next_deadline(), Some(600));
    assert_eq!(a.handle_request_timeout(599), []);
    let unknown = &a.handle_request_timeout(600)[0];
    assert_eq!((unknown.nodes_expected, unknown.missing_unknown), (None, 0));
    let expired = a.handle_request_timeout(1_000);
    assert_eq!(expired[0].id, id);
    assert_eq!(expired[0].answers, [str("r")]);
    assert_eq!(expired[0].missing_unknown, 2);
    assert_eq!((a.stats().requests_expired, a.next_deadline()), (2, None));
    // Ended before its time.
    let (id, _) = asked(&mut a, &mut b, fetch());
    let ended = a.give_up(&id).expect("it is pending");
    assert_eq!(ended.answers, []);
    assert_eq!(a.next_deadline(), None);
}

#[test]
fn forged_answers_do_no_harm_and_are_counted() {
    let (mut a, mut b) = (node("aaaaaa"), node("bbbbbb"));
    let (id, request) = asked(&mut a, &mut b, fetch());
    a.expect_nodes(&id, 2);
    let responses = "socket.io-response#/#";
    // Nothing that could be for this node: not even decoded.
    for noise in [&b"\xc1"[..], b"{", b"", br#"{"requestId":"other"}"#] {
        assert_eq!(hear(&mut a, responses, noise), Received::Answer);
    }
    assert_eq!(a.stats().undecodable, 0);
    let broken = format!(r#"{{"requestId":"{id}""#);
    let received = hear(&mut a, responses, broken.as_bytes());
    assert!(matches!(received, Received::Refused(_)), "{received:?}");
    // Never asked, and an id that only contains ours.
    for (id, late) in [("aaaaaa-77", 1), ("x-aaaaaa-1", 1)] {
        let forged = format!(r#"{{"requestId":"{id}","sockets":[]}}"#);
        hear(&mut a, responses, forged.as_bytes());
        assert_eq!(a.stats().answers_late, late, "{id}");
    }
    // The same again, and another type.
    let twice = AnswerBody::Sockets(vec![socket("b1")]);
    for _ in 0..3 {
        answered(&mut b, &mut a, &request, twice.clone());
    }
    let typed = format!(r#"{{"requestId":"{id}","type":3}}"#);
    hear(&mut a, responses, typed.as_bytes());
    let stats = a.stats();
    assert_eq!((stats.answers, stats.answers_refused), (1, 3));
    assert_eq!(stats.undecodable, 1);
    let ended = a.give_up(&id).expect("it is pending");
    assert_eq!((ended.answers.len(), ended.nodes_answered), (1, 1));
}

#[test]
fn what_is_kept_is_bounded() {
    let (mut a, mut b) = (node("aaaaaa"), node("bbbbbb"));
    let (id, request) = asked(&mut a, &mut b, fetch());
    let large = "x".repeat(15 << 20);
    let fitting = MAX_ANSWER_BYTES / large.len();
    for index in 0..=fitting {
        let sockets = AnswerBody::Sockets(vec![str(&format!("{index}{large}"))]);
        answered(&mut b, &mut a, &request, sockets);
    }
    let stats = a.stats();
    assert_eq!((stats.answers, stats.answers_refused), (fitting as u64, 1));
    a.give_up(&id).expect("it is pending");
    let ids: Vec<_> = (0..MAX_PENDING_REQUESTS)
        .map(|_| a.ask(fetch(), 1_000, 0).expect("there is room").0)
        .collect();
    assert_eq!(a.ask(fetch(), 1_000, 0), Err(AskError::TooMany));
    a.give_up(&ids[0]);
    assert!(a.ask(fetch(), 1_000, 0).is_ok());
}

/// A value may take one byte on the wire and thirty in memory.
#[test]
fn what_is_kept_counts_as_what_it_takes_in_memory() {
    let (mut a, mut b) = (node("aaaaaa"), node("bbbbbb"));
    let ledger = Ledger::default();
    a = a.keeping_in(ledger.clone());
    let sse = RequestBody::ServerSideEmit {
        args: vec![str("e")],
    };
    let (id, request) = asked(&mut a, &mut b, sse);
    const VALUES: usize = 500_000;
    let fitting = MAX_ANSWER_BYTES / (VALUES * size_of::<Value>());
    for _ in 0..=fitting {
        let zeros = Value::Array(vec![Value::Int(0); VALUES]);
        answered(
            &mut b,
            &mut a,
            &request,
            AnswerBody::ServerSide(Some(zeros)),
        );
    }
    let stats = a.stats();
    assert_eq!((stats.answers, stats.answers_refused), (fitting as u64, 1));
    assert!(ledger.bytes() > fitting * VALUES * size_of::<Value>());
    // What does not fit the question costs nothing.
    let kept = ledger.bytes();
    answered(&mut b, &mut a, &request, AnswerBody::Done);
    assert_eq!(ledger.bytes(), kept);
    a.give_up(&id).expect("it is pending");
    assert_eq!(ledger.bytes(), 0);
}

#[test]
fn answers_go_to_all_or_to_who_asked() {
    let (mut a, mut b) = (node("aaaaaa").asking_as("mine"), node("bbbbbb"));
    let private = "socket.io-response#/#mine#";
    assert!(
        a.subscriptions()
            .contains(&Subscription::Channel(private.to_owned()))
    );
    let (id, request) = asked(&mut a, &mut b, RequestBody::AllRooms);
    assert_eq!(request.uid, "mine");
    let check = |uid: &str, body: AnswerBody, expected: &str| {
        let (channel, _) = answer(&node("bbbbbb"), uid, &id, body, true);
        assert_eq!(channel, expected, "{uid}");
    };
    let shared = "socket.io-response#/#";
    check("mine", AnswerBody::Rooms(vec![]), private);
    check("", AnswerBody::Rooms(vec![]), shared);
    check(&"u".repeat(1_000), AnswerBody::Rooms(vec![]), shared);
    // As Node.js, whatever it is set to.
    check("mine", AnswerBody::ServerSide(None), shared);
    a.expect_nodes(&id, 1);
    let (channel, payload) = answer(&b, "mine", &id, AnswerBody::Rooms(vec![]), true);
    assert_eq!(hear(&mut b, &channel, &payload), Received::Foreign);
    let received = hear(&mut a, &channel, &payload);
    assert!(matches!(received, Received::Answered(_)), "{received:?}");
}

#[test]
fn what_is_no_request_is_counted() {
    let mut a = node("aaaaaa");
    let requests = "socket.io-request#/#";
    let mut check = |payload: &[u8], undecodable: u64, unknown: u64| {
        let received = hear(&mut a, requests, payload);
        assert!(matches!(received, Received::Refused(_)), "{received:?}");
        let stats = a.stats();
        assert_eq!(
            (stats.undecodable, stats.requests_unknown),
            (undecodable, unknown)
        );
    };
    check(b"\xc1", 1, 0);
    check(b"[]", 2, 0);
    check(br#"{"type":99}"#, 2, 1);
    check(br#"{"type":4,"opts":{}}"#, 3, 1);
    let own = br#"{"uid":"aaaaaa","type":4,"opts":{"rooms":[]}}"#;
    assert_eq!(hear(&mut a, requests, own), Received::Own);
    for channel in [
        "socket.io-request#/chat#",
        "socket.io-request#/#x",
        "socket.io-response#/#other#",
        "socket.io-other#/#",
        "socket.io-request",
    ] {
        assert_eq!(hear(&mut a, channel, own), Received::Foreign, "{channel}");
    }
}
