//! A fresh connection. Nearly all that matter are clients that want a WebSocket: where the first read brings the whole of such a request and the service lets
//! it in at once, the connection goes on as that, and has never met hyper, which costs more than all of the rest of a handshake together.
//!
//! Anything else is hyper's from the first byte on. It gets the same bytes to read; if the service is at work on the request already, it finds that at
//! the desk.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Body;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tower_service::Service;

use super::body::RequestBody;
use super::desk::{Desk, Place};
use super::{HEAD_TIMEOUT, Line, head, work};
use crate::http::{Handover, Life};
use crate::session::{Stream, with_scratch};

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
    /// Waits for the client to say something; nothing is held for it until then.
    pub(super) async fn enter(mut self, mut stream: TcpStream) -> Option<Life> {
        // In a box: whatever comes next goes on with it.
        let mut deadline = Box::pin(sleep(HEAD_TIMEOUT));
        let read = tokio::select! {
            biased;
            read = first_read(&mut stream) => read,
            () = self.is_closing() => return hang_up(stream).await,
            () = deadline.as_mut() => return hang_up(stream).await,
        };
        let handover = Handover::default();
        let mut place = Place::Empty;
        if let Some((request, len)) = head::read(&read) {
            let answer = work(self.service.clone(), request, &handover, self.peer);
            let mut answer = Box::pin(answer);
            // Once: whoever has to wait does so in hyper, which notices when the client goes away.
            place = match poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx))).await {
                Poll::Pending => Place::Working(answer),
                Poll::Ready(Ok(answer)) => {
                    if let Some(head) = head::write(&answer)
                        && let Some(successor) = handover.take()
                    {
                        let unread = read[len..].to_vec();
                        let stream = Stream::Tcp(stream);
                        return Some(successor.begin(stream, unread, head, Some(deadline)));
                    }
                    Place::Done(Ok(answer))
                }
            };
        }
        let desk = Desk::of(place);
        let http = self.serve(stream, desk, handover, read.into(), Some(deadline));
        Some(Life::Http(Box::pin(http)))
    }
}

/// What the client has sent first. Nothing, if that was the end or an error: hyper meets it again.
async fn first_read(stream: &mut TcpStream) -> Bytes {
    poll_fn(|cx| {
        with_scratch(|buffer| {
            let mut read = ReadBuf::new(buffer);
            // The same either way.
            let _ = ready!(Pin::new(&mut *stream).poll_read(cx, &mut read));
            Poll::Ready(Bytes::copy_from_slice(read.filled()))
        })
    })
    .await
}

async fn hang_up(mut stream: TcpStream) -> Option<Life> {
    // The peer may be gone already.
    let _ = stream.shutdown().await;
    None
}
