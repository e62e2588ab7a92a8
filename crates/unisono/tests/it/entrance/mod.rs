//! The first request of a connection: a WebSocket may be let in without hyper, and nobody may notice.

mod ends;
mod rows;
mod stage;

use std::collections::BTreeMap;

use stage::{Seen, Stage, Way};

/// The request of a stock client, in bytes.
const PLAIN: &str = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n\
                     Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// `Connect`, then a text that is echoed, masked with zeros: what a client may send without having read the answer.
const FRAMES: &[u8] = b"\x81\x82\0\0\0\x0040\x81\x91\0\0\0\x0042[\"message\",123]";

/// What comes back.
const ECHO: &str = "[\"message-back\",123]";

#[tokio::test]
async fn every_request_gets_the_same_answer_either_way() {
    let stage = Stage::build().await;
    let mut differences = BTreeMap::new();
    for row in rows::all() {
        let http = stage.play(Way::Http, &row).await;
        assert!(http.iter().all(|seen| seen.by_http), "{}", row.name);
        for way in [Way::Whole, Way::WithMore, Way::InTwo] {
            let other = stage.play(way, &row).await;
            // In two pieces it depends on what the server gets to read at first.
            if way != Way::InTwo {
                let is_quick = !other[0].by_http;
                assert_eq!(is_quick, row.is_quick, "{}, {way:?}", row.name);
            }
            if !Seen::same(&http, &other) {
                differences.insert(format!("{} {way:?}", row.name), (http.clone(), other));
            }
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

/// A head may be cut anywhere.
#[tokio::test]
async fn a_head_in_two_pieces_gets_the_same_answer() {
    let stage = Stage::build().await;
    let whole = [PLAIN.as_bytes(), FRAMES].concat();
    let row = rows::all().into_iter().find(|row| row.bytes == whole);
    let row = row.expect("a row with frames");
    let expected = stage.play(Way::Http, &row).await;
    for cut in 1..whole.len() {
        let got = stage.play_cut(&row, cut).await;
        assert!(Seen::same(&expected, &got), "{cut}: {expected:?} {got:?}");
    }
}
