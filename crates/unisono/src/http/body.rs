//! The body of an answer: bytes, of which many are handed over in pieces, so that whoever waits for the next request sees them go.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::conn::Conn;

/// Bytes of a piece. The HTTP server takes a few ahead of what the client has taken; more of them would only wake the session more often.
const PIECE_BYTES: usize = 16 * 1024;

/// The body of an answer to a Socket.IO request. Its length is known from the start.
#[derive(Debug, Default)]
pub struct AnswerBody {
    bytes: Bytes,
    /// Whom to tell of each piece that is taken.
    session: Option<Arc<Conn>>,
}

impl AnswerBody {
    /// A body that is longer than a piece tells the session how it gets on.
    pub(crate) fn told_to(mut self, session: &Arc<Conn>) -> Self {
        if self.bytes.len() > PIECE_BYTES {
            self.session = Some(session.clone());
        }
        self
    }
}

impl<B: Into<Bytes>> From<B> for AnswerBody {
    fn from(bytes: B) -> Self {
        Self {
            bytes: bytes.into(),
            session: None,
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let mut len = self.bytes.len();
        if let Some(session) = &self.session {
            len = len.min(PIECE_BYTES);
            session.with(|mail| {
                if let Some(polling) = &mut mail.polling {
                    polling.progress = true;
                }
            });
        }
        Poll::Ready(Some(Ok(Frame::data(self.bytes.split_to(len)))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

pin_project! {
    /// The body of an answer of [`SocketIoService`](super::SocketIoService): to a Socket.IO request, or what the service inside has answered.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        whose: Whose<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = WhoseProjected]
    enum Whose<B> {
        Ours { body: AnswerBody },
        Inner { #[pin] body: B },
    }
}

impl<B> ResponseBody<B> {
    pub(super) fn inner(body: B) -> Self {
        Self {
            whose: Whose::Inner { body },
        }
    }
}

/// For layers that answer in place of what they wrap.
impl<B> From<AnswerBody> for ResponseBody<B> {
    fn from(body: AnswerBody) -> Self {
        Self {
            whose: Whose::Ours { body },
        }
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().whose.project() {
            WhoseProjected::Ours { body } => {
                let frame = Pin::new(body).poll_frame(cx);
                frame.map_err(|never: Infallible| match never {})
            }
            WhoseProjected::Inner { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.whose {
            Whose::Ours { body } => body.is_end_stream(),
            Whose::Inner { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.whose {
            Whose::Ours { body } => body.size_hint(),
            Whose::Inner { body } => body.size_hint(),
        }
    }
}
