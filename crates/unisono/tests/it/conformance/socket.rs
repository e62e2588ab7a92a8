//! Socket.IO: joining, leaving, events and acknowledgements.

use serde_json::{Value, json};
use unisono_proto::ws::Opcode;

use super::{SEPARATOR, Session, socket_io, start};
use crate::examples::Example;
use crate::raw::{Frame, RawSocket};

/// Joins a namespace and reads the greeting; `nsp` as it stands in packets, with its comma.
async fn join(server: &Example, nsp: &str) -> RawSocket {
    let mut socket = socket_io(server).await;
    socket.send(&format!("40{nsp}")).await;
    is_joined(&socket.text().await, nsp);
    assert_eq!(socket.text().await, format!("42{nsp}[\"auth\",{{}}]"));
    socket
}

/// Asserts that the answer to CONNECT has an id and nothing else. Returns the id.
fn is_joined(packet: &str, nsp: &str) -> String {
    let payload = packet.strip_prefix(&format!("40{nsp}")).expect(packet);
    let payload: Value = serde_json::from_str(payload).unwrap();
    let sid = payload["sid"].as_str().expect(packet).to_owned();
    assert_eq!(payload, json!({ "sid": sid }));
    sid
}

#[tokio::test]
async fn the_main_namespace_is_joined_without_a_payload_and_with_one() {
    let server = start().await;
    let mut socket = socket_io(&server).await;
    socket.send("40{\"token\":\"123\"}").await;
    is_joined(&socket.text().await, "");
    assert_eq!(socket.text().await, r#"42["auth",{"token":"123"}]"#);
    join(&server, "").await;
}

#[tokio::test]
async fn a_custom_namespace_is_joined_with_and_without_its_comma() {
    let server = start().await;
    join(&server, "/custom,").await;
    let mut socket = socket_io(&server).await;
    socket.send("40/custom").await;
    is_joined(&socket.text().await, "/custom,");
    assert_eq!(socket.text().await, "42/custom,[\"auth\",{}]");
    let mut socket = socket_io(&server).await;
    socket.send("40/custom,{\"token\":\"abc\"}").await;
    is_joined(&socket.text().await, "/custom,");
    let greeting = r#"42/custom,["auth",{"token":"abc"}]"#;
    assert_eq!(socket.text().await, greeting);
}

#[tokio::test]
async fn a_namespace_that_there_is_not_is_refused() {
    let server = start().await;
    let mut socket = socket_io(&server).await;
    for nsp in ["/random", "/custom?token=1", "/Custom"] {
        socket.send(&format!("40{nsp},")).await;
        let refused = format!("44{nsp},{{\"message\":\"Invalid namespace\"}}");
        assert_eq!(socket.text().await, refused);
    }
}

#[tokio::test]
async fn the_id_of_a_socket_is_not_that_of_its_session() {
    let server = start().await;
    let session = Session::socket(&server).await;
    session.post("40").await;
    let packets = session.get().await.body;
    let connected = packets.split(SEPARATOR).next().unwrap();
    assert_ne!(is_joined(connected, ""), session.sid);
}

#[tokio::test]
async fn polling_and_websocket_have_the_same_packets() {
    let server = start().await;
    let session = Session::socket(&server).await;
    session.post("40").await;
    let (connected, greeting) = {
        let body = session.get().await.body;
        let (connected, greeting) = body.split_once(SEPARATOR).expect(&body);
        (connected.to_owned(), greeting.to_owned())
    };
    is_joined(&connected, "");
    assert_eq!(greeting, "42[\"auth\",{}]");
    session.post("42[\"message\",1,\"2\",{\"3\":[true]}]").await;
    let back = r#"42["message-back",1,"2",{"3":[true]}]"#;
    assert_eq!(session.get().await.body, back);
}

#[tokio::test]
async fn whoever_joins_nothing_is_closed() {
    let server = start().await;
    let mut socket = socket_io(&server).await;
    // A refusal is no joining.
    socket.send("40/random,").await;
    socket.text().await;
    // Its pings are answered, so it is not their deadline that passes.
    let end = loop {
        match socket.next().await {
            Frame::Text(ping) if ping == "2" => socket.send("3").await,
            end => break end,
        }
    };
    assert_eq!(end, Frame::Close(None));
}

#[tokio::test]
async fn whoever_leaves_keeps_the_connection() {
    let server = start().await;
    for nsp in ["", "/custom"] {
        let comma = if nsp.is_empty() { "" } else { "," };
        let mut socket = join(&server, &format!("{nsp}{comma}")).await;
        socket.send(&format!("41{nsp}")).await;
        assert_eq!(socket.text().await, "2", "{nsp}");
        socket.send("3").await;
        socket.send("40").await;
        is_joined(&socket.text().await, "");
    }
}

#[tokio::test]
async fn events_come_back_with_all_their_arguments() {
    let server = start().await;
    let mut socket = join(&server, "").await;
    socket.send(r#"42["message",1,"2",{"3":[true]}]"#).await;
    let back = r#"42["message-back",1,"2",{"3":[true]}]"#;
    assert_eq!(socket.text().await, back);
    socket.send(r#"42["message"]"#).await;
    assert_eq!(socket.text().await, r#"42["message-back"]"#);
}

#[tokio::test]
async fn bytes_among_arguments_stay_bytes() {
    let server = start().await;
    let mut socket = join(&server, "").await;
    let placeholders =
        r#"{"_placeholder":true,"num":0},"2",{"deep":{"_placeholder":true,"num":1}}"#;
    socket
        .send(&format!("452-[\"message\",{placeholders}]"))
        .await;
    socket.send_frame(Opcode::Binary, &[1, 2, 3]).await;
    socket.send_frame(Opcode::Binary, &[4, 5, 6]).await;
    let back = format!("452-[\"message-back\",{placeholders}]");
    assert_eq!(socket.text().await, back);
    assert_eq!(socket.next().await, Frame::Binary(vec![1, 2, 3]));
    assert_eq!(socket.next().await, Frame::Binary(vec![4, 5, 6]));
}

#[tokio::test]
async fn acknowledgements_carry_all_arguments_and_bytes() {
    let server = start().await;
    let mut socket = join(&server, "").await;
    socket
        .send(r#"42456["message-with-ack",1,"2",{"3":[false]}]"#)
        .await;
    assert_eq!(socket.text().await, r#"43456[1,"2",{"3":[false]}]"#);
    socket
        .send(r#"451-789["message-with-ack",{"_placeholder":true,"num":0}]"#)
        .await;
    socket.send_frame(Opcode::Binary, &[7, 8, 9]).await;
    let answer = r#"461-789[{"_placeholder":true,"num":0}]"#;
    assert_eq!(socket.text().await, answer);
    assert_eq!(socket.next().await, Frame::Binary(vec![7, 8, 9]));
}

#[tokio::test]
async fn packets_that_are_none_end_the_connection() {
    let server = start().await;
    for packet in [
        "4abc",
        "4",
        "42{}",
        "42abc[\"message\"]",
        "42[]",
        "42[\"message\"",
        "40",
        "42/custom,[\"message\"]",
        "42[\"connect\"]",
    ] {
        let mut socket = join(&server, "").await;
        socket.send(packet).await;
        assert_eq!(socket.until_end().await, [Frame::Close(None)], "{packet}");
    }
}

#[tokio::test]
async fn oddities_that_node_tolerates_are_tolerated() {
    let server = start().await;
    let mut socket = join(&server, "").await;
    for odd in ["42", "430", "43999[1]", "42[\"nobody listens\",1]"] {
        socket.send(odd).await;
        socket.send("42[\"message\"]").await;
        assert_eq!(socket.text().await, "42[\"message-back\"]", "{odd}");
    }
}
