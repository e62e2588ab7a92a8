//! Who is waited for, who is not any more, and who is missing in the end.

use unisono_cluster::classic::encode_answer;
use unisono_cluster::{
    Answer, AnswerBody, Answered, Broadcast, Listener, Node, Received, RequestBody, Roll,
};
use unisono_proto::Value;

use crate::support::{event, names, str};

/// A node that asks, and one request of it.
struct Asked {
    node: Node,
    id: String,
}

/// `?` is behind a silent one, `!` behind a deaf one, `-` behind a name that nobody listens by.
fn roll(known: &[&str], unknown: usize) -> Roll {
    let listener = |id: &&str| Listener {
        id: id.trim_end_matches(['?', '!']).to_owned(),
        is_silent: id.ends_with('?'),
        is_deaf: id.ends_with('!'),
    };
    let is_absent = |id: &&&str| id.ends_with('-');
    let absent = known.iter().filter(is_absent);
    Roll {
        absent: absent
            .map(|id| id.trim_end_matches('-').to_owned())
            .collect(),
        known: known
            .iter()
            .filter(|id| !is_absent(id))
            .map(listener)
            .collect(),
        unknown,
    }
}

fn ask(body: RequestBody) -> Asked {
    let mut node = Node::new("aaaaaa", "socket.io", "/");
    let (id, _, _) = node.ask(body, 1_000, 0).expect("it asks");
    Asked { node, id }
}

fn acks() -> RequestBody {
    RequestBody::Broadcast(Broadcast {
        ..event(&[str("q")])
    })
}

impl Asked {
    fn call(&mut self, known: &[&str], unknown: usize) -> Option<Box<Answered>> {
        self.node.expect_nodes(&self.id, roll(known, unknown))
    }

    /// The outcome, if this is the last answer.
    fn answer(&mut self, from: &str, body: AnswerBody) -> Option<Answered> {
        let answer = Answer {
            id: self.id.clone(),
            from: Some(from.to_owned()).filter(|from| !from.is_empty()),
            body,
        };
        let payload = encode_answer(answer).expect("it encodes");
        let channel = "socket.io-response#/#";
        match self.node.handle_message(channel, &payload, &|_| true, 0) {
            Received::Answered(answered) => Some(*answered),
            Received::Answer => None,
            other => panic!("{other:?}"),
        }
    }

    fn rooms(&mut self, from: &str, room: &str) -> Option<Answered> {
        self.answer(from, AnswerBody::Rooms(names(&[room])))
    }

    fn recount(&mut self, known: &[&str], unknown: usize) -> Vec<Answered> {
        self.node.handle_recount(&roll(known, unknown))
    }
}

/// Who is missing: ids, and how many without.
fn missing(answered: &Answered) -> (Vec<&str>, usize) {
    let ids = answered.missing.iter().map(String::as_str).collect();
    (ids, answered.missing_unknown)
}

#[test]
fn those_who_give_their_names_are_told_apart() {
    let mut asked = ask(RequestBody::AllRooms);
    // Before anybody is counted.
    assert_eq!(asked.rooms("b", "1"), None);
    assert_eq!(asked.call(&["b", "c", "d"], 1), None);
    // Again: not another's.
    assert_eq!(asked.rooms("b", "2"), None);
    assert_eq!(asked.node.stats().answers_refused, 1);
    assert_eq!(asked.rooms("", "3"), None);
    assert_eq!(asked.rooms("c", "4"), None);
    let answered = asked.node.give_up(&asked.id).expect("it is pending");
    assert_eq!(answered.answers, [str("1"), str("3"), str("4")]);
    assert_eq!(
        (answered.nodes_expected, answered.nodes_answered),
        (Some(4), 3)
    );
    assert_eq!(missing(&answered), (vec!["d"], 0));
}

