//! A client that leaves, a server that does, and a service that fails, while a request waits.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use unisono::{DisconnectReason, Io, Namespace};

use super::{Parking, Slow, get};
use crate::hostile::until;
use crate::raw::{PATIENCE, open, poll, post};

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let (parking, _release) = Slow::serve().await;
    drop(parking.parked(&get("/slow")).await);
    parking.await_rest().await;
    assert_eq!((parking.in_flight(), parking.given_up()), (0, 1));
}

#[tokio::test]
async fn a_poll_that_is_given_up_ends_the_session() {
    let (ended, mut end) = mpsc::unbounded_channel();
    let namespace = Namespace::new("/").on_disconnect(move |reason: DisconnectReason| {
        ended.send(reason).unwrap();
        async {}
    });
    let io = Io::builder().namespace(namespace).build();
    let parking = Parking::of(io.service()).await;
    let sid = joined(&parking).await;
    drop(parking.parked(&poll_of(&sid)).await);
    let reason = timeout(PATIENCE, end.recv()).await.unwrap();
    // What Node says of it, too.
    assert_eq!(reason, Some(DisconnectReason::TransportError));
    until("the session is gone", || {
        io.stats().connections_polling == 0
    })
    .await;
    assert_eq!(poll(parking.port, &sid).await.status, 400);
}

/// Otherwise events would go out to nobody for as long as the end is kept from HTTP, and the session would go on without them.
#[tokio::test]
async fn a_poll_whose_client_has_closed_its_side_is_given_up_at_once() {
    let io = Io::builder().namespace(Namespace::new("/")).build();
    let parking = Parking::of(io.service()).await;
    let sid = joined(&parking).await;
    let mut parked = parking.parked(&poll_of(&sid)).await;
    parked.close_side().await;
    assert_eq!(post(parking.port, &sid, "42[\"e\"]").await.status, 400);
    let sid = joined(&parking).await;
    let mut fresh = parking.connect().await;
    fresh.send(&poll_of(&sid)).await;
    fresh.close_side().await;
    assert_eq!(post(parking.port, &sid, "42[\"e\"]").await.status, 400);
}

#[tokio::test]
async fn a_drain_answers_it() {
    let io = Io::builder().namespace(Namespace::new("/")).build();
    let parking = Parking::of(io.service()).await;
    let sid = joined(&parking).await;
    let mut client = parking.parked(&poll_of(&sid)).await;
    assert!(io.drain(PATIENCE).await, "somebody was left");
    let answer = client.answer().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n1"), "{answer}");
}

#[tokio::test]
async fn a_shutdown_lets_it_finish() {
    let (mut parking, release) = Slow::serve().await;
    let mut client = parking.parked(&get("/slow")).await;
    let copied = parking.copied();
    parking.shutdown.take().unwrap().send(()).unwrap();
    // The connection has heard of it: there is HTTP machinery again, while the listener's copy is gone.
    until("the request is with HTTP", || parking.copied() > copied).await;
    release.send_replace(true);
    let answer = client.answer().await;
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.ends_with("/slow"), "{answer}");
    assert_eq!(client.rest().await, "");
    let served = timeout(PATIENCE, &mut parking.serving).await;
    served.expect("an end in time").unwrap().unwrap();
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_it_for_ever() {
    let (mut parking, _release) = Slow::serve().await;
    let _client = parking.parked(&get("/slow")).await;
    parking.shutdown.take().unwrap().send(()).unwrap();
    let limit = PATIENCE + Duration::from_secs(5);
    let served = timeout(limit, &mut parking.serving).await;
    served.expect("an end in time").unwrap().unwrap();
}

#[tokio::test]
async fn a_service_that_panics_ends_its_connection_only() {
    let (parking, release) = Slow::serve().await;
    let mut client = parking.parked(&get("/slow/panic")).await;
    release.send_replace(true);
    assert_eq!(client.rest().await, "");
    parking.await_rest().await;
    let mut other = parking.connect().await;
    other.send(&get("/next")).await;
    assert!(other.answer().await.ends_with("/next"));
}

/// A session that has joined the main namespace, and whose connections are gone.
async fn joined(parking: &Parking) -> String {
    let sid = open(parking.port).await;
    assert_eq!(post(parking.port, &sid, "40").await.body, "ok");
    assert!(poll(parking.port, &sid).await.body.starts_with("40{"));
    parking.await_rest().await;
    sid
}

fn poll_of(sid: &str) -> String {
    get(&format!("/socket.io/?EIO=4&transport=polling&sid={sid}"))
}
