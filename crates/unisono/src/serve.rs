//! A small HTTP server: enough for Socket.IO and a few routes. Any other that serves tower services with hyper will do as well.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tower_service::Service;

use crate::http::PeerAddr;

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
pub async fn serve<S, B>(listener: TcpListener, service: S, shutdown: impl Future<Output = ()>) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
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
        let service = service.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let mut service = service.clone();
            async move {
                request.extensions_mut().insert(PeerAddr(peer));
                poll_fn(|cx| service.poll_ready(cx)).await?;
                service.call(request).await
            }
        });
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut closes = closing.subscribe();
        let open = open.clone();
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = &mut connection => ended,
                _ = closes.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "http connection ended");
            }
            drop(open);
        });
    }
    drop((listener, closing, open));
    if tokio::time::timeout(SHUTDOWN_GRACE, all_ended.recv()).await.is_err() {
        tracing::info!("some http requests did not finish in time");
    }
    Ok(())
}