#[test]
fn whoever_has_answered_and_was_not_looked_for_is_not_missing_beside_others_who_are() {
    // Those who have answered, of so many who were counted without names, and how many are missing in the end.
    for (answered, counted, missing_unknown) in [
        (1, 2, 1),
        (2, 4, 2),
        (0, 3, 3),
        (1, 1, 1),
        (3, 3, 1),
        (4, 3, 1),
    ] {
        let mut asked = ask(RequestBody::AllRooms);
        assert_eq!(asked.call(&[], counted), None);
        for n in 0..answered {
            assert_eq!(asked.rooms(&format!("new{n}"), &n.to_string()), None);
        }
        let ended = asked.node.give_up(&asked.id).expect("it is pending");
        assert_eq!(missing(&ended), (vec![], missing_unknown), "{answered}");
        assert_eq!(ended.nodes_answered, counted - missing_unknown);
        assert_eq!(ended.nodes_expected, Some(counted));
    }
    let mut asked = ask(RequestBody::AllRooms);
    assert_eq!(asked.call(&["b"], 1), None);
    assert_eq!(asked.rooms("new", "1"), None);
    let ended = asked.node.give_up(&asked.id).expect("it is pending");
    assert_eq!(missing(&ended), (vec!["b"], 0));
}

#[test]
fn nobody_waits_for_clients_of_a_node_that_no_count_finds() {
    let count = AnswerBody::ClientCount;
    // Beside a node without a name, which never ends to be there.
    let mut asked = ask(acks());
    assert_eq!(asked.call(&["b"], 1), None);
    assert_eq!(asked.answer("ghost", count(7)), None);
    assert_eq!(asked.answer("b", count(0)), None);
    assert_eq!(asked.answer("", count(0)), None, "seven are still owed");
    let ended = asked.recount(&["b", "ghost-"], 1);
    assert_eq!(missing(&ended[0]), (vec![], 0));
    assert_eq!(ended[0].clients_missing, 0);
    // It is not looked for again, and hides nobody who is missing beside another.
    let mut asked = ask(acks());
    assert_eq!(asked.call(&["b"], 1), None);
    assert_eq!(asked.answer("ghost", count(7)), None);
    assert_eq!(asked.recount(&["b", "ghost-"], 1), []);
    assert_eq!(asked.answer("ghost", AnswerBody::Ack(None)), None);
    assert!(!asked.node.take_wants_recount());
    let ended = asked.node.give_up(&asked.id).expect("it is pending");
    assert_eq!(missing(&ended), (vec!["b"], 1));
    // One that a later count finds counts after all.
    let mut asked = ask(acks());
    assert_eq!(asked.call(&[], 1), None);
    assert_eq!(asked.answer("late", count(1)), None);
    assert_eq!(asked.recount(&["late-"], 1), []);
    assert_eq!(asked.recount(&["late"], 0), [], "its client is waited for");
    let ended = asked.answer("late", AnswerBody::Ack(None));
    assert_eq!(missing(&ended.expect("that was all")), (vec![], 0));
}

#[test]
fn whoever_was_not_counted_by_name_takes_nobodys_place_until_a_count_says_so() {
    let mut asked = ask(RequestBody::AllRooms);
    assert_eq!(asked.call(&["b"], 1), None);
    assert_eq!(asked.rooms("new", "1"), None);
    assert!(!asked.node.take_wants_recount(), "b is waited for");
    assert_eq!(asked.rooms("b", "2"), None);
    assert!(asked.node.take_wants_recount() && !asked.node.take_wants_recount());
    assert_eq!(asked.node.names_asked(), ["b", "new"]);
    // It has come since: the one that was counted is still there, and has not answered.
    assert_eq!(asked.recount(&["b", "new"], 1), []);
    assert!(!asked.node.take_wants_recount(), "it was looked for");
    let mut again = ask(RequestBody::AllRooms);
    std::mem::swap(&mut again, &mut asked);
    let answered = again.node.give_up(&again.id).expect("it is pending");
    assert_eq!(missing(&answered), (vec![], 1));
    assert_eq!(answered.answers.len(), 2);
    // It is the one: nobody else listens.
    assert_eq!(asked.call(&[], 1), None);
    assert_eq!(asked.rooms("new", "1"), None);
    let ended = asked.recount(&["new"], 0);
    assert_eq!(
        (missing(&ended[0]), ended[0].nodes_answered),
        ((vec![], 0), 1)
    );
    // The same where it answers before anybody is counted.
    let mut asked = ask(RequestBody::AllRooms);
    assert_eq!(asked.rooms("new", "1"), None);
    assert_eq!(asked.call(&[], 1), None);
    assert!(asked.node.take_wants_recount());
    // Somebody else has come meanwhile, and is not waited for.
    let ended = asked.recount(&["new", "newer"], 0);
    assert_eq!(missing(&ended[0]), (vec![], 0));
    // Of two one is known by now; the other has no name.
    let mut asked = ask(RequestBody::AllRooms);
    assert_eq!(asked.call(&[], 2), None);
    assert_eq!(asked.rooms("new", "1"), None);
    assert!(!asked.node.take_wants_recount(), "one more is waited for");
    assert_eq!(asked.recount(&["new"], 1), []);
    let answered = asked.rooms("", "2").expect("all have answered");
    assert_eq!(
        (missing(&answered), answered.nodes_answered),
        ((vec![], 0), 2)
    );
    // The other gives its name later: the first is still looked for by its own.
    let mut asked = ask(RequestBody::AllRooms);
    assert_eq!(asked.call(&[], 2), None);
    assert_eq!(asked.rooms("new", "1"), None);
    assert_eq!(asked.recount(&["new"], 1), []);
    assert_eq!(asked.rooms("other", "2"), None);
    assert!(asked.node.take_wants_recount());
    assert_eq!(asked.node.names_asked(), ["new", "other"]);
    assert_eq!(asked.recount(&["new", "other"], 0).len(), 1);
}

