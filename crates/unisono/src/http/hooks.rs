//! Where the application has a say in HTTP: whether a handshake is let in, and what stands in the head of an answer.

use std::fmt;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use tokio::time::timeout;
use unisono_proto::engine::{Rejection, Sid, parse_query};

use super::answer::{self, Answer};
use super::handshake::SID_HEADER;
use super::request::refuse;
use crate::server::Server;
use crate::stats::Refusal;

/// How long `allow_request` may think: a stock client gives up after twenty seconds, and a look-up that takes five will not end well.
const ALLOW_REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The request that wants to open a session, for [`allow_request`](crate::Builder::allow_request).
///
/// Its `Debug` form leaves the query and the headers out: credentials are in them.
#[derive(Clone)]
#[non_exhaustive]
pub struct HandshakeRequest {
    /// `GET`.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The client's address, as [`Handshake::client_address`](crate::Handshake::client_address) gives it.
    pub client_address: Option<IpAddr>,
}

impl fmt::Debug for HandshakeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeRequest")
            .field("path", &self.uri.path())
            .field("client_address", &self.client_address)
            .finish_non_exhaustive()
    }
}

/// What an answer answers, for [`response_headers`](crate::Builder::response_headers).
///
/// Its `Debug` form leaves the query, the headers and the session out: they open what they name.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct ResponseContext<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The request's path and query.
    pub uri: &'a Uri,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The answer's status.
    pub status: StatusCode,
    /// Whether it opens a session (Node's `initial_headers`).
    pub is_handshake: bool,
    /// The session it belongs to. `None` for whatever is refused without one.
    pub sid: Option<&'a str>,
}

impl fmt::Debug for ResponseContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseContext")
            .field("method", self.method)
            .field("path", &self.uri.path())
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

type AllowRequest = Box<
    dyn Fn(HandshakeRequest) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>>
        + Send
        + Sync,
>;

type ResponseHeaders = Box<dyn Fn(&ResponseContext<'_>, &mut HeaderMap) + Send + Sync>;

/// What the application wants to be asked. Mostly nothing.
#[derive(Default)]
pub(crate) struct Hooks {
    allow_request: Option<AllowRequest>,
    response_headers: Option<ResponseHeaders>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("allow_request", &self.allow_request.is_some())
            .field("response_headers", &self.response_headers.is_some())
            .finish()
    }
}

impl Hooks {
    pub(crate) fn set_allow_request<F, Fut>(&mut self, hook: F)
    where
        F: Fn(HandshakeRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.allow_request = Some(Box::new(move |request| Box::pin(hook(request))));
    }

    pub(crate) fn set_response_headers(
        &mut self,
        hook: impl Fn(&ResponseContext<'_>, &mut HeaderMap) + Send + Sync + 'static,
    ) {
        self.response_headers = Some(Box::new(hook));
    }
}

/// The question to ask about a handshake, if there is anybody to ask.
pub(super) fn question<B>(
    server: &Server,
    request: &Request<B>,
    client_address: Option<IpAddr>,
) -> Option<HandshakeRequest> {
    server.config.hooks.allow_request.as_ref()?;
    Some(HandshakeRequest {
        method: request.method().clone(),
        uri: request.uri().clone(),
        headers: request.headers().clone(),
        client_address,
    })
}

/// Asks the application whether a handshake may become a session.
///
/// # Errors
/// The answer, if it may not.
pub(super) async fn allow(server: &Server, question: HandshakeRequest) -> Result<(), Answer> {
    let Some(hook) = &server.config.hooks.allow_request else {
        return Ok(());
    };
    let mut decision = pin!(async { hook(question).await });
    // `None` if it panics. It is not polled again then.
    let decision = poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| decision.as_mut().poll(cx)))
            .map_or(Poll::Ready(None), |poll| poll.map(Some))
    });
    match timeout(ALLOW_REQUEST_TIMEOUT, decision).await {
        Ok(Some(Ok(()))) => Ok(()),
        Ok(Some(Err(reason))) => {
            let reason = (!reason.is_empty()).then_some(reason);
            Err(refuse(server, &Rejection::Forbidden(reason)))
        }
        Ok(None) => {
            server.counters.refuse(Refusal::Panic);
            tracing::error!("allow_request panicked; the handshake is refused");
            Err(answer::empty(StatusCode::INTERNAL_SERVER_ERROR))
        }
        Err(_) => {
            server.counters.refuse(Refusal::AllowTimeout);
            tracing::warn!("allow_request did not decide in time; the handshake is refused");
            Err(answer::unavailable("the server is busy"))
        }
    }
}

/// What is kept of a request until its answer is there.
pub(super) struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    /// The session that it names, if there is one.
    sid: Option<Sid>,
}

impl Asked {
    /// `None` if nobody wants to know.
    pub(super) fn of<B>(server: &Server, request: &Request<B>) -> Option<Self> {
        server.config.hooks.response_headers.as_ref()?;
        let query = parse_query(request.uri().query().unwrap_or_default());
        let sid = query.sid.as_deref().and_then(Sid::parse);
        Some(Self {
            sid: sid.filter(|sid| server.session(sid).is_some()),
            method: request.method().clone(),
            uri: copied_uri(request.uri()),
            headers: copied_headers(request.headers()),
        })
    }

    /// Lets the application add to the answer's head.
    pub(super) fn answered(&self, server: &Server, answer: &mut Answer) {
        let Some(hook) = &server.config.hooks.response_headers else {
            return;
        };
        let opened = answer.headers().get(SID_HEADER).cloned();
        let opened = opened.as_ref().and_then(|sid| sid.to_str().ok());
        let context = ResponseContext {
            method: &self.method,
            uri: &self.uri,
            headers: &self.headers,
            status: answer.status(),
            is_handshake: opened.is_some(),
            sid: opened.or(self.sid.as_ref().map(Sid::as_str)),
        };
        let call = AssertUnwindSafe(|| hook(&context, answer.headers_mut()));
        if catch_unwind(call).is_err() {
            server.counters.refuse(Refusal::Panic);
            tracing::error!("response_headers panicked; its headers are missing");
        }
    }
}

/// A copy: a clone would share, and so keep, the connection's read buffer for as long as the request waits.
fn copied_uri(uri: &Uri) -> Uri {
    // What was a URI is one still.
    Uri::try_from(uri.to_string()).unwrap_or_else(|_| uri.clone())
}

/// A copy, for the same reason.
fn copied_headers(headers: &HeaderMap) -> HeaderMap {
    let copied = headers.iter().filter_map(|(name, value)| {
        let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
        Some((name.clone(), value))
    });
    copied.collect()
}
