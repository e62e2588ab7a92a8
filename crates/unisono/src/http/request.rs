//! Which request is what.

use std::sync::Arc;

use bytes::Buf;
use http::{HeaderMap, Method, Request, StatusCode, header};
use hyper::body::Body;
use unisono_proto::engine::{self, Admission, Rejection, Transport};

use super::answer::{self, Answer};
use super::hooks::Asked;
use super::{handshake, polling};
use crate::cors::Verdict;
use crate::server::Server;
use crate::stats::Refusal;

/// Answers one request under the path.
pub(super) async fn handle<B>(server: Arc<Server>, request: Request<B>) -> Answer
where
    B: Body + Send + Unpin + 'static,
    B::Data: Buf + Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let asked = Asked::of(&server, &request);
    let mut answer = respond(&server, request).await;
    if let Some(asked) = asked {
        asked.answered(&server, &mut answer);
    }
    answer
}

async fn respond<B>(server: &Arc<Server>, request: Request<B>) -> Answer
where
    B: Body + Send + Unpin + 'static,
    B::Data: Buf + Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let cors = &server.config.cors;
    let verdict = cors.check(request.headers());
    match verdict {
        Verdict::Malformed => return refuse(server, &Rejection::BadRequest),
        Verdict::Foreign => {
            server.counters.refuse(Refusal::Origin);
            let reason = "Origin not allowed".to_owned();
            return answer::rejection(&Rejection::Forbidden(Some(reason)));
        }
        Verdict::Allowed(_) if request.method() == Method::OPTIONS => {
            let mut answer = answer::empty(StatusCode::NO_CONTENT);
            cors.decorate(&verdict, answer.headers_mut());
            cors.decorate_preflight(request.headers(), answer.headers_mut());
            return answer;
        }
        Verdict::Allowed(_) | Verdict::Plain => {}
    }
    let mut answer = admit(server, request).await;
    cors.decorate(&verdict, answer.headers_mut());
    answer
}

async fn admit<B>(server: &Arc<Server>, request: Request<B>) -> Answer
where
    B: Body + Send + Unpin + 'static,
    B::Data: Buf + Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let uri = request.uri().clone();
    let query = engine::parse_query(uri.query().unwrap_or_default());
    let method = match *request.method() {
        Method::GET => engine::Method::Get,
        Method::POST => engine::Method::Post,
        _ => engine::Method::Other,
    };
    let mut found = None;
    let lookup = |sid: &engine::Sid| {
        let conn = server.session(sid)?;
        let transport = match conn.mailbox().polling {
            Some(_) => Transport::Polling,
            None => Transport::WebSocket,
        };
        let revision = conn.dialect.revision;
        found = Some(conn);
        Some((transport, revision))
    };
    let upgrade = wants_websocket(request.headers());
    let admission = engine::check(&query, method, upgrade, &server.config.transports, lookup)
        .and_then(|admission| admission.check_version(&query, server.config.allow_eio3));
    match (admission, found) {
        (Err(rejection), _) => refuse(server, &rejection),
        (Ok(Admission::Handshake(transport)), _) => {
            handshake::begin(server, transport, request, &query).await
        }
        (Ok(Admission::Upgrade(_)), Some(conn)) => handshake::upgrade(server, conn, request),
        (Ok(Admission::Request(_)), Some(conn)) => match method {
            engine::Method::Get => polling::get(server, conn, server.callback(&query)).await,
            engine::Method::Post => {
                let is_form = server.callback(&query).is_some();
                polling::post(server, conn, request, is_form).await
            }
            // What Node answers.
            engine::Method::Other => {
                server.counters.refuse(Refusal::BadMethod);
                answer::empty(StatusCode::INTERNAL_SERVER_ERROR)
            }
        },
        (Ok(_), None) => refuse(server, &Rejection::UnknownSid),
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

/// Whether the request asks for a WebSocket (RFC 6455, section 4.2.1).
fn wants_websocket(headers: &HeaderMap) -> bool {
    let has_token = |name: header::HeaderName, token: &str| {
        let values = headers
            .get_all(name)
            .into_iter()
            .filter_map(|value| value.to_str().ok());
        values
            .flat_map(|value| value.split(','))
            .any(|t| t.trim().eq_ignore_ascii_case(token))
    };
    has_token(header::UPGRADE, "websocket") && has_token(header::CONNECTION, "upgrade")
}
