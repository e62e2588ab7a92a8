//! The stream under HTTP, as long as it is HTTP.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::Handover;

/// A client that takes nothing of an answer for this long does not read it: without an end, each such connection would hold an answer of a
/// megabyte and more for as long as its peer likes. As long as a request's body may take. What counts is the kernel's notice, which comes when
/// a third of its send buffer is free.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the end of the stream is kept from HTTP, which takes it for the client's going away and drops the request at work. `nc` and some
/// probes close their side as soon as they have asked: what can be answered at once is. Not for a poll that waits: it would be answered with events
/// that nobody reads.
const END_PAUSE: Duration = Duration::from_millis(50);

/// A TCP stream that keeps the answer 101 back: it leaves in one segment with the open packet behind it. That is one system call and
/// one wake-up of the client less for each handshake, an eighth of its cost.
pub(crate) struct Switch {
    stream: TcpStream,
    handover: Handover,
    /// What is read before the stream.
    unread: Vec<u8>,
    /// What HTTP wrote after a request left a successor: the head of the 101.
    held: Vec<u8>,
    /// When to give up; set while the kernel takes nothing more.
    blocked: Option<Pin<Box<Sleep>>>,
    /// When to pass on that the client has closed its side; set once it has.
    ended: Option<Pin<Box<Sleep>>>,
}

impl Switch {
    /// `unread` is read before what comes from the stream.
    pub(crate) fn new(stream: TcpStream, handover: Handover, unread: Vec<u8>) -> Self {
        Self {
            stream,
            handover,
            unread,
            held: Vec::new(),
            blocked: None,
            ended: None,
        }
    }

    /// The stream, what is to be read and what is to be written before anything else.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>, Vec<u8>) {
        (self.stream, self.unread, self.held)
    }

    /// Passes the result of a write on; in place of the one that comes too late, an error.
    fn in_time(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.handover.set_blocked(result.is_pending());
        if result.is_ready() {
            self.blocked = None;
            return result;
        }
        let blocked = self
            .blocked
            .get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(blocked.as_mut().poll(cx));
        // Otherwise the kernel would hold on to what is unsent; if the option fails, it does so for a few minutes.
        let _ = self.stream.set_zero_linger();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Switch {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let count = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread[..count]);
            self.unread.drain(..count);
            if self.unread.is_empty() {
                self.unread = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let is_end = buf.filled().len() == before && buf.remaining() > 0;
        if is_end && !self.handover.ends_poll() {
            let ended = self.ended.get_or_insert_with(|| Box::pin(sleep(END_PAUSE)));
            ready!(ended.as_mut().poll(cx));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Switch {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.handover.has_successor() {
            self.held.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.in_time(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.handover.has_successor() {
            bufs.iter().for_each(|buf| self.held.extend_from_slice(buf));
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.in_time(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
