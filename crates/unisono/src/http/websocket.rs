//! The opening handshake of a WebSocket (RFC 6455, section 4).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Version};
use hyper::body::Body;
use unisono_proto::engine::Rejection;
use unisono_proto::ws;

use super::answer::{self, Answer};
use super::request;
use crate::server::Server;

/// The only version of the protocol that became a standard.
const VERSION: &str = "13";

/// The 101 answer, if the request is a GET of HTTP/1.1 with one key and the right version (RFC 6455, section 4.2.1), and no body: frames
/// would begin behind it, and neither side could be sure where. Extensions are not negotiated, so what the client says about them is not even read.
pub(super) fn switching_protocols<B: Body>(request: &Request<B>) -> Option<Answer> {
    let is_get = request.method() == Method::GET && request.version() == Version::HTTP_11;
    if !is_get || !request.body().is_end_stream() {
        return None;
    }
    let version = only(request.headers(), &header::SEC_WEBSOCKET_VERSION)?;
    let key = only(request.headers(), &header::SEC_WEBSOCKET_KEY)?;
    if version != VERSION || !is_key(key) {
        return None;
    }
    let accept = HeaderValue::try_from(ws::accept_key(key)).ok()?;
    let mut answer = answer::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = answer.headers_mut();
    headers.insert(
        header::UPGRADE,
        const { HeaderValue::from_static("websocket") },
    );
    headers.insert(
        header::CONNECTION,
        const { HeaderValue::from_static("Upgrade") },
    );
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(subprotocol) = subprotocol(request.headers()) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    Some(answer)
}

/// The first subprotocol of those that the client offers, as Node chooses it: a client that offered some gives up when it gets none. It means
/// nothing here. What is no token is no offer.
fn subprotocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let first = offered.split(',').next()?.trim();
    // The characters of a method are those of any token (RFC 9110, section 5.6.2).
    Method::from_bytes(first.as_bytes()).ok()?;
    HeaderValue::from_str(first).ok()
}

/// Sixteen bytes in base64. The four bits that its last letter has too many may be anything: there are clients that draw letters.
fn is_key(key: &str) -> bool {
    let letters = key.strip_suffix("==").unwrap_or_default().as_bytes();
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    letters.len() == 22 && letters.iter().all(is_letter)
}

/// Refuses a WebSocket handshake that is none. Whoever speaks another version is told ours (section 4.4).
pub(super) fn refuse(server: &Server) -> Answer {
    let mut answer = request::refuse(server, &Rejection::BadRequest);
    let version = HeaderValue::from_static(VERSION);
    answer
        .headers_mut()
        .insert(header::SEC_WEBSOCKET_VERSION, version);
    answer
}

/// The text of a header that must not be repeated (section 11.3).
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
