use std::time::Duration;

use unisono_client::{CloseReason, EmitError, Event, Value};
use unisono_proto::value::Binary;
use unisono_proto::ws::Opcode;

use super::{PATIENCE, connected};

#[tokio::test]
async fn spreads_tuples_into_arguments() {
    let (client, _events, mut peer) = connected().await;
    client.emit("none", &()).await.unwrap();
    client.emit("one", "text").await.unwrap();
    client.emit("two", &(1, vec![true])).await.unwrap();
    client
        .emit("binary", &Binary(b"\x00\x01".to_vec().into()))
        .await
        .unwrap();
    for text in [
        r#"42["none"]"#,
        r#"42["one","text"]"#,
        r#"42["two",1,[true]]"#,
    ] {
        peer.expect(text).await;
    }
    peer.expect(r#"451-["binary",{"_placeholder":true,"num":0}]"#)
        .await;
    assert_eq!(peer.next().await, [0, 1]);
}

#[tokio::test]
async fn hears_events_in_order_and_answers() {
    let (client, mut events, mut peer) = connected().await;
    peer.send(r#"42["a",1,"x"]"#).await;
    peer.send(r#"451-7["b",{"_placeholder":true,"num":0}]"#)
        .await;
    peer.frame(Opcode::Binary, b"\xff").await;
    let Some(Event::Message(a)) = events.next().await else {
        panic!("no message")
    };
    assert_eq!(
        (a.name.as_str(), a.args, a.ack),
        ("a", vec![Value::Int(1), Value::from("x")], None)
    );
    let b = events.message("b").await.unwrap();
    assert_eq!(b.data(), &Value::Bin(b"\xff".to_vec().into()));
    client.answer(b.ack.unwrap(), &("yes", 2)).await.unwrap();
    peer.expect(r#"437["yes",2]"#).await;
}

#[tokio::test]
async fn awaits_acknowledgements() {
    let (client, _events, mut peer) = connected().await;
    let late = client
        .emit_with_ack("late", &(), Duration::from_millis(20))
        .await;
    assert!(matches!(late, Err(EmitError::Timeout)), "{late:?}");
    peer.expect(r#"420["late"]"#).await;
    let server = async {
        peer.expect(r#"421["ask",5]"#).await;
        peer.send("430[]").await;
        peer.send(r#"431["answer"]"#).await;
    };
    let (answer, ()) = tokio::join!(client.emit_with_ack("ask", &5, PATIENCE), server);
    assert_eq!(answer.unwrap(), [Value::from("answer")]);
}

#[tokio::test]
async fn answers_both_kinds_of_ping() {
    let (_client, _events, mut peer) = connected().await;
    peer.send("2").await;
    peer.expect("3").await;
    peer.frame(Opcode::Ping, b"frame").await;
    peer.expect("frame").await;
}

#[tokio::test]
async fn loses_nothing_while_nobody_takes_events() {
    const MANY: i64 = 5_000;
    let (client, mut events, mut peer) = connected().await;
    let padding = "x".repeat(1000);
    let server = tokio::spawn(async move {
        for number in 0..MANY {
            peer.send(&format!(r#"42["n",{number},"{padding}"]"#)).await;
        }
        peer
    });
    // Commands are obeyed meanwhile.
    client.emit("here", &()).await.unwrap();
    for number in 0..MANY {
        assert_eq!(
            events.message("n").await.unwrap().data(),
            &Value::Int(number)
        );
    }
    let mut peer = server.await.unwrap();
    peer.expect(r#"42["here"]"#).await;
    client.close().await;
    assert_eq!(events.next().await, Some(Event::Closed(CloseReason::Local)));
}

#[tokio::test]
async fn goes_on_when_nobody_listens() {
    let (client, events, mut peer) = connected().await;
    drop(events);
    for _ in 0..2_000 {
        peer.send(r#"42["n"]"#).await;
    }
    let server = async {
        peer.expect(r#"420["ask"]"#).await;
        peer.send("430[]").await;
    };
    let (answer, ()) = tokio::join!(client.emit_with_ack("ask", &(), PATIENCE), server);
    assert_eq!(answer.unwrap(), []);
}
