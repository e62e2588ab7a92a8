use std::time::Duration;

use tokio::net::TcpListener;
use unisono_client::{Client, ConnectError, Options, Value};

use super::PATIENCE;
use super::peer::Listener;

#[tokio::test]
async fn brings_namespace_credentials_headers_and_query() {
    let listener = Listener::bind().await;
    let url = format!("{}/?room=1", listener.url);
    let auth = Value::Map(vec![("token".to_owned(), Value::from("t"))]);
    let options = Options::default()
        .namespace("/chat")
        .path("/io/")
        .auth(auth)
        .header("Origin", "https://a.b");
    let server = async {
        let mut peer = listener.open().await;
        assert!(
            peer.head
                .starts_with("GET /io/?EIO=4&transport=websocket&room=1 HTTP/1.1\r\n"),
            "{}",
            peer.head
        );
        assert_eq!(peer.header("origin"), "https://a.b");
        assert_eq!(format!("http://{}", peer.header("host")), listener.url);
        peer.expect(r#"40/chat,{"token":"t"}"#).await;
        peer.send(r#"40/chat,{"sid":"here"}"#).await;
        peer
    };
    let (client, _peer) = tokio::join!(Client::connect(&url, options), server);
    assert_eq!(client.unwrap().0.id(), "here");
}

#[tokio::test]
async fn tells_why_a_namespace_refused() {
    let listener = Listener::bind().await;
    let server = async {
        let mut peer = listener.open().await;
        peer.expect("40").await;
        peer.send(r#"44{"message":"no","data":{"code":7}}"#).await;
        peer
    };
    let (refused, _peer) = tokio::join!(Client::connect(&listener.url, Options::default()), server);
    let error = refused.unwrap_err();
    assert_eq!(error.to_string(), "refused by the server: no");
    assert!(!error.is_transient());
    let ConnectError::Refused { data, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(data.get("code"), Some(&Value::Int(7)));
}

async fn check_status(status: &str, is_transient: bool) {
    let listener = Listener::bind().await;
    let (refused, ()) = tokio::join!(
        Client::connect(&listener.url, Options::default()),
        listener.refuse(status)
    );
    let error = refused.unwrap_err();
    assert!(matches!(error, ConnectError::Handshake(_)), "{error:?}");
    assert_eq!(error.is_transient(), is_transient, "{status}");
}

#[tokio::test]
async fn tells_a_refusal_from_a_server_that_is_not_ready() {
    check_status("400 Bad Request", false).await;
    check_status("503 Service Unavailable", true).await;
}

#[tokio::test]
async fn does_not_wait_for_ever() {
    let listener = Listener::bind().await;
    let options = Options::default().connect_timeout(Duration::from_millis(50));
    let (silent, _stream) = tokio::join!(
        Client::connect(&listener.url, options.clone()),
        listener.accept()
    );
    assert!(matches!(silent, Err(ConnectError::Timeout)), "{silent:?}");
    let (half, _peer) = tokio::join!(Client::connect(&listener.url, options), listener.open());
    assert!(
        matches!(half, Err(ConnectError::Timeout | ConnectError::Closed(_))),
        "{half:?}"
    );
}

#[tokio::test]
async fn tries_again_until_the_server_is_there() {
    let listener = Listener::bind().await;
    let server = async {
        listener.refuse("503 Service Unavailable").await;
        drop(listener.accept().await);
        listener.join().await
    };
    let (client, _peer) = tokio::join!(
        Client::connect_within(&listener.url, Options::default(), PATIENCE),
        server
    );
    client.unwrap();
}

#[tokio::test]
async fn gives_up_when_nobody_comes() {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{free}");
    let gone = Client::connect_within(&url, Options::default(), Duration::from_millis(100)).await;
    assert!(matches!(gone, Err(ConnectError::Io(_))), "{gone:?}");
    let tls = Client::connect_within("https://example.com", Options::default(), PATIENCE).await;
    assert!(
        tls.unwrap_err()
            .to_string()
            .starts_with("TLS is not supported by this client yet")
    );
}