#[test]
fn whoever_lives_and_does_not_listen_is_missing_and_not_waited_for() {
    let mut asked = ask(RequestBody::AllRooms);
    let alone = asked.call(&["b!"], 0).expect("nobody is waited for");
    assert_eq!(
        (missing(&alone), alone.nodes_expected),
        ((vec!["b"], 0), Some(1))
    );
    let mut asked = ask(RequestBody::AllRooms);
    assert_eq!(asked.call(&["b!", "c"], 0), None);
    // Its link is healed in time, after all.
    assert_eq!(asked.rooms("b", "1"), None);
    let answered = asked.rooms("c", "2").expect("all have answered");
    assert_eq!(missing(&answered), (vec![], 0));
    // One is deaf during the wait.
    let mut asked = ask(RequestBody::AllRooms);
    assert_eq!(asked.call(&["b"], 1), None);
    assert_eq!(asked.rooms("", "1"), None);
    assert_eq!(asked.recount(&["b"], 1), []);
    let ended = asked.recount(&["b!", "c!"], 1);
    assert_eq!(missing(&ended[0]), (vec!["b"], 0));
}

#[test]
fn one_nodes_clients_do_not_make_up_for_anothers() {
    let ack = || AnswerBody::Ack(None);
    let mut asked = ask(acks());
    asked.call(&["b"], 1);
    assert_eq!(asked.answer("b", AnswerBody::ClientCount(2)), None);
    assert_eq!(asked.answer("", AnswerBody::ClientCount(1)), None);
    // Of a client whose node has not said how many it has asked, and of one that nobody has counted.
    for from in ["b", "new", "new", ""] {
        assert_eq!(asked.answer(from, ack()), None);
    }
    let answered = asked.node.give_up(&asked.id).expect("it is pending");
    assert_eq!((answered.clients_asked, answered.clients_missing), (3, 1));
    assert_eq!(answered.answers.len(), 4);
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let mut asked = ask(RequestBody::AllRooms);
    asked.call(&["b"], 2);
    assert_eq!(asked.rooms("b", "room"), None);
    assert_eq!(asked.rooms("", "room"), None);
    let kept = format!("{:?}", asked.node).len();
    for room in 0..99 {
        assert_eq!(asked.rooms("b", &room.to_string()), None);
        assert_eq!(asked.rooms("", "room"), None);
    }
    assert_eq!(asked.node.stats().answers_refused, 2 * 99);
    // The digits of the counter.
    let grown = format!("{:?}", asked.node).len() - kept;
    assert!(grown < 4, "{grown}");
}

#[test]
fn a_server_that_has_gone_is_not_waited_for() {
    let mut asked = ask(RequestBody::AllRooms);
    asked.call(&["b", "c"], 0);
    assert_eq!(asked.rooms("b", "1"), None);
    assert_eq!(asked.node.handle_lost_node("stranger"), []);
    assert_eq!(asked.node.handle_lost_node("b"), [], "it has answered");
    let ended = asked.node.handle_lost_node("c");
    assert_eq!(missing(&ended[0]), (vec!["c"], 0));
    assert!(!asked.node.is_asking());
    // Silent from the start: missing, and not waited for.
    let mut asked = ask(RequestBody::AllRooms);
    assert_eq!(asked.call(&["b", "c?"], 0), None);
    let answered = asked.rooms("b", "1").expect("nobody else is waited for");
    assert_eq!(missing(&answered), (vec!["c"], 0));
    assert_eq!(asked.node.next_deadline(), None);
    let alone = ask(RequestBody::AllRooms).call(&["b?"], 0);
    assert_eq!(
        missing(&alone.expect("nobody is waited for")),
        (vec!["b"], 0)
    );
}

