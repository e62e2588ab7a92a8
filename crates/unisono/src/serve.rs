//! A small HTTP server: enough for Socket.IO and a few routes. Any other that serves tower services with hyper will do as well.
//!
//! A long poll waits for most of its life, and hyper holds 16 KiB of buffers for a connection whatever it does. A GET that has waited for a moment therefore
//! waits alone: hyper is given up, and a fresh one brings the answer out (`Line::park`).
//!
//! A client that wants a WebSocket and says so at once does not meet hyper at all (`Line::enter`).

mod accepting;
mod body;
mod desk;
mod entrance;
mod head;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};
use tower_service::Service;

use crate::http::{Handover, Life, PeerAddr, Switch};
use crate::session::Stream;
use accepting::Accepting;
pub use body::RequestBody;
use desk::{Answer, Desk};

/// A client has this long to send a request's head: a slow-loris holds a descriptor no longer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest head of a request.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Header lines of a request; more than any browser and proxy chain sends.
const MAX_HEADERS: usize = 100;

/// What open HTTP requests get to finish after the shutdown. Upgraded WebSockets are not HTTP any more; [`Io::drain`](crate::Io::drain)
/// is for them and comes first.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// A GET that has waited for this long waits without hyper. Of 10,000 clients that come at once it is what they hold at a time that decides about memory:
/// after a second 13.1 KiB each, after this 5.8, at once 5.4. A poll that is answered sooner, as on a busy session, is spared a second hyper.
const PARK_AFTER: Duration = Duration::from_millis(50);

/// Read from a client whose request waits alone, before hyper comes back to read the rest: enough to know that there is something.
const FIRST_BYTES: usize = 64;

/// Serves `service` on `listener` until `shutdown` resolves, then stops accepting and lets open requests finish for a few seconds.
///
/// A WebSocket that `service` serves by means of hyper's upgrades, such as a route with axum's `WebSocketUpgrade`, is refused by that as no upgrade: this server
/// has none for anything but Socket.IO and Engine.IO.
///
/// # Errors
/// The listener's address cannot be read. A failed accept is logged and tried again.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Unpin
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .half_close(false);
    let http = Arc::new(http);
    let (closing, closes) = watch::channel(false);
    let mut accepting = Accepting::begin(listener, move |stream, peer| {
        let line = Line {
            http: http.clone(),
            service: service.clone(),
            peer,
            closes: closes.clone(),
        };
        tokio::spawn(Life::Http(Box::pin(line.enter(stream))));
    });
    tokio::select! {
        () = shutdown => {}
        () = accepting.go_on() => {}
    }
    drop(accepting);
    closing.send_replace(true);
    // Each connection has a receiver until it has ended.
    if tokio::time::timeout(SHUTDOWN_GRACE, closing.closed())
        .await
        .is_err()
    {
        tracing::info!("some http requests did not finish in time");
    }
    Ok(())
}

/// One connection, whatever serves it at the moment.
struct Line<S> {
    http: Arc<http1::Builder>,
    service: S,
    peer: SocketAddr,
    /// Whether the server shuts down. Held until the connection has ended.
    closes: watch::Receiver<bool>,
}

/// Why hyper has been left.
enum Left {
    Ended(hyper::Result<()>),
    /// Its request waits, and can do so without it.
    Parked,
}

