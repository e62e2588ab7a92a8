//! The WebSocket side of a session: frames out in one vectored write, frames in from a borrowed buffer.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;
use unisono_proto::ws;

use super::stream::Stream;
use super::unread::Unread;
use crate::dialect::Dialect;
use crate::outgoing::Outgoing;

/// Messages in one write. More do not make a system call noticeably cheaper per message, and the slices live on the stack.
pub(crate) const MAX_SLICES: usize = 64;

/// A WebSocket and what is on its way through it.
#[derive(Debug)]
pub(crate) struct WebSocket {
    stream: Stream,
    pub(crate) decoder: ws::Decoder,
    dialect: Dialect,
    /// Messages taken from the mailbox and not yet written: what one write takes, until the session ends.
    pub(crate) hands: VecDeque<Arc<Outgoing>>,
    /// Bytes of the first message in `hands` that are already written.
    offset: usize,
    pub(crate) unread: Unread,
    pub(crate) blocked: bool,
    /// Written, but a layer below has not passed it on.
    pub(crate) unflushed: bool,
}

impl WebSocket {
    /// `unread` was read from the stream already, `unwritten` goes out before anything else.
    pub(crate) fn new(
        stream: Stream,
        decoder: ws::Decoder,
        dialect: Dialect,
        unread: Vec<u8>,
        unwritten: Vec<u8>,
    ) -> Self {
        let mut hands = VecDeque::new();
        if !unwritten.is_empty() {
            hands.push_back(Outgoing::bytes(unwritten));
        }
        Self {
            stream,
            decoder,
            dialect,
            hands,
            offset: 0,
            unread: unread.into(),
            blocked: false,
            unflushed: false,
        }
    }

    /// Writes all of `hands`, as far as the kernel takes it.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.blocked = false;
        while let Some(first) = self.hands.front() {
            let first = &first.frames(self.dialect)[self.offset..];
            let result = if self.hands.len() == 1 {
                self.stream.poll_write(cx, first)
            } else {
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                slices[0] = IoSlice::new(first);
                let mut count = 1;
                for (slice, message) in slices[1..].iter_mut().zip(self.hands.iter().skip(1)) {
                    *slice = IoSlice::new(message.frames(self.dialect));
                    count += 1;
                }
                self.stream.poll_write_vectored(cx, &slices[..count])
            };
            match result {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => self.advance(n),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.blocked = true;
                    return Poll::Pending;
                }
            }
        }
        let flushed = self.stream.poll_flush(cx);
        self.unflushed = flushed.is_pending();
        self.blocked = self.unflushed;
        flushed
    }

    /// Changes whenever the peer has taken something.
    pub(crate) fn progress(&self) -> (usize, usize) {
        (self.hands.len(), self.offset)
    }

    /// Writes what the kernel takes right now of the first message, whether or not it has said that there is room. `true` if that was
    /// anything: the peer has then taken something since the kernel last refused.
    pub(crate) fn write_unasked(&mut self) -> bool {
        let Some(first) = self.hands.front() else {
            return false;
        };
        let first = &first.frames(self.dialect)[self.offset..];
        // A broken connection shows at the next read.
        let taken = self.stream.write_unasked(first).unwrap_or(0);
        self.advance(taken);
        taken > 0
    }

    fn advance(&mut self, mut n: usize) {
        while let Some(message) = self.hands.front() {
            let left = message.frames(self.dialect).len() - self.offset;
            if n < left {
                self.offset += n;
                return;
            }
            n -= left;
            self.offset = 0;
            self.hands.pop_front();
        }
        // A burst must not leave its queue's memory behind.
        if self.hands.capacity() > MAX_SLICES {
            self.hands = VecDeque::new();
        }
    }

    /// Reads once into `buffer`; `Ok(0)` is the end of the stream.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(buffer);
        match self.stream.poll_read(cx, &mut read) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(read.filled().len())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_shutdown(cx)
    }
}
