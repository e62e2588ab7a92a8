//! The deadlines of a connection whose request has waited alone are those of any other.

use std::time::Instant;

use super::{Client, LARGE, Parking, Slow, get};
use crate::hostile::{Frozen, second, until};
use crate::raw::PATIENCE;

/// Seconds for the head of a request.
const HEAD: u32 = 10;
/// Seconds in which a client must take something of an answer.
const WRITE: u32 = 30;

/// A client whose request waits alone, on a clock that stands still.
async fn parked(parking: &Parking, path: &str, mut client: Client) -> Client {
    client.send(&get(path)).await;
    parking.await_in_flight().await;
    second().await;
    parking.await_parked().await;
    client
}

/// Seconds until nobody is connected.
async fn seconds_to_rest(parking: &Parking) -> u32 {
    let start = Instant::now();
    let mut seconds = 0;
    while parking.copies() > super::COPIES_AT_REST {
        assert!(start.elapsed() < PATIENCE, "still connected");
        second().await;
        seconds += 1;
    }
    seconds
}

#[tokio::test]
async fn the_next_head_has_its_time() {
    let _frozen = Frozen::begin();
    let (parking, release) = Slow::serve().await;
    for beginning in ["", "GET /ne"] {
        release.send_replace(false);
        let client = parking.connect().await;
        let mut client = parked(&parking, "/slow", client).await;
        release.send_replace(true);
        assert!(client.answer().await.ends_with("/slow"));
        client.send(beginning).await;
        let seconds = seconds_to_rest(&parking).await;
        assert!((HEAD - 1..=HEAD + 1).contains(&seconds), "{seconds}");
        assert_eq!(client.rest().await, "");
    }
}

#[tokio::test]
async fn an_answer_that_nobody_takes_ends_the_connection() {
    let _frozen = Frozen::begin();
    let (parking, release) = Slow::serve().await;
    let client = parking.connect_narrowly().await;
    let client = parked(&parking, "/slow/large", client).await;
    release.send_replace(true);
    until("the answer begins", || {
        client.0.try_read(&mut [0; 16]).is_ok()
    })
    .await;
    let seconds = seconds_to_rest(&parking).await;
    assert!((WRITE - 1..=WRITE + 1).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn what_is_unwritten_of_the_answer_before_it_is_not_lost() {
    let _frozen = Frozen::begin();
    let (parking, release) = Slow::serve().await;
    let mut client = parking.connect_narrowly().await;
    // An answer before the body is read is what makes hyper read on before the answer is out.
    let early =
        "POST /large HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc";
    client.send(&(early.to_owned() + &get("/slow"))).await;
    // The second request is with HTTP, which will not ask for its answer yet.
    parking.await_unparked().await;
    // It has waited for long enough, but not alone.
    second().await;
    second().await;
    let large = client.answer().await;
    assert_eq!(large.len() - large.find("\r\n\r\n").unwrap() - 4, LARGE);
    second().await;
    second().await;
    parking.await_parked().await;
    release.send_replace(true);
    assert!(client.answer().await.ends_with("/slow"));
}
