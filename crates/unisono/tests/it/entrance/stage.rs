//! A server whose service notes what it is asked, and clients that ask it in different ways.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Body;
use hyper::ext::ReasonPhrase;
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower_service::Service;
use unisono::{
    AnswerBody, Cors, Io, NotFound, PeerAddr, RequestBody, ResponseBody, SocketIoService,
};

use super::rows::Row;
use crate::raw::{PATIENCE, parse};
use crate::server::namespace;

/// How a request comes to the server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Way {
    /// Behind another request on the same connection: it is hyper's.
    Http,
    /// As the first of its connection, in one piece; then the last one.
    Whole,
    /// In one piece with the last one.
    WithMore,
    /// In two pieces, of which the first ends in the middle of a line.
    InTwo,
}

/// What came of one request: what the service saw, and what the client got until the end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    request: String,
    /// Whether hyper has read it.
    pub(super) by_http: bool,
    answer: String,
    refused: Vec<(&'static str, u64)>,
}

impl Seen {
    /// Whether they differ in nothing but who has read the requests.
    pub(super) fn same(one: &[Self], other: &[Self]) -> bool {
        let blind = |seen: &Self| Self {
            by_http: true,
            ..seen.clone()
        };
        one.len() == other.len() && one.iter().map(blind).eq(other.iter().map(blind))
    }
}

type Noted = Arc<Mutex<Vec<(String, bool)>>>;

/// A layer that notes requests, and changes answers that let a WebSocket in as the request's `x-layer` says.
#[derive(Clone)]
struct Notes<S> {
    inner: S,
    noted: Noted,
}

type Answer = Response<ResponseBody<AnswerBody>>;

impl Service<Request<RequestBody>> for Notes<SocketIoService<NotFound>> {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        self.note(&request);
        let layer = request.headers().get("x-layer").cloned();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                change(layer.as_ref(), &mut answer);
            }
            Ok(answer)
        })
    }
}

impl<S> Notes<S> {
    fn note(&self, request: &Request<RequestBody>) {
        let (body, extensions) = (request.body(), request.extensions());
        let peer = extensions.get::<PeerAddr>().map(|peer| peer.0.ip());
        let text = format!(
            "{} {} {:?} {:?}, {peer:?}, upgrade {}, body {} {:?}",
            request.method(),
            request.uri(),
            request.version(),
            request.headers().iter().collect::<Vec<_>>(),
            extensions.get::<OnUpgrade>().is_some(),
            body.is_end_stream(),
            body.size_hint(),
        );
        let by_http = format!("{body:?}") != "RequestBody(None)";
        self.noted.lock().unwrap().push((text, by_http));
    }
}

fn change(layer: Option<&HeaderValue>, answer: &mut Answer) {
    let value = HeaderValue::from_static;
    let layer = layer.and_then(|layer| layer.to_str().ok());
    match layer.unwrap_or_default() {
        "" => {}
        "cookies" => {
            answer.headers_mut().append("set-cookie", value("b=1"));
            answer.headers_mut().insert("x-odd", value("\t"));
            answer.headers_mut().append("set-cookie", value("a=2"));
        }
        "no sid" => {
            answer.headers_mut().remove("x-unisono-sid");
        }
        "date" => {
            let date = value("Sun, 06 Nov 1994 08:49:37 GMT");
            answer.headers_mut().insert(header::DATE, date);
        }
        "connection" => {
            let more = value("keep-alive");
            answer.headers_mut().append(header::CONNECTION, more);
        }
        "trailer" => {
            answer.headers_mut().insert(header::TRAILER, value("x"));
        }
        "encoding" => {
            let chunked = value("chunked");
            answer
                .headers_mut()
                .insert(header::TRANSFER_ENCODING, chunked);
        }
        "length" => {
            answer
                .headers_mut()
                .insert(header::CONTENT_LENGTH, value("0"));
        }
        "reason" => {
            let reason = ReasonPhrase::from_static(b"Come In");
            answer.extensions_mut().insert(reason);
        }
        "version" => *answer.version_mut() = Version::HTTP_10,
        "body" => *answer.body_mut() = AnswerBody::from("a body").into(),
        "forbidden" => {
            *answer.status_mut() = StatusCode::FORBIDDEN;
            answer.headers_mut().clear();
        }
        other => panic!("no such layer: {other}"),
    }
}

