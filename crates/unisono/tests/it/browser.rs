//! What only a browser does: it keeps pages of foreign origins out, carries cookies, has Blobs, leaves a page without a word.

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use unisono::{Ack, Cookie, Cors, DisconnectReason, Io, IoBuilder, Namespace, Socket};
use unisono_test::{Conversation, await_until};

use crate::raw::PATIENCE;
use crate::relay::Relay;
use crate::server::{TestServer, namespace};

const TRANSPORTS: [&[&str]; 3] = [&["websocket"], &["polling"], &["polling", "websocket"]];

/// A server that lets in the page's origin, and the page.
async fn start(configure: impl FnOnce(IoBuilder) -> IoBuilder) -> (TestServer, Conversation) {
    let page = Conversation::browser_clients().await;
    let server = TestServer::serve(configure(open_to(&page)).build()).await;
    (server, page)
}

fn open_to(page: &Conversation) -> IoBuilder {
    let origin = page.ready["origin"].as_str().unwrap();
    Io::builder().cors(Cors::new([origin]).credentials(true))
}

/// Opens a client on the page; what it says when it is in or why it is not.
async fn open(
    page: &mut Conversation,
    client: &str,
    url: &str,
    transports: &[&str],
    options: Value,
) -> Result<Value, String> {
    let fields =
        json!({ "client": client, "url": url, "transports": transports, "options": options });
    page.try_command("open", fields).await
}

#[tokio::test]
async fn a_page_of_a_foreign_origin_is_refused_and_sees_an_error() {
    let (server, mut page) = start(|io| io.namespace(namespace("/"))).await;
    let url = server.url();
    let other = page.ready["other_origin"].clone();
    page.command("visit", json!({ "url": other })).await;
    for (index, (transports, error)) in TRANSPORTS
        .into_iter()
        .zip(["websocket error", "xhr poll error", "xhr poll error"])
        .enumerate()
    {
        let options = json!({ "reconnection": false });
        let client = format!("c{index}");
        let refused = open(&mut page, &client, &url, transports, options).await;
        assert_eq!(refused, Err(error.to_owned()), "{transports:?}");
        assert_eq!(server.refused("origin"), index as u64 + 1, "{transports:?}");
    }
    let stats = server.io.stats();
    assert_eq!(
        (stats.connections_polling, stats.connections_websocket),
        (0, 0)
    );
    let origin = page.ready["origin"].clone();
    page.command("visit", json!({ "url": origin })).await;
    for (index, transports) in TRANSPORTS.into_iter().enumerate() {
        let client = format!("c{index}");
        let opened = open(&mut page, &client, &url, transports, json!({})).await;
        opened.unwrap();
    }
}

/// Tells a client which cookies came with its handshake.
fn cookies() -> Namespace {
    Namespace::new("/").on("cookies", async |socket: Socket, ack: Ack| {
        ack.send(&socket.handshake().header("cookie").unwrap_or_default())
            .unwrap();
    })
}

async fn cookies_of(page: &mut Conversation, client: &str) -> String {
    let told = page.emit_ack(client, "cookies", json!([])).await;
    told[0].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_cookie_of_a_handshake_comes_back_where_credentials_may() {
    let (server, mut page) = start(|io| io.namespace(cookies()).cookie(Cookie::default())).await;
    let url = server.url();
    let with = || json!({ "withCredentials": true });
    open(&mut page, "first", &url, &["polling"], with())
        .await
        .unwrap();
    assert_eq!(cookies_of(&mut page, "first").await, "");
    // No script reads it, that of the page neither, whose host is the server's.
    let read = json!({ "expression": "document.cookie" });
    assert_eq!(page.command("evaluate", read).await, "");
    open(&mut page, "second", &url, &["polling"], with())
        .await
        .unwrap();
    let carried = cookies_of(&mut page, "second").await;
    let sid = carried
        .strip_prefix("io=")
        .expect("the cookie of the first handshake");
    assert_eq!(sid.len(), 20, "{carried}");
    // Without credentials an XHR carries none, and keeps none that it gets. A WebSocket carries them always.
    open(&mut page, "without", &url, &["polling"], json!({}))
        .await
        .unwrap();
    assert_eq!(cookies_of(&mut page, "without").await, "");
    open(&mut page, "socket", &url, &["websocket"], json!({}))
        .await
        .unwrap();
    let carried_now = cookies_of(&mut page, "socket").await;
    assert!(
        carried_now.starts_with("io=") && carried_now != carried,
        "{carried_now}"
    );
}

#[tokio::test]
async fn credentials_that_are_not_allowed_stop_at_the_browser() {
    let mut page = Conversation::browser_clients().await;
    let origin = page.ready["origin"].as_str().unwrap().to_owned();
    let server = TestServer::with(|io| io.cors(Cors::new([origin]))).await;
    let options = json!({ "withCredentials": true, "reconnection": false });
    let refused = open(&mut page, "a", &server.url(), &["polling"], options).await;
    assert_eq!(refused, Err("xhr poll error".to_owned()));
    // It is the page that may not read the answer.
    assert_eq!(server.refused("origin"), 0);
    open(&mut page, "b", &server.url(), &["polling"], json!({}))
        .await
        .unwrap();
}

/// Sends a Blob and an ArrayBuffer, gets them back, and says what came as which bytes; with `blob`, the engine hands binary on as Blobs.
const ECHO_BINARY: &str = "(url, transports, binaryType) => new Promise((resolve, reject) => {
  const socket = io(url, { transports, forceNew: true, reconnection: false });
  socket.on('connect_error', reject);
  socket.on('connect', () => {
    socket.io.engine.binaryType = binaryType;
    const bytes = (...values) => new Uint8Array(values);
    socket.emit('echo', new Blob([bytes(0, 1, 254, 255)]), { deep: [bytes(7).buffer, bytes(8, 9)] }, new Blob([]));
  });
  socket.on('echo', async (...args) => {
    const tell = async (value) => [value.constructor.name, [...new Uint8Array(await new Response(value).arrayBuffer())].join()];
    resolve(await Promise.all([args[0], ...args[1].deep, args[2]].map(tell)));
    socket.disconnect();
  });
})";