#[test]
fn who_no_longer_listens_is_not_waited_for_and_who_is_new_changes_nothing() {
    // Who was counted, who has answered, who listens now; who is missing if it ends.
    type Counted<'a> = (&'a [&'a str], usize);
    let check =
        |before: Counted<'_>, answers: &[&str], now: Counted<'_>, expected: Option<Counted<'_>>| {
            let mut asked = ask(RequestBody::AllRooms);
            assert_eq!(asked.call(before.0, before.1), None);
            for (n, from) in answers.iter().enumerate() {
                assert_eq!(asked.rooms(from, &n.to_string()), None);
            }
            let ended = asked.recount(now.0, now.1);
            let ended = ended.first().map(missing);
            let expected = expected.map(|(ids, unknown)| (ids.to_vec(), unknown));
            assert_eq!(ended, expected, "{before:?} {answers:?} {now:?}");
        };
    // All are there.
    check((&["b"], 1), &[], (&["b"], 1), None);
    // Either has died.
    check((&["b"], 1), &[""], (&[], 1), Some((&["b"], 0)));
    check((&["b"], 1), &["b"], (&["b"], 0), Some((&[], 1)));
    check((&["b"], 1), &[], (&["b"], 0), None);
    check((&["b"], 1), &[], (&[], 0), Some((&["b"], 1)));
    // One that has answered dies: the other is still waited for.
    check((&["b", "c"], 0), &["b"], (&["c"], 0), None);
    check((&["b"], 1), &["b"], (&[], 1), None);
    // Of those without names nobody knows which it was: the one that has not answered, most likely.
    check((&[], 2), &[""], (&[], 1), Some((&[], 1)));
    // One more has come: nothing changes.
    check((&["b"], 0), &[], (&["b"], 1), None);
    check((&["b"], 1), &["b"], (&["b", "new"], 1), None);
    // Restarted meanwhile: as many listen as before, and it is not the same.
    check((&["b"], 0), &[], (&["new"], 0), Some((&["b"], 0)));
    check((&["b"], 0), &[], (&[], 1), Some((&["b"], 0)));
    // One that was counted before it gave its name is still there.
    check((&[], 1), &[], (&["new"], 0), None);
    // One hangs.
    check((&["b"], 0), &[], (&["b?"], 0), Some((&["b"], 0)));
}

#[test]
fn a_count_before_anybody_was_called_means_nothing() {
    let mut asked = ask(RequestBody::AllRooms);
    assert_eq!(asked.recount(&[], 0), []);
    assert_eq!(asked.call(&["b"], 0), None);
    assert!(asked.rooms("b", "1").is_some());
}

#[test]
fn clients_of_a_node_that_has_gone_are_not_waited_for() {
    let ack = |value: i64| AnswerBody::Ack(Some(Value::Int(value)));
    let mut asked = ask(acks());
    asked.call(&["b", "c"], 1);
    assert_eq!(asked.answer("b", AnswerBody::ClientCount(2)), None);
    assert_eq!(asked.answer("c", AnswerBody::ClientCount(1)), None);
    assert_eq!(asked.answer("", AnswerBody::ClientCount(1)), None);
    assert_eq!(asked.answer("b", ack(1)), None);
    assert_eq!(asked.node.handle_lost_node("b"), []);
    assert_eq!(asked.answer("", ack(2)), None);
    let answered = asked
        .answer("c", ack(3))
        .expect("nobody else is waited for");
    assert_eq!((answered.answers.len(), answered.clients_asked), (3, 4));
    // All nodes have said how many they asked; the client is missing.
    assert_eq!(missing(&answered), (vec![], 0));
    // Without names they can only be given up together.
    let mut asked = ask(acks());
    asked.call(&[], 2);
    assert_eq!(asked.answer("", AnswerBody::ClientCount(1)), None);
    assert_eq!(asked.answer("", AnswerBody::ClientCount(1)), None);
    assert_eq!(asked.recount(&[], 1), []);
    assert_eq!(asked.recount(&[], 0).len(), 1);
}
