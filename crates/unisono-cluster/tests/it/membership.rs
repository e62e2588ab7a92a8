//! Servers that tell each other that they live, with the time as an argument.

use unisono_cluster::classic::{decode_beat, encode_beat};
use unisono_cluster::limits::{
    BEAT_INTERVAL_MS, BEAT_SPACING_MS, ECHO_DEADLINE_MS, FORGET_SILENT_MS, MAX_BEAT_BYTES,
    MAX_BEAT_SPACES, MAX_NODE_NAME_BYTES, MAX_PEERS, SILENT_AFTER_MS,
};
use unisono_cluster::{Beat, EncodeError, Identity, Membership, Published, RequestError};

fn identity(id: &str) -> Identity {
    Identity {
        id: id.to_owned(),
        name: format!("pod-{id}"),
        started_ms: 1_790_000_000_000,
    }
}

/// One whose link is up.
fn server(id: &str) -> Membership {
    let mut membership = Membership::new(identity(id));
    membership.set_link(true, 0);
    membership
}

fn beat(id: &str) -> Beat {
    Beat {
        from: identity(id),
        number: 1,
        ..Beat::default()
    }
}

fn hear(membership: &mut Membership, beat: &Beat, now_ms: u64) {
    let bytes = encode_beat(beat).expect("it encodes");
    let heard = membership.handle_message(&bytes, now_ms);
    assert_eq!(heard.as_ref(), Ok(&Some(beat.clone())));
}

/// Looks as often as a shell does, and gives who fell silent when.
fn look(membership: &mut Membership, from_ms: u64, to_ms: u64) -> Vec<(u64, String)> {
    let ticks = (from_ms..=to_ms).step_by(100);
    let fallen = ticks.flat_map(|now_ms| {
        let names = membership.handle_timeout(now_ms).into_iter();
        names.map(move |name| (now_ms, name.id.to_string()))
    });
    fallen.collect()
}

fn published(nsp: &str, seq: u64) -> Published {
    Published {
        nsp: nsp.to_owned(),
        uid: format!("uid{}", nsp.len() % 10),
        seq,
    }
}