pub(super) struct Stage {
    io: Io,
    port: u16,
    noted: Noted,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Stage {
    pub(super) async fn build() -> Self {
        let io = Io::builder()
            .namespace(namespace("/"))
            .cors(Cors::new(["https://jamz.example"]).credentials(true))
            .allow_request(async |request| match request.headers.get("x-allow") {
                Some(word) if word == "no" => Err("not you".to_owned()),
                // Not at once.
                Some(_) => {
                    tokio::task::yield_now().await;
                    Ok(())
                }
                None => Ok(()),
            })
            .response_headers(|context, headers| {
                let word = HeaderValue::from_str(&context.headers.len().to_string());
                headers.insert("x-hook", word.unwrap());
            })
            .build();
        let noted = Noted::default();
        let service = Notes {
            inner: io.service(),
            noted: noted.clone(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = unisono::serve(listener, service, std::future::pending());
        Self {
            io,
            port,
            noted,
            serving: tokio::spawn(served),
        }
    }

    /// Sends a request, and another one that ends the connection, if the first has not.
    pub(super) async fn play(&self, way: Way, row: &Row) -> Vec<Seen> {
        match way {
            Way::Http => {
                let mut stream = self.connect().await;
                stream.write_all(BEFORE).await.unwrap();
                let mut answer = vec![0; BEFORE_ANSWER];
                stream.read_exact(&mut answer).await.unwrap();
                assert!(answer.starts_with(b"HTTP/1.1 404") && answer.ends_with(b"\r\n\r\n"));
                self.finish(stream, &[&row.bytes], row.until).await
            }
            Way::Whole => {
                let stream = self.connect().await;
                self.finish(stream, &[&row.bytes], row.until).await
            }
            Way::WithMore if row.until.is_empty() => {
                let both = [&row.bytes, LAST].concat();
                self.finish(self.connect().await, &[&both], "").await
            }
            // It has more already.
            Way::WithMore => {
                let stream = self.connect().await;
                self.finish(stream, &[&row.bytes], row.until).await
            }
            Way::InTwo => self.play_cut(row, row.bytes.len().min(9)).await,
        }
    }

    pub(super) async fn play_cut(&self, row: &Row, cut: usize) -> Vec<Seen> {
        let (one, two) = row.bytes.split_at(cut);
        let stream = self.connect().await;
        self.finish(stream, &[one, two], row.until).await
    }

    async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends the pieces, reads `until` something has come, sends the last request and reads what else comes.
    async fn finish(&self, mut stream: TcpStream, pieces: &[&[u8]], until: &str) -> Vec<Seen> {
        self.noted.lock().unwrap().clear();
        let before = self.io.stats();
        let mut answer = Vec::new();
        let playing = async {
            for piece in pieces {
                // The server may have hung up already.
                let _ = stream.write_all(piece).await;
                // The server gets to read it, or not: it is the same.
                tokio::task::yield_now().await;
            }
            while !contains(&answer, until) {
                assert_ne!(stream.read_buf(&mut answer).await?, 0, "more to come");
            }
            if !contains(pieces.concat().as_slice(), "/last") {
                let _ = stream.write_all(LAST).await;
            }
            stream.read_to_end(&mut answer).await
        };
        // An end with something unread is a reset.
        let _ = timeout(PATIENCE, playing).await.expect("an end in time");
        let refused = self.io.stats().refused.into_iter().zip(before.refused);
        let refused = refused
            .map(|((name, after), (_, before))| (name, after - before))
            .filter(|(_, count)| *count > 0)
            .collect();
        let noted = std::mem::take(&mut *self.noted.lock().unwrap());
        let mut seen: Vec<Seen> = noted.into_iter().map(Seen::of).collect();
        if seen.is_empty() {
            seen.push(Seen::of((String::new(), true)));
        }
        seen[0].answer = plain(&answer);
        seen[0].refused = refused;
        seen
    }
}

impl Seen {
    fn of((request, by_http): (String, bool)) -> Self {
        Self {
            request,
            by_http,
            answer: String::new(),
            refused: Vec::new(),
        }
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    text.is_empty()
        || bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
}

const BEFORE: &[u8] = b"GET /before HTTP/1.1\r\nHost: x\r\n\r\n";
const BEFORE_ANSWER: usize =
    "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"
        .len();
/// To a WebSocket it is a frame that breaks the protocol.
const LAST: &[u8] = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// Without what is never the same: ids, and today's date.
fn plain(answer: &[u8]) -> String {
    let mut text = answer.escape_ascii().to_string();
    let head = parse(answer);
    let mut ids: Vec<String> = head
        .header("x-unisono-sid")
        .map(str::to_owned)
        .into_iter()
        .collect();
    for (at, key) in text.match_indices("\\\"sid\\\":\\\"") {
        ids.push(text[at + key.len()..][..20].to_owned());
    }
    for id in ids {
        text = text.replace(&id, "<id>");
    }
    let mut parts = text.split("date: ");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (date, rest) = part.split_at(29);
        let is_date = date.ends_with(" GMT") && date.get(3..5) == Some(", ");
        let date = if date.starts_with("Sun, 06 Nov 1994") {
            date
        } else {
            assert!(is_date, "{date}");
            "<date>"
        };
        plain.push_str("date: ");
        plain.push_str(date);
        plain.push_str(rest);
    }
    plain
}