#[tokio::test]
async fn blobs_and_buffers_pass_both_ways() {
    let (server, mut page) = start(|io| io.namespace(namespace("/"))).await;
    for transports in TRANSPORTS {
        for (binary_type, class) in [("arraybuffer", "ArrayBuffer"), ("blob", "Blob")] {
            let (url, transports) = (json!(server.url()), json!(transports));
            let expression = format!(
                "({ECHO_BINARY})({url}, {transports}, {})",
                json!(binary_type)
            );
            let got = page
                .command("evaluate", json!({ "expression": expression }))
                .await;
            let expected = json!([
                [class, "0,1,254,255"],
                [class, "7"],
                [class, "8,9"],
                [class, ""]
            ]);
            assert_eq!(got, expected, "{transports} {binary_type}");
        }
    }
}

/// The handlers of the other tests, and the reasons for which sockets went.
fn watched() -> (Namespace, UnboundedReceiver<&'static str>) {
    let (sender, gone) = unbounded_channel();
    let watched = namespace("/").on_disconnect(move |reason: DisconnectReason| {
        let _ = sender.send(reason.as_str());
        std::future::ready(())
    });
    (watched, gone)
}

#[tokio::test]
async fn a_page_that_is_reloaded_leaves_once_and_comes_back() {
    let (namespace, mut gone) = watched();
    let (server, mut page) = start(|io| io.namespace(namespace)).await;
    let relay = Relay::start(server.port).await;
    for (transports, reason) in
        TRANSPORTS
            .into_iter()
            .zip(["transport close", "transport error", "transport close"])
    {
        let upgrades = server.io.stats().upgrades;
        open(&mut page, "a", &relay.url(), transports, json!({}))
            .await
            .unwrap();
        match transports {
            // Between two polls the browser has nothing to break off.
            ["polling"] => relay.polled().await,
            ["polling", "websocket"] => {
                let upgraded = || server.io.stats().upgrades > upgrades;
                await_until("the upgrade", PATIENCE, upgraded).await;
            }
            _ => {}
        }
        page.command("reload", json!({})).await;
        // The new page knows nothing of the clients of the old one.
        open(&mut page, "a", &relay.url(), transports, json!({}))
            .await
            .unwrap();
        assert_eq!(gone.recv().await, Some(reason), "{transports:?}");
        assert_eq!(
            page.emit_ack("a", "message-with-ack", json!([1])).await,
            json!([1])
        );
        let one = || server.io.stats().sockets == 1;
        await_until("the new page is alone", PATIENCE, one).await;
        page.command("close", json!({ "client": "a" })).await;
        assert_eq!(gone.recv().await, Some("client namespace disconnect"));
        assert!(gone.is_empty(), "a socket went twice");
    }
}

#[tokio::test]
async fn a_page_comes_back_to_a_server_that_was_restarted() {
    let (mut server, mut page) = start(|io| io.namespace(namespace("/"))).await;
    for (index, transports) in TRANSPORTS.into_iter().enumerate() {
        let client = format!("c{index}");
        let delays = json!({ "reconnectionDelay": 50, "reconnectionDelayMax": 50 });
        open(&mut page, &client, &server.url(), transports, delays)
            .await
            .unwrap();
    }
    await_until("the upgrade", PATIENCE, || server.io.stats().upgrades == 1).await;
    assert!(server.io.drain(PATIENCE).await, "somebody was left");
    let port = server.stop().await;
    server = TestServer::serve_on(port, open_to(&page).namespace(namespace("/")).build()).await;
    for index in 0..3 {
        let client = format!("c{index}");
        let back = |event: &Value| event["event"] == "reconnect" && event["client"] == *client;
        page.event_where(back).await;
        let answer = page
            .emit_ack(&client, "message-with-ack", json!([index]))
            .await;
        assert_eq!(answer, json!([index]));
    }
    assert_eq!(server.io.stats().sockets, 3);
}
