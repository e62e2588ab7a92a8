//! Plain Engine.IO: packets, and those that are none.

use unisono_proto::ws::Opcode;

use super::{SEPARATOR, Session, engine_socket, start};
use crate::raw::Frame;

#[tokio::test]
async fn texts_and_bytes_come_back_over_polling_in_order() {
    let server = start().await;
    let session = Session::engine(&server).await;
    let body = ["4hello", "bAQIDBA==", "4€", "4", "b"].join(&SEPARATOR.to_string());
    assert_eq!(session.post(&body).await.body, "ok");
    let mut echoed = session.get().await.body;
    while echoed.len() < body.len() {
        echoed.push(SEPARATOR);
        echoed.push_str(&session.get().await.body);
    }
    assert_eq!(echoed, body);
}

#[tokio::test]
async fn texts_and_bytes_come_back_over_a_websocket_in_order() {
    let server = start().await;
    let mut socket = engine_socket(&server).await;
    socket.send("4hello").await;
    socket.send_frame(Opcode::Binary, &[1, 2, 3, 4]).await;
    socket.send("4€").await;
    socket.send_frame(Opcode::Binary, &[]).await;
    assert_eq!(socket.text().await, "4hello");
    assert_eq!(socket.next().await, Frame::Binary(vec![1, 2, 3, 4]));
    assert_eq!(socket.text().await, "4€");
    assert_eq!(socket.next().await, Frame::Binary(Vec::new()));
}

#[tokio::test]
async fn a_message_of_the_largest_size_passes_and_one_byte_more_does_not() {
    let server = start().await;
    let mut socket = engine_socket(&server).await;
    let largest = format!("4{}", "x".repeat(999_999));
    socket.send(&largest).await;
    assert_eq!(socket.text().await, largest);
    socket.send(&format!("{largest}x")).await;
    assert_eq!(socket.until_end().await, [Frame::Close(Some(1009))]);
}

#[tokio::test]
async fn a_post_that_is_too_large_costs_itself_alone() {
    let server = start().await;
    let session = Session::engine(&server).await;
    let too_large = format!("4{}", "x".repeat(1_000_000));
    let refused = session.post(&too_large).await;
    assert_eq!((refused.status, &*refused.body), (413, ""));
    session.post("4small").await;
    assert_eq!(session.get().await.body, "4small");
}

#[tokio::test]
async fn a_packet_that_is_none_ends_the_session_over_polling() {
    let server = start().await;
    for body in ["abc", "", "9", "b*", "\u{1e}4a", "0{}"] {
        let session = Session::engine(&server).await;
        assert_eq!(session.post(body).await.body, "ok", "{body}");
        session.is_gone().await;
    }
}

#[tokio::test]
async fn a_packet_that_is_none_ends_a_websocket() {
    let server = start().await;
    for text in ["abc", "", "9", "0{}"] {
        let mut socket = engine_socket(&server).await;
        socket.send(text).await;
        assert_eq!(socket.until_end().await, [Frame::Close(None)], "{text}");
    }
}

#[tokio::test]
async fn a_body_of_bytes_ends_the_session() {
    let server = start().await;
    let session = Session::engine(&server).await;
    let headers = "Content-Type: application/octet-stream\r\n";
    let refused = session.request("POST", headers, "4a").await;
    assert_eq!((refused.status, &*refused.body), (400, ""));
    session.is_gone().await;
}

#[tokio::test]
async fn other_methods_are_answered_and_change_nothing() {
    let server = start().await;
    let session = Session::engine(&server).await;
    for method in ["PUT", "DELETE", "PATCH"] {
        let answer = session.request(method, "", "").await;
        assert_eq!((answer.status, &*answer.body), (500, ""), "{method}");
    }
    session.post("4still").await;
    assert_eq!(session.get().await.body, "4still");
}
