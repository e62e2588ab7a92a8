//! Which request is what.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Buf;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Body;
use unisono_proto::engine::{self, Admission, Rejection, Transport};

use super::answer::{self, Answer};
use super::body::ResponseBody;
use super::handover::Handover;
use super::hooks::Asked;
use super::{handshake, polling};
use crate::conn::Conn;
use crate::cors::Verdict;
use crate::dialect::Dialect;
use crate::server::Server;
use crate::session::is_ours;
use crate::stats::Refusal;

/// What is left to do for an answer.
pub(super) enum Step<B> {
    Answered(Answer),
    /// A long poll: it needs little for the time that it waits, which is most of a session's life.
    Polls {
        conn: Arc<Conn>,
        callback: Option<String>,
        /// The connection under it, where that is ours.
        line: Option<Handover>,
        /// If there is one, it stays: hyper ends a connection whose body nobody wants.
        body: B,
    },
    /// Anything else. In a box, so that a poll is not as large as this.
    Works(Pin<Box<dyn Future<Output = Answer> + Send>>),
}

/// Answers one request under the path. Nothing of its head is kept while it waits, unless somebody asks for it: a head shares its bytes with
/// the connection's read buffer, and would keep 8 KiB alive.
pub(super) fn handle<B, R, E>(
    server: Arc<Server>,
    request: Request<B>,
) -> impl Future<Output = Result<Response<ResponseBody<R>>, E>>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Buf + Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let asked = Asked::of(&server, &request).map(Box::new);
    let verdict = server
        .config
        .cors
        .check(request.headers(), &server.counters);
    let step = respond(&server, &verdict, request);
    async move {
        let mut answer = match step {
            Step::Answered(answer) => answer,
            Step::Works(work) => work.await,
            Step::Polls {
                conn,
                callback,
                line,
                body: _body,
            } => polling::get(&server, conn, callback, line).await,
        };
        server.config.cors.decorate(&verdict, answer.headers_mut());
        if let Some(asked) = asked {
            asked.answered(&server, &mut answer);
        }
        Ok(answer.map(ResponseBody::from))
    }
}

fn respond<B>(server: &Arc<Server>, verdict: &Verdict, request: Request<B>) -> Step<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Buf + Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    if !names_its_host(&request) {
        return Step::Answered(refuse(server, &Rejection::BadRequest));
    }
    match verdict {
        Verdict::Malformed => Step::Answered(refuse(server, &Rejection::BadRequest)),
        Verdict::Foreign => {
            server.counters.refuse(Refusal::Origin);
            let reason = "Origin not allowed".to_owned();
            Step::Answered(answer::rejection(&Rejection::Forbidden(Some(reason))))
        }
        Verdict::Allowed(_) if request.method() == Method::OPTIONS => {
            let mut answer = answer::empty(StatusCode::NO_CONTENT);
            let cors = &server.config.cors;
            cors.decorate_preflight(request.headers(), answer.headers_mut());
            Step::Answered(answer)
        }
        Verdict::Allowed(_) | Verdict::Plain => admit(server, request),
    }
}

fn admit<B>(server: &Arc<Server>, request: Request<B>) -> Step<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Buf + Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let query = engine::parse_query(request.uri().query().unwrap_or_default());
    let method = match *request.method() {
        Method::GET => engine::Method::Get,
        Method::POST => engine::Method::Post,
        _ => engine::Method::Other,
    };
    let mut found = None;
    let lookup = |sid: &engine::Sid| {
        let conn = server.session(sid)?;
        let mail = conn.mailbox();
        // Ended, and the client is not to be told: it is gone, though its task may not have got to it yet.
        if mail.closing.is_some_and(|reason| !is_ours(reason)) {
            return None;
        }
        let transport = match mail.polling {
            Some(_) => Transport::Polling,
            None => Transport::WebSocket,
        };
        drop(mail);
        let revision = conn.dialect.revision;
        found = Some(conn);
        Some((transport, revision))
    };
    let upgrade = wants_websocket(request.headers());
    let admission = engine::check(&query, method, upgrade, &server.config.transports, lookup)
        .and_then(|admission| admission.check_version(&query, server.config.allow_eio3));
    let callback = server.callback(&query).map(str::to_owned);
    let dialect = Dialect::of(&query, server.config.jsonp);
    let server = server.clone();
    match (admission, found) {
        (Err(rejection), _) => Step::Answered(refuse(&server, &rejection)),
        (Ok(Admission::Handshake(transport)), _) => {
            handshake::begin(server, transport, dialect, request)
        }
        (Ok(Admission::Upgrade(_)), Some(conn)) => {
            Step::Answered(handshake::upgrade(&server, conn, request))
        }
        (Ok(Admission::Request(_)), Some(conn)) => match method {
            engine::Method::Get => Step::Polls {
                conn,
                callback,
                line: request.extensions().get::<Handover>().cloned(),
                body: request.into_body(),
            },
            engine::Method::Post => {
                let is_form = callback.is_some();
                Step::Works(Box::pin(polling::post(server, conn, request, is_form)))
            }
            // What Node answers.
            engine::Method::Other => {
                server.counters.refuse(Refusal::BadMethod);
                Step::Answered(answer::empty(StatusCode::INTERNAL_SERVER_ERROR))
            }
        },
        (Ok(_), None) => Step::Answered(refuse(&server, &Rejection::UnknownSid)),
    }
}

pub(super) fn refuse(server: &Server, rejection: &Rejection) -> Answer {
    server.counters.refuse(match rejection {
        Rejection::UnknownTransport => Refusal::UnknownTransport,
        Rejection::UnknownSid => Refusal::UnknownSid,
        Rejection::BadMethod => Refusal::BadMethod,
        Rejection::BadRequest => Refusal::BadRequest,
        Rejection::Forbidden(_) => Refusal::Forbidden,
        Rejection::UnsupportedVersion => Refusal::UnsupportedVersion,
    });
    answer::rejection(rejection)
}

/// A request of HTTP/1.1 has one `Host` (RFC 9112, section 3.2); with two, a proxy may have read another than we would.
fn names_its_host<B>(request: &Request<B>) -> bool {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    hosts == 1 || hosts == 0 && request.version() != Version::HTTP_11
}

/// Whether the request asks for a WebSocket (RFC 6455, section 4.2.1).
fn wants_websocket(headers: &HeaderMap) -> bool {
    let has_token = |name: header::HeaderName, token: &str| {
        let values = headers
            .get_all(name)
            .into_iter()
            .filter_map(|value| value.to_str().ok());
        values
            .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
            .any(|t| t.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    };
    has_token(header::UPGRADE, "websocket") && has_token(header::CONNECTION, "upgrade")
}