impl<S, B> Line<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Unpin
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Serves the connection's requests. What it goes on as, if it leaves HTTP. `unread` is read before what comes from the stream; `deadline` is that of the
    /// first head, if none was read yet.
    async fn serve(
        mut self,
        stream: TcpStream,
        desk: Desk<B>,
        handover: Handover,
        unread: Vec<u8>,
        mut deadline: Option<Pin<Box<Sleep>>>,
    ) -> Option<Life> {
        let io = Switch::new(stream, handover.clone(), unread);
        let service = service_fn(self.service(&desk, &handover));
        let mut connection = self.http.serve_connection(TokioIo::new(io), service);
        let mut closing = false;
        let mut timer = pin!(sleep(PARK_AFTER));
        let left = loop {
            let serving = poll_fn(|cx| {
                if let Poll::Ready(ended) = connection.poll_without_shutdown(cx) {
                    return Poll::Ready(Left::Ended(ended));
                }
                if desk.has_begun() {
                    deadline = None;
                }
                if let Some(deadline) = &mut deadline
                    && deadline.as_mut().poll(cx).is_ready()
                {
                    return Poll::Ready(Left::Ended(Ok(())));
                }
                if closing {
                    return Poll::Pending;
                }
                poll_patience(&desk, &handover, timer.as_mut(), cx).map(|()| Left::Parked)
            });
            tokio::select! {
                // In this order: a request that was parked must be read before hyper hears of the end.
                biased;
                left = serving => break left,
                () = self.is_closing(), if !closing => {
                    closing = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
            }
        };
        let parts = connection.into_parts();
        let (mut stream, mut behind, unwritten) = parts.io.into_inner().into_parts();
        let mut unread = parts.read_buf.to_vec();
        unread.append(&mut behind);
        match (left, handover.take()) {
            (Left::Parked, _) => Some(Life::Http(self.park(stream, desk, handover, unread))),
            (Left::Ended(Ok(())), Some(successor)) => {
                Some(successor.begin(Stream::Tcp(stream), unread, unwritten, None))
            }
            (Left::Ended(ended), successor) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "http connection ended");
                }
                if let Some(successor) = successor {
                    successor.abandon();
                }
                // The peer may be gone already.
                let _ = stream.shutdown().await;
                None
            }
        }
    }

    /// What hyper calls for each request.
    fn service(
        &self,
        desk: &Desk<B>,
        handover: &Handover,
    ) -> impl Fn(Request<Incoming>) -> Answer<B> + use<S, B> {
        let (service, desk, handover, peer) = (
            self.service.clone(),
            desk.clone(),
            handover.clone(),
            self.peer,
        );
        move |request: Request<Incoming>| {
            if !desk.is_repeated() {
                let mut request = request.map(RequestBody::from);
                // The connection is not hyper's to give, and one that has not met hyper has none either.
                request.extensions_mut().remove::<OnUpgrade>();
                let repetition = desk::repetition(&request);
                let answer = work(service.clone(), request, &handover, peer);
                desk.begin(repetition, answer);
            }
            Answer(desk.clone())
        }
    }

    /// Waits for the answer without hyper. Whatever comes first, the answer, more input, the client's end or the shutdown, is for a fresh hyper.
    fn park(
        mut self,
        mut stream: TcpStream,
        desk: Desk<B>,
        handover: Handover,
        unread: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Option<Life>> + Send>> {
        Box::pin(async move {
            let mut unread = unread;
            if unread.is_empty() {
                unread = self.wait(&mut stream, &desk).await;
            }
            let mut input = desk.repeat();
            input.append(&mut unread);
            let http = self.serve(stream, desk, handover, input, None);
            Some(Life::Http(Box::pin(http)))
        })
    }

    /// Until there is something for hyper to do: what was read meanwhile.
    async fn wait(&mut self, stream: &mut TcpStream, desk: &Desk<B>) -> Vec<u8> {
        let waiting = poll_fn(|cx| {
            let mut bytes = [0; FIRST_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *stream).poll_read(cx, &mut read) {
                // Nothing, if it was the end or an error: hyper meets it again.
                Poll::Ready(_) => Poll::Ready(read.filled().to_vec()),
                Poll::Pending => desk.poll_work(cx).map(|()| Vec::new()),
            }
        });
        tokio::select! {
            read = waiting => read,
            () = self.is_closing() => Vec::new(),
        }
    }
}

impl<S> Line<S> {
    /// Waits for the server's shutdown, or until nobody is there any more to shut it down.
    async fn is_closing(&mut self) {
        let _ = self.closes.wait_for(|closing| *closing).await;
    }
}

/// What the service makes of a request.
fn work<S, B>(
    mut service: S,
    mut request: Request<RequestBody>,
    handover: &Handover,
    peer: SocketAddr,
) -> impl Future<Output = Result<Response<B>, Infallible>> + use<S, B>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
{
    let handover = handover.clone();
    request.extensions_mut().insert(PeerAddr(peer));
    request.extensions_mut().insert(handover.clone());
    async move {
        poll_fn(|cx| service.poll_ready(cx)).await?;
        let answer = service.call(request).await?;
        // A layer of the application may have put another answer in place of the 101.
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS
            && let Some(successor) = handover.take()
        {
            successor.abandon();
        }
        Ok(answer)
    }
}

/// Ready when a request has waited for long enough to wait without hyper, and hyper has nothing left to write.
fn poll_patience<B>(
    desk: &Desk<B>,
    handover: &Handover,
    mut timer: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    // One timer for all requests: it may be early for the current one, never late.
    while let Some(since) = desk.patient_since() {
        ready!(timer.as_mut().poll(cx));
        let now = Instant::now();
        let due = since + PARK_AFTER;
        if due > now {
            timer.as_mut().reset(due);
        } else if handover.is_blocked() {
            // A pipelining client has not taken the answer before this one yet.
            timer.as_mut().reset(now + PARK_AFTER);
        } else {
            return Poll::Ready(());
        }
    }
    Poll::Pending
}
