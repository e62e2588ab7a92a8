use tokio::time::timeout;
use unisono_client::{Client, CloseReason, EmitError, Event, Options};
use unisono_proto::ws::Opcode;

use super::peer::Listener;
use super::{PATIENCE, connected};

#[tokio::test]
async fn says_goodbye() {
    let (client, mut events, mut peer) = connected().await;
    let clone = client.clone();
    client.close().await;
    for word in ["1", "close", "end"] {
        peer.expect(word).await;
    }
    assert_eq!(events.next().await, Some(Event::Closed(CloseReason::Local)));
    assert_eq!(events.next().await, None);
    assert!(clone.is_closed());
    assert!(matches!(clone.emit("x", &()).await, Err(EmitError::Closed)));
}

#[tokio::test]
async fn ends_with_its_last_handle() {
    let (client, _events, mut peer) = connected().await;
    drop(client);
    peer.expect("1").await;
}

#[tokio::test]
async fn tells_a_kick_from_a_broken_connection() {
    let (_client, mut events, mut peer) = connected().await;
    peer.send("41").await;
    assert_eq!(events.next().await, Some(Event::Disconnected));
    assert_eq!(events.next().await, Some(Event::Closed(CloseReason::Local)));

    let (client, mut events, peer) = connected().await;
    let waiting = tokio::spawn(async move { client.emit_with_ack("x", &(), PATIENCE).await });
    drop(peer);
    assert_eq!(
        events.next().await,
        Some(Event::Closed(CloseReason::Transport))
    );
    assert!(matches!(waiting.await.unwrap(), Err(EmitError::Closed)));
}

#[tokio::test]
async fn ends_when_the_server_breaks_the_protocol() {
    let (_client, mut events, mut peer) = connected().await;
    peer.send("42{}").await;
    assert_eq!(
        events.next().await,
        Some(Event::Closed(CloseReason::Protocol))
    );

    let (_client, mut events, mut peer) = connected().await;
    peer.frame(Opcode::Text, b"\xff").await;
    assert_eq!(
        events.next().await,
        Some(Event::Closed(CloseReason::Transport))
    );
}

#[tokio::test]
async fn notices_a_server_that_has_gone_silent() {
    let listener = Listener::bind().await;
    let open =
        r#"0{"sid":"e","upgrades":[],"pingInterval":30,"pingTimeout":20,"maxPayload":1000000}"#;
    let server = async {
        let mut peer = listener.open_with(open).await;
        peer.expect("40").await;
        peer.send(r#"40{"sid":"s"}"#).await;
        peer
    };
    let (client, _peer) = tokio::join!(Client::connect(&listener.url, Options::default()), server);
    let (_client, mut events) = client.unwrap();
    let event = timeout(PATIENCE, events.next()).await.unwrap();
    assert_eq!(event, Some(Event::Closed(CloseReason::PingTimeout)));
}
