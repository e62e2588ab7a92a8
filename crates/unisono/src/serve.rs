//! A small HTTP server: enough for Socket.IO and a few routes. Any other that serves tower services with hyper will do as well.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tower_service::Service;

use crate::http::{Handover, Life, PeerAddr, Switch};
use crate::session::Stream;

/// A client has this long to send a request's head: a slow-loris holds a descriptor no longer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest head of a request.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Header lines of a request; more than any browser and proxy chain sends.
const MAX_HEADERS: usize = 100;

/// After a failed accept, such as for want of descriptors: trying again at once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What open HTTP requests get to finish after the shutdown. Upgraded WebSockets are not HTTP any more; [`Io::drain`](crate::Io::drain)
/// is for them and comes first.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Serves `service` on `listener` until `shutdown` resolves, then stops accepting and lets open requests finish for a few seconds.
///
/// # Errors
/// The listener's address cannot be read. A failed accept is logged and tried again.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Unpin
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut shutdown = pin!(shutdown);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .half_close(false);
    let (closing, _) = watch::channel(());
    // Nothing is ever sent: the last clone to be dropped says that every connection has ended.
    let (open, mut all_ended) = mpsc::channel::<()>(1);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; check the limit of open files");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        let serve = serve_one(
            http.clone(),
            stream,
            peer,
            service.clone(),
            closing.subscribe(),
            open.clone(),
        );
        tokio::spawn(Life::Http(Box::pin(serve)));
    }
    drop((listener, closing, open));
    if tokio::time::timeout(SHUTDOWN_GRACE, all_ended.recv())
        .await
        .is_err()
    {
        tracing::info!("some http requests did not finish in time");
    }
    Ok(())
}

/// Serves one connection's requests. What it goes on as, if it leaves HTTP.
async fn serve_one<S, B>(
    http: http1::Builder,
    stream: TcpStream,
    peer: SocketAddr,
    service: S,
    mut closes: watch::Receiver<()>,
    _open: mpsc::Sender<()>,
) -> Option<Life>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + Unpin
        + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let handover = Handover::default();
    let left = handover.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let mut service = service.clone();
        request.extensions_mut().insert(PeerAddr(peer));
        request.extensions_mut().insert(left.clone());
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call(request).await
        })
    });
    let mut connection =
        http.serve_connection(TokioIo::new(Switch::new(stream, handover.clone())), service);
    let ended = tokio::select! {
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => ended,
        _ = closes.changed() => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
    };
    let parts = connection.into_parts();
    let (mut stream, unwritten) = parts.io.into_inner().into_parts();
    match (ended, handover.take()) {
        (Ok(()), Some(successor)) => {
            Some(successor.begin(Stream::tcp(stream), parts.read_buf.to_vec(), unwritten))
        }
        (ended, successor) => {
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
