//! What clients say and hear, on one pod without Redis.

use jamz_server::config::names;
use jamz_server::http::METRICS;
use jamz_server::metrics::{CommitResult, Refused};
use jamz_server::session::NEW_SESSIONS;
use serde_json::{Value, json};
use unisono_client::{Client, Options};

use crate::http::get;
use crate::support::{PATIENCE, TestClient, TestPod, change};

const BOTH: [&str; 2] = ["music-control-changed", "music-controller-changed"];

fn names_of(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn hello_comes_first_and_a_ping_is_answered() {
    let pod = TestPod::start(&[]).await;
    let (client, events) = Client::connect(&pod.url, Options::default()).await.unwrap();
    let mut client = TestClient { client, events };
    assert_eq!(
        client.any().await,
        ("hello".to_owned(), json!({"ok": true}))
    );
    client.emit("test-ping", &json!({"a": [1, "ü"]})).await;
    let pong = json!({"received": true, "yourData": {"a": [1, "ü"]}});
    assert_eq!(client.any().await, ("test-pong".to_owned(), pong));
    client.client.emit("test-ping", &()).await.unwrap();
    assert_eq!(
        client.any().await,
        ("test-pong".to_owned(), json!({"received": true}))
    );
}

#[tokio::test]
async fn taking_control_is_told_under_both_names_to_everybody_in_the_session() {
    let pod = TestPod::start(&[]).await;
    let (mut a, mut b, mut outside) = (pod.client().await, pod.client().await, pod.client().await);
    a.join("s1", Some("alice")).await;
    b.join("s1", None).await;
    a.drain().await;
    a.take("s1", "alice").await;
    for client in [&mut a, &mut b] {
        for name in BOTH {
            let (event, payload) = client.any().await;
            assert_eq!(event, name);
            assert_eq!(payload["userId"], "alice");
            assert_eq!(payload["revision"], 1);
            assert!(payload["timestamp"].as_u64().unwrap() > 1_700_000_000_000);
        }
    }
    let controller = {
        b.emit(
            "music-take-control",
            &json!({"session_id": "s1", "userId": 7}),
        )
        .await;
        let payload = a.next(BOTH[0]).await;
        assert_eq!(payload["userId"], 7);
        payload["controllerId"].clone()
    };
    assert_eq!(controller, b.id());
    assert!(outside.drain().await.is_empty());
}

#[tokio::test]
async fn without_a_session_everybody_connected_hears() {
    let pod = TestPod::start(&[]).await;
    let (mut a, mut b) = (pod.client().await, pod.client().await);
    b.join("elsewhere", None).await;
    for (payload, user) in [
        (json!({}), None),
        (json!(null), None),
        (json!({"sessionId": "", "userId": "u"}), Some("u")),
        (json!({"userId": null}), None),
    ] {
        a.emit("music-take-control", &payload).await;
        for client in [&mut a, &mut b] {
            let told = client.next(BOTH[0]).await;
            assert_eq!(told["controllerId"], client_id(&payload, &told));
            assert_eq!(told["userId"].as_str(), user);
            assert_eq!(
                told.get("userId").is_some(),
                payload.get("userId").is_some()
            );
        }
    }
    a.client.emit("music-take-control", &()).await.unwrap();
    assert_eq!(b.next(BOTH[1]).await["controllerId"], a.id());
}

/// Every change names a socket.
fn client_id(_: &Value, told: &Value) -> Value {
    assert!(
        told["controllerId"]
            .as_str()
            .is_some_and(|id| id.len() == 20)
    );
    told["controllerId"].clone()
}

#[tokio::test]
async fn a_session_nobody_changed_is_joined_in_silence() {
    let pod = TestPod::start(&[]).await;
    let (mut a, mut b) = (pod.client().await, pod.client().await);
    assert!(a.join("s1", Some("alice")).await.is_empty());
    assert!(b.join("s1", Some("bob")).await.is_empty());
    let joined = a.next("user-joined-music").await;
    assert_eq!(
        joined,
        json!({"socketId": b.id(), "userId": "bob", "sessionId": "s1"})
    );
    assert!(b.join("s1", None).await.is_empty());
    let joined = a.next("user-joined-music").await;
    assert_eq!(joined, json!({"socketId": b.id(), "sessionId": "s1"}));
    for payload in [
        json!(null),
        json!({}),
        json!({"session_id": "s1"}),
        json!({"sessionId": {}}),
    ] {
        b.emit("join-music-session", &payload).await;
    }
    assert!(b.drain().await.is_empty());
    assert!(a.drain().await.is_empty());
}

#[tokio::test]
async fn a_newcomer_is_shown_the_state_and_the_dj_is_announced_when_back() {
    let pod = TestPod::start(&[]).await;
    let mut a = pod.client().await;
    a.join("s1", Some("alice")).await;
    a.take("s1", "alice").await;
    a.drain().await;

    let mut b = pod.client().await;
    let shown = b.join("s1", Some("bob")).await;
    let expected = ["music-session-state", "playlist-update", BOTH[0], BOTH[1]];
    assert_eq!(names_of(&shown), expected);
    let state = &shown[0].1;
    assert_eq!(state["controller_id"], "alice");
    assert_eq!(state["currently_playing"], Value::Null);
    assert_eq!(state["is_playing"], false);
    assert_eq!(state["playlist"], json!([]));
    assert_eq!(
        (&state["revision"], &state["from"]),
        (&json!(1), &json!("server"))
    );
    assert_eq!(shown[2].1["controllerId"], "alice");
    assert_eq!(shown[2].1, shown[3].1);

    let mut again = pod.client().await;
    let shown = again.join("s1", Some("alice")).await;
    assert_eq!(
        names_of(&shown),
        [
            BOTH[0],
            BOTH[1],
            "music-session-state",
            "playlist-update",
            BOTH[0],
            BOTH[1]
        ]
    );
    assert_eq!(shown[0].1["reason"], "dj-reconnect");
    assert_eq!(shown[0].1["controllerId"], again.id());
    assert_eq!(shown[2].1["revision"], 2);
    let told = b.next(BOTH[0]).await;
    assert_eq!(
        (&told["reason"], change(&told).0),
        (&json!("dj-reconnect"), 2)
    );

    // The same socket joins again: it hears its return once, like everybody else.
    let shown = again.join("s1", Some("alice")).await;
    let returns = shown
        .iter()
        .filter(|(_, payload)| payload["reason"] == "dj-reconnect");
    assert_eq!(returns.count(), 2);
}

#[tokio::test]
async fn only_the_dj_may_release() {
    let pod = TestPod::start(&[]).await;
    let (mut a, mut b) = (pod.client().await, pod.client().await);
    a.join("s1", Some("alice")).await;
    b.join("s1", Some("bob")).await;
    a.take("s1", "alice").await;
    b.next(BOTH[1]).await;
    a.drain().await;

    b.emit("music-release-control", &json!({"sessionId": "s1"}))
        .await;
    let told = b.drain().await;
    assert_eq!(names_of(&told), BOTH);
    assert_eq!(
        (&told[0].1["userId"], change(&told[0].1).0),
        (&json!("alice"), 1)
    );
    assert!(a.drain().await.is_empty());

    a.emit("music-release-control", &json!({"sessionId": "s1"}))
        .await;
    for client in [&mut a, &mut b] {
        let told = client.next(BOTH[0]).await;
        assert_eq!(told["controllerId"], Value::Null);
        assert_eq!(told["userId"], Value::Null);
        assert_eq!(told["revision"], 2);
    }
    // Nobody is the DJ any more, so there is nothing to release.
    a.drain().await;
    a.emit("music-release-control", &json!({"sessionId": "s1"}))
        .await;
    assert_eq!(a.drain().await[0].1["revision"], 2);
}

#[tokio::test]
async fn the_user_and_the_anonymous_socket_that_took_control_may_release() {
    let pod = TestPod::start(&[]).await;
    let (mut a, b) = (pod.client().await, pod.client().await);
    a.take("s1", "alice").await;
    a.join("s1", None).await;
    b.emit(
        "music-release-control",
        &json!({"sessionId": "s1", "userId": "alice"}),
    )
    .await;
    assert_eq!(a.next(BOTH[0]).await["controllerId"], Value::Null);
    a.emit("music-take-control", &json!({"sessionId": "s1"}))
        .await;
    assert_eq!(a.next(BOTH[0]).await["controllerId"], a.id());
    a.emit("music-release-control", &json!({"sessionId": "s1"}))
        .await;
    assert_eq!(a.next(BOTH[0]).await["controllerId"], Value::Null);
}

#[tokio::test]
async fn a_bad_payload_costs_its_own_event_only() {
    let pod = TestPod::start(&[]).await;
    let mut a = pod.client().await;
    let bad = [
        json!({"sessionId": {"a": 1}}),
        json!({"sessionId": [1]}),
        json!({"sessionId": true}),
        json!({"sessionId": "x".repeat(129)}),
        json!({"sessionId": "s1", "userId": {}}),
        json!({"sessionId": "s1", "userId": "x".repeat(257)}),
    ];
    for event in [
        "join-music-session",
        "music-take-control",
        "music-release-control",
    ] {
        for payload in &bad {
            a.emit(event, payload).await;
        }
    }
    a.emit("nobody-handles-this", &json!(1)).await;
    assert!(a.drain().await.is_empty());
    a.join("s1", None).await;
    a.take("s1", "u").await;
    assert_eq!(change(&a.next(BOTH[0]).await), (1, "u".to_owned()));
}

#[tokio::test]
async fn a_socket_in_many_sessions_leaves_the_first() {
    let pod = TestPod::start(&[]).await;
    let (mut a, mut b) = (pod.client().await, pod.client().await);
    for number in 0..17 {
        a.join(&format!("s{number}"), None).await;
    }
    for session in ["s0", "s1", "s16"] {
        b.join(session, None).await;
        b.take(session, session).await;
        b.drain().await;
    }
    let heard = a.drain().await;
    let users = heard.iter().filter(|(name, _)| name == BOTH[0]);
    let users: Vec<&str> = users
        .filter_map(|(_, payload)| payload["userId"].as_str())
        .collect();
    assert_eq!(users, ["s1", "s16"]);
}

#[tokio::test]
async fn every_request_for_a_media_server_is_answered_with_a_refusal() {
    let pod = TestPod::start(&[]).await;
    let mut client = pod.client().await;
    let payloads = [
        json!(null),
        json!({}),
        json!({"sessionId": "s1", "transportId": "t", "kind": "audio"}),
        json!("no object"),
        json!([[]]),
    ];
    let refused = json!([{"success": false, "error": "mediasoup-disabled"}]);
    for event in [
        "mediasoup-get-rtpCapabilities",
        "mediasoup-create-transport",
        "mediasoup-connect-transport",
        "mediasoup-produce",
        "mediasoup-consume",
        "mediasoup-get-producers",
    ] {
        for payload in &payloads {
            let answer = client.client.emit_with_ack(event, payload, PATIENCE).await;
            let answer = serde_json::to_value(answer.unwrap()).unwrap();
            assert_eq!(answer, refused, "{event} {payload}");
        }
        // Nobody asked for an answer; a text in its place was fatal once.
        client.emit(event, &json!("no function")).await;
    }
    assert!(client.drain().await.is_empty());
}

#[tokio::test]
async fn one_client_cannot_invent_sessions_without_end() {
    let pod = TestPod::start(&[]).await;
    let (mut inventor, mut other) = (pod.client().await, pod.client().await);
    other.take("known", "u").await;
    other.drain().await;
    let committed = || pod.app.metrics().commits(CommitResult::Committed);
    let before = committed();
    for number in 0..NEW_SESSIONS + 5 {
        let session = format!("s{number}");
        match number % 2 {
            0 => inventor.take(&session, "u").await,
            _ => {
                inventor.join(&session, None).await;
                inventor.take(&session, "u").await;
            }
        }
    }
    inventor.drain().await;
    assert_eq!(committed() - before, NEW_SESSIONS as u64);
    // Two of the last five tried twice.
    assert_eq!(pod.app.metrics().refused(Refused::NewSessions), 7);
    let page = get(&pod.admin, METRICS).await.1;
    assert!(page.contains("jamz_refused_total{reason=\"new_sessions\"} 7\n"));
    // What exists is open to it, and to others nothing has changed.
    for session in ["known", "s0"] {
        inventor.join(session, None).await;
        inventor.take(session, "v").await;
        assert_eq!(inventor.next(BOTH[0]).await["userId"], "v");
    }
    inventor
        .client
        .emit("music-take-control", &())
        .await
        .unwrap();
    other.next(BOTH[0]).await;
    other.join("fresh", None).await;
    other.take("fresh", "w").await;
    assert_eq!(other.next(BOTH[0]).await["userId"], "w");
}

#[tokio::test]
async fn a_required_token_keeps_others_out() {
    let settings = [
        (names::SOCKET_AUTH, "required"),
        (names::JWT_SECRET, "secret"),
    ];
    let pod = TestPod::start(&settings).await;
    let Err(refused) = Client::connect(&pod.url, Options::default()).await else {
        panic!("let in without a token");
    };
    assert!(
        refused.to_string().contains("no token in the handshake"),
        "{refused}"
    );
}
