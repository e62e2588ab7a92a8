//! Requests that wait for long: `unisono::serve` gives its HTTP machinery up meanwhile, and nobody may notice.

mod answers;
mod deadlines;
mod ends;
mod input;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Body;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower_service::Service;
use unisono::{PeerAddr, RequestBody};

use crate::hostile::until;
use crate::raw::PATIENCE;

type Answering<B> = Pin<Box<dyn Future<Output = Result<Response<B>, Infallible>> + Send>>;

/// Copies of a service while nobody is connected: the test's and the listener's.
const COPIES_AT_REST: usize = 2;
/// While its only connection waits alone: the connection's and that of the request at work, too. HTTP machinery would hold one more.
const COPIES_WHILE_PARKED: usize = COPIES_AT_REST + 2;

/// Counts its copies and what goes on in the service behind it.
struct Watched<S> {
    inner: S,
    copies: Arc<()>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Requests that have not been answered yet.
    in_flight: AtomicUsize,
    /// Requests that were dropped before they had an answer.
    given_up: AtomicUsize,
    /// Copies that were ever made.
    copied: AtomicUsize,
}

impl<S: Clone> Clone for Watched<S> {
    fn clone(&self) -> Self {
        self.seen.copied.fetch_add(1, Relaxed);
        Self {
            inner: self.inner.clone(),
            copies: self.copies.clone(),
            seen: self.seen.clone(),
        }
    }
}

struct Flight {
    seen: Arc<Seen>,
    is_answered: bool,
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.is_answered {
            self.seen.given_up.fetch_add(1, Relaxed);
        }
        self.seen.in_flight.fetch_sub(1, Relaxed);
    }
}

impl<S, B> Service<Request<RequestBody>> for Watched<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Answering<B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        self.seen.in_flight.fetch_add(1, Relaxed);
        let flight = Flight {
            seen: self.seen.clone(),
            is_answered: false,
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            // All of it is moved, not only the field that is used.
            let mut flight = flight;
            let answer = answer.await;
            flight.is_answered = true;
            answer
        })
    }
}

/// A server whose requests are watched; it stops when dropped.
struct Parking {
    port: u16,
    copies: Arc<()>,
    seen: Arc<Seen>,
    shutdown: Option<oneshot::Sender<()>>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Drop for Parking {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Parking {
    async fn of<S, B>(inner: S) -> Self
    where
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + Unpin + 'static,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (copies, seen) = (Arc::default(), Arc::<Seen>::default());
        let service = Watched {
            inner,
            copies: Arc::clone(&copies),
            seen: seen.clone(),
        };
        let (shutdown, stop) = oneshot::channel::<()>();
        let stop = async move {
            stop.await.ok();
        };
        Self {
            port,
            copies,
            seen,
            shutdown: Some(shutdown),
            serving: tokio::spawn(unisono::serve(listener, service, stop)),
        }
    }

    async fn connect(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await;
        Client(stream.unwrap())
    }

    /// A client whose kernel takes little.
    async fn connect_narrowly(&self) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let server = ([127, 0, 0, 1], self.port).into();
        Client(socket.connect(server).await.unwrap())
    }

    /// A client whose request waits alone.
    async fn parked(&self, head: &str) -> Client {
        let mut client = self.connect().await;
        client.send(head).await;
        self.await_parked().await;
        client
    }

    fn copies(&self) -> usize {
        Arc::strong_count(&self.copies)
    }

    fn copied(&self) -> usize {
        self.seen.copied.load(Relaxed)
    }

    fn in_flight(&self) -> usize {
        self.seen.in_flight.load(Relaxed)
    }

    fn given_up(&self) -> usize {
        self.seen.given_up.load(Relaxed)
    }

    async fn await_in_flight(&self) {
        until("the request has arrived", || self.in_flight() == 1).await;
    }

    /// Until the only connection's request waits alone.
    async fn await_parked(&self) {
        until("the request is parked", || {
            self.in_flight() == 1 && self.copies() == COPIES_WHILE_PARKED
        })
        .await;
    }

    /// Until the connection's HTTP machinery is there again.
    async fn await_unparked(&self) {
        until("the request is with HTTP", || {
            self.copies() > COPIES_WHILE_PARKED
        })
        .await;
    }

    /// Until nobody is connected.
    async fn await_rest(&self) {
        until("the connections are gone", || {
            self.copies() == COPIES_AT_REST
        })
        .await;
    }
}

struct Client(TcpStream);

impl Client {
    async fn close_side(&mut self) {
        self.0.shutdown().await.unwrap();
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// The next answer's head.
    async fn head(&mut self) -> String {
        let reading = async {
            let mut text = Vec::new();
            while !text.ends_with(b"\r\n\r\n") {
                text.push(self.0.read_u8().await.expect("more to come"));
            }
            String::from_utf8(text).unwrap()
        };
        timeout(PATIENCE, reading).await.expect("an answer in time")
    }

    /// The next answer, with its body.
    async fn answer(&mut self) -> String {
        let head = self.head().await;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        let reading = timeout(PATIENCE, self.0.read_exact(&mut body)).await;
        reading.expect("a body in time").unwrap();
        head + &String::from_utf8(body).unwrap()
    }

    /// Everything until the end.
    async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let reading = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await;
        // If something was sent to a connection that has ended, its end is a reset.
        let _ = reading.expect("an end in time");
        String::from_utf8(rest).unwrap()
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
}

/// Answers with the path, when released if that begins with `/slow`, after a while if with `/late`.
#[derive(Clone)]
struct Slow(watch::Receiver<bool>);

/// Longer than a request waits inside of the HTTP machinery.
const LATE: Duration = Duration::from_millis(100);

/// So large that no kernel takes all of it.
const LARGE: usize = 8 << 20;

impl Slow {
    async fn serve() -> (Parking, watch::Sender<bool>) {
        let (release, released) = watch::channel(false);
        (Parking::of(Self(released)).await, release)
    }
}

impl Service<Request<RequestBody>> for Slow {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Answering<Full<Bytes>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let mut released = self.0.clone();
        let path = request.uri().path().to_owned();
        let peer = request.extensions().get::<PeerAddr>().copied();
        Box::pin(async move {
            if path.starts_with("/slow") {
                released.wait_for(|released| *released).await.ok();
            }
            if path.starts_with("/late") {
                tokio::time::sleep(LATE).await;
            }
            assert!(!path.ends_with("/panic"), "a service may panic");
            let body = if path.ends_with("/large") {
                Bytes::from(vec![b'x'; LARGE])
            } else {
                path.into()
            };
            let mut answer = Response::new(Full::from(body));
            let peer = peer.expect("the peer's address").0.ip().to_string();
            answer.headers_mut().insert("x-peer", peer.parse().unwrap());
            // Its body, which nobody has read, has been there until now.
            drop(request);
            Ok(answer)
        })
    }
}
