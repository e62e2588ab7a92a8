//! Where a connection's request waits for its answer: beside hyper, not inside, so that hyper can be given up meanwhile.

use std::convert::Infallible;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http::{Method, Request, Response, Version, header};
use hyper::body::Body;
use tokio::time::Instant;

type Result<B> = std::result::Result<Response<B>, Infallible>;

/// The desk of one connection. HTTP/1 answers one request at a time, so it has one place.
pub(super) struct Desk<B>(Arc<Mutex<State<B>>>);

struct State<B> {
    place: Place<B>,
    /// Since when the request waits, and its repetition, if it can wait without hyper.
    patient: Option<(Instant, Vec<u8>)>,
    /// What hyper reads next is the repetition of the request that is here already.
    repeated: bool,
    /// A request has been here.
    begun: bool,
}

pub(super) enum Place<B> {
    Empty,
    Working(Pin<Box<dyn Future<Output = Result<B>> + Send>>),
    Done(Result<B>),
}

/// The head that tells a fresh hyper of a request that waits here already. What hyper needs for the answer is in it, word for word: method, version, and
/// whether the connection goes on and trailers are welcome. `None` for a request that only the hyper that read it can answer: one with a body, or an upgrade.
pub(super) fn repetition<B: Body>(request: &Request<B>) -> Option<Vec<u8>> {
    let version = match request.version() {
        Version::HTTP_11 => "1.1",
        Version::HTTP_10 => "1.0",
        _ => return None,
    };
    let headers = request.headers();
    let has_more = !request.body().is_end_stream() || headers.contains_key(header::UPGRADE);
    if has_more || request.method() != Method::GET {
        return None;
    }
    let mut head = format!("GET / HTTP/{version}\r\n").into_bytes();
    for name in [header::CONNECTION, header::TE] {
        for value in headers.get_all(&name) {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
    }
    head.extend_from_slice(b"\r\n");
    Some(head)
}

impl<B> Default for Desk<B> {
    fn default() -> Self {
        Self::of(Place::Empty)
    }
}

impl<B> Clone for Desk<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B> Desk<B> {
    /// With a request, unless it is empty, that hyper has not read and will read next, word for word.
    pub(super) fn of(place: Place<B>) -> Self {
        let begun = !matches!(place, Place::Empty);
        Self(Arc::new(Mutex::new(State {
            place,
            patient: None,
            repeated: begun,
            begun,
        })))
    }

    /// A std mutex, of one task: held for a look or an exchange, never while a service works.
    fn state(&self) -> MutexGuard<'_, State<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether hyper's request is the one that waits here already. Says so once after [`repeat`](Self::repeat).
    pub(super) fn is_repeated(&self) -> bool {
        mem::take(&mut self.state().repeated)
    }

    /// Starts to work out the answer to a request that has just been read. It can wait without hyper if there is a `repetition`.
    pub(super) fn begin(
        &self,
        repetition: Option<Vec<u8>>,
        answer: impl Future<Output = Result<B>> + Send + 'static,
    ) {
        let mut state = self.state();
        state.patient = repetition.map(|head| (Instant::now(), head));
        state.place = Place::Working(Box::pin(answer));
        state.begun = true;
    }

    /// Whether a request has ever been read.
    pub(super) fn has_begun(&self) -> bool {
        self.state().begun
    }

    /// Since when a request waits that can do without hyper.
    pub(super) fn patient_since(&self) -> Option<Instant> {
        self.state().patient.as_ref().map(|(since, _)| *since)
    }

    /// The next hyper gets the request once more: the bytes to let it read. From now on it stays with hyper.
    pub(super) fn repeat(&self) -> Vec<u8> {
        let mut state = self.state();
        let head = state.patient.take().map(|(_, head)| head);
        state.repeated = head.is_some();
        head.unwrap_or_default()
    }

    /// Works on; ready when the answer is there. It stays here.
    pub(super) fn poll_work(&self, cx: &mut Context<'_>) -> Poll<()> {
        let taken = mem::replace(&mut self.state().place, Place::Empty);
        let place = match taken {
            Place::Working(mut work) => match work.as_mut().poll(cx) {
                Poll::Ready(answer) => Place::Done(answer),
                Poll::Pending => Place::Working(work),
            },
            rest => rest,
        };
        let works = matches!(place, Place::Working(_));
        self.state().place = place;
        if works {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    fn poll_answer(&self, cx: &mut Context<'_>) -> Poll<Result<B>> {
        if self.poll_work(cx).is_pending() {
            return Poll::Pending;
        }
        let mut state = self.state();
        match mem::replace(&mut state.place, Place::Empty) {
            Place::Done(answer) => {
                state.patient = None;
                Poll::Ready(answer)
            }
            // Nothing was begun, or hyper asks once more after the answer: it does neither.
            rest => {
                state.place = rest;
                Poll::Pending
            }
        }
    }
}

/// hyper's view of the answer.
pub(super) struct Answer<B>(pub(super) Desk<B>);

impl<B> Future for Answer<B> {
    type Output = Result<B>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_answer(cx)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};

    use super::*;

    fn check(request: http::request::Builder, expected: Option<&str>) {
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        let got = repetition(&request).map(|head| String::from_utf8(head).unwrap());
        assert_eq!(got.as_deref(), expected, "{request:?}");
    }

    #[test]
    fn only_what_can_be_repeated_waits_without_hyper() {
        let get = || Request::get("/x?y").header("host", "z");
        check(get(), Some("GET / HTTP/1.1\r\n\r\n"));
        check(
            get().header("connection", "x, Close"),
            Some("GET / HTTP/1.1\r\nconnection: x, Close\r\n\r\n"),
        );
        check(
            get()
                .version(Version::HTTP_10)
                .header("connection", "a")
                .header("connection", "keep-alive"),
            Some("GET / HTTP/1.0\r\nconnection: a\r\nconnection: keep-alive\r\n\r\n"),
        );
        check(get().header("upgrade", "websocket"), None);
        check(get().version(Version::HTTP_2), None);
        check(get().method(Method::HEAD), None);
        let with_body = get().body(Full::<bytes::Bytes>::from("x")).unwrap();
        assert_eq!(repetition(&with_body), None);
    }
}