#[test]
fn what_is_told_is_read_back_and_anything_less_is_refused() {
    let full = Beat {
        lag_ms: Some(2),
        leaving: true,
        published: vec![published("/", u64::from(u32::MAX)), published("/chat", 0)],
        ..beat("abc_-1")
    };
    for beat in [beat("abc_-1"), full] {
        let bytes = encode_beat(&beat).expect("it encodes");
        assert!(bytes.len() < 150, "{}", bytes.len());
        assert_eq!(decode_beat(&bytes), Ok(beat));
        for len in 0..bytes.len() {
            assert!(decode_beat(&bytes[..len]).is_err(), "{len}");
        }
    }
    assert!(decode_beat(br#"{"id":"a"}"#).is_ok(), "a name is no must");
    let long = "n".repeat(MAX_NODE_NAME_BYTES + 1);
    for refused in [
        r#"{}"#.to_owned(),
        r#"{"id":""}"#.to_owned(),
        r#"{"id":7}"#.to_owned(),
        format!(r#"{{"id":"a","name":"{long}"}}"#),
        format!(r#"{{"id":"a","pad":"{}"}}"#, "x".repeat(MAX_BEAT_BYTES)),
    ] {
        assert!(decode_beat(refused.as_bytes()).is_err(), "{refused:.40}");
    }
    // What makes no sense within is left out.
    let odd =
        r#"{"id":"a","since":-1,"n":1.5,"seqs":[1,["/"],["/","u",-1],["/","u",7,8],["/","u",7]]}"#;
    let read = decode_beat(odd.as_bytes()).expect("it reads");
    let seqs: Vec<_> = read.published.iter().map(|one| one.seq).collect();
    assert_eq!((seqs, read.from.started_ms), (vec![7], 0));
    let many = Beat {
        published: (0..2_000).map(|n| published("/namespace", n)).collect(),
        ..beat("a")
    };
    assert!(matches!(
        encode_beat(&many),
        Err(EncodeError::TooLarge { .. })
    ));
}

#[test]
fn whoever_is_not_heard_falls_silent_once_and_is_forgotten_later() {
    let mut a = server("a");
    hear(&mut a, &beat("b"), 0);
    hear(&mut a, &beat("c"), 0);
    hear(&mut a, &beat("c"), 1_000);
    let b_silent = (SILENT_AFTER_MS, "b".to_owned());
    let c_silent = (SILENT_AFTER_MS + 1_000, "c".to_owned());
    assert_eq!(look(&mut a, 0, 20_000), [b_silent, c_silent]);
    assert!(a.iter().all(|member| member.is_silent));
    // It went on.
    hear(&mut a, &beat("b"), 20_000);
    assert_eq!(a.iter().filter(|member| member.is_silent).count(), 1);
    let again = (20_000 + SILENT_AFTER_MS, "b".to_owned());
    assert_eq!(look(&mut a, 20_100, 30_000), [again]);
    look(&mut a, 30_100, 1_000 + FORGET_SILENT_MS);
    let left: Vec<_> = a.iter().map(|member| member.name.to_string()).collect();
    assert_eq!(left, ["pod-b (b)"]);
    look(&mut a, 61_100, 20_100 + FORGET_SILENT_MS);
    assert_eq!(a.iter().count(), 0);
}

#[test]
fn who_says_goodbye_is_gone_and_who_is_restarted_is_another() {
    let mut a = server("a");
    let old = beat("old");
    hear(&mut a, &old, 0);
    // The same name, another start.
    let mut new = beat("new");
    new.from.name.clone_from(&old.from.name);
    hear(&mut a, &new, 100);
    assert_eq!(a.iter().count(), 2);
    assert_eq!(
        look(&mut a, 0, SILENT_AFTER_MS),
        [(SILENT_AFTER_MS, "old".to_owned())]
    );
    let bye = Beat {
        leaving: true,
        ..new
    };
    hear(&mut a, &bye, 3_400);
    let left: Vec<_> = a.iter().map(|member| &*member.name.id).collect();
    assert_eq!(left, ["old"]);
    // Whoever is not known has not gone.
    let bye = encode_beat(&bye).expect("it encodes");
    assert_eq!(a.handle_message(&bye, 3_500), Ok(None));
    assert!(a.goodbye(Vec::new()).is_some());
    assert_eq!(a.goodbye(Vec::new()), None, "once");
    assert_eq!((a.next_beat_ms(), a.beat(Vec::new(), 9_000)), (None, None));
}

#[test]
fn nobody_falls_silent_while_this_server_cannot_hear() {
    let mut a = server("a");
    hear(&mut a, &beat("b"), 0);
    look(&mut a, 0, 1_000);
    a.set_link(false, 1_000);
    assert_eq!(a.next_beat_ms(), None);
    assert_eq!(look(&mut a, 1_100, 50_000), []);
    a.set_link(true, 50_000);
    assert_eq!(a.next_beat_ms(), Some(50_000), "it announces itself");
    let silent = (50_000 + SILENT_AFTER_MS, "b".to_owned());
    assert_eq!(look(&mut a, 50_100, 54_000), std::slice::from_ref(&silent));
    // It was stopped for a minute, and what others sent waits to be read.
    hear(&mut a, &beat("b"), 54_000);
    assert_eq!(look(&mut a, 114_000, 114_000 + 2_000), []);
    hear(&mut a, &beat("b"), 116_100);
    assert_eq!(look(&mut a, 116_100, 119_300), []);
}

#[test]
fn it_tells_once_a_second_and_at_once_whoever_is_new() {
    let mut a = server("a");
    assert!(a.beat(Vec::new(), 0).is_some());
    assert_eq!(a.beat(Vec::new(), BEAT_INTERVAL_MS - 1), None);
    assert_eq!(a.next_beat_ms(), Some(BEAT_INTERVAL_MS));
    hear(&mut a, &beat("b"), 10);
    hear(&mut a, &beat("c"), 20);
    assert_eq!(a.next_beat_ms(), Some(BEAT_SPACING_MS), "together");
    assert!(a.beat(Vec::new(), BEAT_SPACING_MS).is_some());
    // Nobody is new any more.
    hear(&mut a, &beat("b"), 120);
    assert_eq!(a.next_beat_ms(), Some(BEAT_SPACING_MS + BEAT_INTERVAL_MS));
}

#[test]
fn its_own_messages_measure_the_link_and_their_absence_is_suspicious_once() {
    let mut a = server("a");
    let first = a.beat(Vec::new(), 0).expect("it is due");
    assert!(!a.take_suspicion(ECHO_DEADLINE_MS), "it never came back");
    let second = a.beat(Vec::new(), 1_000).expect("it is due");
    assert_eq!(a.handle_message(&second, 1_007), Ok(None));
    assert_eq!(a.lag_ms(), Some(7));
    // What was sent before is not awaited any more.
    assert_eq!(a.handle_message(&first, 1_500), Ok(None));
    assert_eq!((a.lag_ms(), a.iter().count()), (Some(7), 0));
    for now_ms in [2_000, 3_000] {
        assert!(!a.take_suspicion(now_ms));
        assert!(a.beat(Vec::new(), now_ms).is_some());
    }
    assert!(a.take_suspicion(2_000 + ECHO_DEADLINE_MS));
    assert!(!a.take_suspicion(2_000 + ECHO_DEADLINE_MS));
}

#[test]
fn many_namespaces_take_turns_and_messages_stay_small() {
    let check = |spaces: usize, name_len: usize, seconds: u64| {
        let mut a = server("a");
        let all: Vec<_> = (0..spaces)
            .map(|n| published(&format!("/{n:0name_len$}"), n as u64))
            .collect();
        let mut told = std::collections::BTreeSet::new();
        for second in 0..seconds {
            let bytes = a.beat(all.clone(), second * BEAT_INTERVAL_MS);
            let bytes = bytes.expect("it is due");
            assert!(bytes.len() <= MAX_BEAT_BYTES);
            let beat = decode_beat(&bytes).expect("it reads");
            assert!(beat.published.len() <= MAX_BEAT_SPACES);
            told.extend(beat.published);
        }
        assert_eq!(told.len(), spaces, "{spaces} of {name_len}");
    };
    check(0, 1, 1);
    check(MAX_BEAT_SPACES, 8, 1);
    check(1_000, 8, 8);
    check(100, 500, 100 / 25);
}

#[test]
fn what_comes_back_late_is_no_silence() {
    // Each takes as long as is just not too long, so that others are on their way meanwhile.
    let mut a = server("a");
    let lag_ms = ECHO_DEADLINE_MS - 1;
    let mut on_the_way = std::collections::VecDeque::new();
    for now_ms in (0..20_000).step_by(100) {
        on_the_way.extend(
            a.beat(Vec::new(), now_ms)
                .map(|beat| (now_ms + lag_ms, beat)),
        );
        assert!(!a.take_suspicion(now_ms), "at {now_ms}");
        while on_the_way
            .front()
            .is_some_and(|(due_ms, _)| *due_ms <= now_ms + 99)
        {
            let (due_ms, beat) = on_the_way.pop_front().expect("there is one");
            assert_eq!(a.handle_message(&beat, due_ms), Ok(None));
            assert_eq!(a.lag_ms(), Some(lag_ms));
        }
    }
}

#[test]
fn the_lag_grows_while_nothing_comes_back() {
    let mut a = server("a");
    let first = a.beat(Vec::new(), 0).expect("it is due");
    assert_eq!(a.handle_message(&first, 3), Ok(None));
    assert!(a.beat(Vec::new(), 1_000).is_some());
    a.handle_timeout(1_002);
    assert_eq!(a.lag_ms(), Some(3));
    a.handle_timeout(1_900);
    assert_eq!(a.lag_ms(), Some(900));
}

#[test]
fn what_the_broker_did_not_take_is_not_awaited() {
    let mut a = server("a");
    let first = a.beat(Vec::new(), 0).expect("it is due");
    assert_eq!(a.handle_message(&first, 3), Ok(None));
    for now_ms in (1_000..10_000).step_by(1_000) {
        assert!(a.beat(Vec::new(), now_ms).is_some());
        a.take_back();
        assert!(!a.take_suspicion(now_ms));
    }
    assert!(a.beat(Vec::new(), 10_000).is_some());
    assert!(a.take_suspicion(10_000 + ECHO_DEADLINE_MS), "this one was");
}

#[test]
fn whoever_is_said_to_have_gone_and_has_not_tells_at_once() {
    let (mut a, mut b) = (server("a"), server("b"));
    assert!(b.beat(Vec::new(), 0).is_some());
    hear(&mut a, &beat("b"), 10);
    let forged = Beat {
        leaving: true,
        ..beat("b")
    };
    hear(&mut a, &forged, 500);
    assert_eq!(a.iter().count(), 0);
    let forged = encode_beat(&forged).expect("it encodes");
    assert_eq!(b.handle_message(&forged, 500), Ok(None));
    let again = b.beat(Vec::new(), 500).expect("at once");
    assert!(a.handle_message(&again, 501).is_ok());
    assert_eq!(a.iter().count(), 1);
    // Its own goodbye comes back too.
    let bye = b.goodbye(Vec::new()).expect("it has not gone yet");
    assert_eq!(b.handle_message(&bye, 600), Ok(None));
    assert_eq!(b.next_beat_ms(), None);
}

#[test]
fn whoever_lives_stays_however_many_are_made_up() {
    let mut a = server("a");
    for n in 0..MAX_PEERS as u64 {
        hear(&mut a, &beat(&format!("b{n}")), n);
    }
    look(&mut a, 0, 2_000);
    let another = encode_beat(&beat("another")).expect("it encodes");
    assert_eq!(
        a.handle_message(&another, 2_000),
        Err(RequestError::TooManyServers)
    );
    assert!(a.name_of("b0").is_some() && a.name_of("another").is_none());
    // Silent ones give way, whoever has been silent for longest first.
    look(&mut a, 2_000, SILENT_AFTER_MS + 100);
    assert!(a.handle_message(&another, SILENT_AFTER_MS + 100).is_ok());
    assert_eq!(a.iter().count(), MAX_PEERS);
    assert!(a.name_of("b0").is_none() && a.name_of("another").is_some());
    assert!(a.name_of("b1").is_some());
}
