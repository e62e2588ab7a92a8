//! How sessions begin, and how a polling session gets its WebSocket.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Uri};
use hyper::body::Body;
use unisono_proto::engine::{Rejection, Sid, Transport, parse_query};

use super::answer::{self, Answer};
use super::entry::{self, Pass};
use super::handover::{Kind, hand_over};
use super::request::{Step, refuse};
use super::{PeerAddr, hooks, websocket};
use crate::conn::{Conn, Handshake};
use crate::dialect::Dialect;
use crate::ids::new_sid;
use crate::server::Server;
use crate::session::{Payload, Session};

/// The session id of a new session, for proxies that keep a client without cookies on its node.
pub(super) const SID_HEADER: HeaderName = HeaderName::from_static("x-unisono-sid");

/// Opens a session, if nothing and nobody is against it. Where nobody is asked, at once.
pub(super) fn begin<B: Body + Send + 'static>(
    server: Arc<Server>,
    transport: Transport,
    dialect: Dialect,
    mut request: Request<B>,
) -> Step<B> {
    let pass = match entry::enter(&server, &request) {
        Ok(pass) => pass,
        Err(answer) => return Step::Answered(answer),
    };
    let switching = match transport {
        Transport::Polling => None,
        Transport::WebSocket => match websocket::switching_protocols(&request) {
            Some(answer) => Some(answer),
            None => return Step::Answered(websocket::refuse(&server)),
        },
    };
    match hooks::question(&server, &request, pass.client_address()) {
        None => Step::Answered(let_in(&server, &mut request, dialect, pass, switching)),
        Some(question) => Step::Works(Box::pin(async move {
            match hooks::allow(&server, question).await {
                Ok(()) => let_in(&server, &mut request, dialect, pass, switching),
                Err(answer) => answer,
            }
        })),
    }
}

/// Opens the session, unless a drain has begun meanwhile. `switching` is the answer if it is on a WebSocket.
fn let_in<B>(
    server: &Arc<Server>,
    request: &mut Request<B>,
    dialect: Dialect,
    pass: Pass,
    switching: Option<Answer>,
) -> Answer {
    if let Err(answer) = entry::refuse_draining(server) {
        return answer;
    }
    match switching {
        None => polling(server, request, dialect, pass),
        Some(answer) => websocket(server, request, dialect, pass, answer),
    }
}

/// Opens a polling session: the answer is the open packet.
fn polling<B>(
    server: &Arc<Server>,
    request: &Request<B>,
    dialect: Dialect,
    mut pass: Pass,
) -> Answer {
    let conn = open(server, request, dialect, &pass, true);
    let config = &server.config;
    let open = server.open.packet(conn.sid);
    let payload = Payload::new([open].iter(), conn.dialect);
    let query = parse_query(request.uri().query().unwrap_or_default());
    let mut answer = answer::payload(payload, server.callback(&query));
    tell_sid(&mut answer, conn.sid);
    let cookie = config.cookie.as_ref();
    if let Some(value) = cookie.and_then(|cookie| cookie.header(conn.sid)) {
        answer.headers_mut().insert(header::SET_COOKIE, value);
    }
    server.remember(&conn);
    tokio::spawn(Session::polling(server.clone(), conn).seated(pass.take_seat()));
    answer
}

/// Opens a WebSocket session.
fn websocket<B>(
    server: &Arc<Server>,
    request: &mut Request<B>,
    dialect: Dialect,
    pass: Pass,
    mut answer: Answer,
) -> Answer {
    let conn = open(server, request, dialect, &pass, false);
    tell_sid(&mut answer, conn.sid);
    hand_over(server, conn, Kind::Session(pass), request);
    answer
}

/// Lets a WebSocket probe a polling session. A second one is refused without harm to the first.
pub(super) fn upgrade<B: Body>(
    server: &Arc<Server>,
    conn: Arc<Conn>,
    mut request: Request<B>,
) -> Answer {
    let Some(answer) = websocket::switching_protocols(&request) else {
        return websocket::refuse(server);
    };
    if !server.config.allow_upgrades {
        return refuse(server, &Rejection::BadRequest);
    }
    let begins = {
        let mut mail = conn.mailbox();
        let closing = mail.closing.is_some();
        let polling = mail
            .polling
            .as_mut()
            .filter(|polling| !closing && !polling.upgrading);
        polling.map(|polling| polling.upgrading = true).is_some()
    };
    if !begins {
        return refuse(server, &Rejection::BadRequest);
    }
    hand_over(server, conn, Kind::Probe, &mut request);
    answer
}

fn open<B>(
    server: &Server,
    request: &Request<B>,
    dialect: Dialect,
    pass: &Pass,
    polling: bool,
) -> Arc<Conn> {
    let peer = request.extensions().get::<PeerAddr>().map(|peer| peer.0);
    let is_peer = |client: &IpAddr| peer.is_some_and(|peer| peer.ip().to_canonical() == *client);
    let handshake = Handshake {
        url: url(request.uri()),
        headers: compact(request.headers()),
        address: peer,
        forwarded_for: pass
            .client_address()
            .filter(|client| !is_peer(client))
            .map(Box::new),
        issued_ms: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_millis() as u64),
    };
    Arc::new(Conn::new(
        new_sid(),
        dialect,
        handshake,
        server.config.queue,
        server.counters.clone(),
        polling,
    ))
}

fn url(uri: &Uri) -> Box<str> {
    match uri.path_and_query() {
        // What nearly every client sends, without formatting.
        Some(target) if uri.scheme().is_none() && uri.authority().is_none() => {
            target.as_str().into()
        }
        _ => uri.to_string().into(),
    }
}

fn tell_sid(answer: &mut Answer, sid: Sid) {
    if let Ok(value) = HeaderValue::from_str(sid.as_str()) {
        answer.headers_mut().insert(SID_HEADER, value);
    }
}

/// One allocation of the exact size instead of a map; values that are not text are left out.
fn compact(headers: &HeaderMap) -> Box<str> {
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 3;
    let mut lines = String::with_capacity(headers.iter().map(size).sum());
    for (name, value) in headers {
        if let Ok(value) = value.to_str() {
            lines.push_str(name.as_str());
            lines.push_str(": ");
            lines.push_str(value);
            lines.push('\n');
        }
    }
    lines.into_boxed_str()
}
