//! What a client sends while its request waits.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::{Client, Slow, get};

#[tokio::test]
async fn requests_are_answered_after_it_in_order() {
    let (parking, release) = Slow::serve().await;
    let mut client = parking.parked(&get("/slow")).await;
    client.send(&get("/next")).await;
    client.send(&get("/last")).await;
    parking.await_unparked().await;
    release.send_replace(true);
    for path in ["/slow", "/next", "/last"] {
        let answer = client.answer().await;
        assert!(answer.ends_with(&format!("\r\n\r\n{path}")), "{answer}");
    }
    assert_eq!(parking.given_up(), 0);
}

#[tokio::test]
async fn requests_that_came_with_it_are_answered_after_it_in_order() {
    let (parking, release) = Slow::serve().await;
    let mut client = parking.connect().await;
    client.send(&(get("/slow") + &get("/next"))).await;
    parking.await_in_flight().await;
    release.send_replace(true);
    for path in ["/slow", "/next"] {
        let answer = client.answer().await;
        assert!(answer.ends_with(&format!("\r\n\r\n{path}")), "{answer}");
    }
}

/// More than the HTTP machinery reads at once when it begins, and less than after a large body.
#[tokio::test]
async fn many_requests_behind_several_that_wait_are_all_answered() {
    let (parking, _release) = Slow::serve().await;
    let mut client = parking.connect().await;
    let body = "x".repeat(12_000);
    let mut expected = vec!["/body".to_owned(), "/late".to_owned(), "/late".to_owned()];
    expected.extend((0..300).map(|n| format!("/next/{n}")));
    let requests: String = expected[1..].iter().map(|path| get(path)).collect();
    let first = format!("POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 12000\r\n\r\n{body}");
    client.send(&(first + &requests)).await;
    for path in expected {
        let answer = client.answer().await;
        assert!(
            answer.ends_with(&format!("\r\n\r\n{path}")),
            "{path}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_part_of_a_request_is_kept_for_the_rest_of_it() {
    let (parking, release) = Slow::serve().await;
    let next = get("/next");
    let (first, second) = next.split_at(9);
    let mut client = parking.parked(&get("/slow")).await;
    client.send(first).await;
    parking.await_unparked().await;
    release.send_replace(true);
    assert!(client.answer().await.ends_with("/slow"));
    client.send(second).await;
    assert!(client.answer().await.ends_with("/next"));
}

/// More than the kernels of both sides buffer.
const FLOOD: usize = 64 << 20;
/// Nothing more is taken if nothing was for this long.
const STUCK: Duration = Duration::from_millis(500);

/// How much a client can send before nobody takes more of it.
async fn flood(client: &mut Client) -> usize {
    let requests = get("/next").repeat(1000);
    let mut sent = 0;
    while sent < FLOOD {
        match timeout(STUCK, client.0.write(requests.as_bytes())).await {
            // Half a request may be the last thing that went out: nothing is sent after it.
            Ok(written) => sent += written.unwrap(),
            Err(_) => break,
        }
    }
    sent
}

#[tokio::test]
async fn a_flood_is_not_read() {
    let (parking, release) = Slow::serve().await;
    let mut client = parking.parked(&get("/slow")).await;
    let sent = flood(&mut client).await;
    assert!(sent < FLOOD, "all of it was taken");
    release.send_replace(true);
    assert!(client.answer().await.ends_with("/slow"));
    assert!(client.answer().await.ends_with("/next"));
}
