//! A client that polls, within this process: no socket, hence no time but the virtual one.

use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use jamz_server::app::Pod;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower_service::Service;

/// Most bytes of an answer.
const MAX_ANSWER: usize = 1 << 20;

/// Where one packet of a payload ends and the next begins.
const SEPARATOR: char = '\u{1e}';

type Io = unisono::SocketIoService<unisono::NotFound>;

#[derive(Clone)]
pub(super) struct PollingClient {
    io: Io,
    path: String,
    shown: Arc<Mutex<Vec<Shown>>>,
    /// One POST at a time.
    posting: Arc<tokio::sync::Mutex<()>>,
    /// It was let in.
    is_in: watch::Sender<bool>,
    pub(super) pod: usize,
}

/// What a client is told of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) event: String,
    pub(super) revision: u64,
    /// Who is the DJ.
    pub(super) dj: Option<String>,
}

impl PollingClient {
    /// Connects to the pod and listens for as long as that answers.
    pub(super) async fn connect(pod: &Pod, number: usize) -> Self {
        let mut client = Self {
            io: pod.io().service(),
            path: "/socket.io/?EIO=4&transport=polling".to_owned(),
            shown: Arc::default(),
            posting: Arc::default(),
            is_in: watch::Sender::new(false),
            pod: number,
        };
        let opened = client.request(Method::GET, String::new()).await;
        let opened: Value = serde_json::from_str(&opened[1..])
            .unwrap_or_else(|_| panic!("it does not open: {opened}"));
        let sid = opened["sid"].as_str().expect("it has an id");
        client.path = format!("{}&sid={sid}", client.path);
        client.post("40".to_owned()).await;
        tokio::spawn(client.clone().listen());
        let mut is_in = client.is_in.subscribe();
        let _ = is_in.wait_for(|is_in| *is_in).await;
        client
    }

    pub(super) async fn emit(&self, event: &str, payload: &Value) {
        let packet = format!("42{}", json!([event, payload]));
        self.post(packet).await;
    }

    async fn post(&self, packet: String) {
        let _turn = self.posting.lock().await;
        self.request(Method::POST, packet).await;
    }

    pub(super) fn shown(&self) -> Vec<Shown> {
        self.shown.lock().expect("nobody panics here").clone()
    }

    async fn listen(self) {
        loop {
            let payload = self.request(Method::GET, String::new()).await;
            for packet in payload.split(SEPARATOR) {
                match packet.split_at_checked(2) {
                    Some(("40", _)) => drop(self.is_in.send_replace(true)),
                    Some(("42", event)) => self.note(event),
                    _ if packet == "2" => self.post("3".to_owned()).await,
                    _ if packet == "1" || packet.is_empty() => return,
                    _ => {}
                }
            }
        }
    }

    fn note(&self, event: &str) {
        let event: Value = serde_json::from_str(event).expect("it is an event");
        let name = event[0].as_str().unwrap_or_default();
        let dj = match name {
            "music-session-state" => &event[1]["controller_id"],
            "music-control-changed" | "music-controller-changed" => &event[1]["userId"],
            _ => return,
        };
        self.shown.lock().expect("nobody panics here").push(Shown {
            event: name.to_owned(),
            revision: event[1]["revision"].as_u64().expect("it has a revision"),
            dj: dj.as_str().map(str::to_owned),
        });
    }

    async fn request(&self, method: Method, body: String) -> String {
        let request = Request::builder()
            .method(method)
            .uri(&self.path)
            .header("host", "pod");
        let request = request.body(Body::from(body)).expect("it is a request");
        let answer = self.io.clone().call(request).await;
        let Ok(answer) = answer;
        let body = to_bytes(Body::new(answer.into_body()), MAX_ANSWER).await;
        String::from_utf8(body.expect("it ends").to_vec()).expect("it is text")
    }
}
