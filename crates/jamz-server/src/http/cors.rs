//! Which web pages may read the answers of the client port.
//!
//! Socket.IO and these answers judge a page by the same list and by the same comparison. They
//! differ in what becomes of a foreign page: Socket.IO refuses it, because a browser does not
//! keep a page from using a WebSocket to another site. Here the browser does the keeping, and
//! nothing is private or changes anything; monitors that send an odd `Origin` get their answer.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// As Socket.IO's. POST is answered with 404 here, which a page that asks in the wrong place may
/// read.
const METHODS: HeaderValue = HeaderValue::from_static("GET,POST,OPTIONS");
/// What the front-end sends. Socket.IO allows whatever a preflight asks for, since its clients may
/// be told to send headers for a proxy.
const HEADERS: HeaderValue = HeaderValue::from_static("Content-Type,Authorization");

/// Adds the headers that let a page of an allowed origin read the answer, and answers its
/// preflight. A page of another origin gets the answer without them, and its browser keeps
/// it from reading.
pub(super) async fn allow(
    State(origins): State<Arc<[String]>>,
    request: Request,
    next: Next,
) -> Response {
    let allowed = allowed_origin(&origins, request.headers());
    let preflight = request.method() == Method::OPTIONS;
    let mut response = match (&allowed, preflight) {
        (Some(_), true) => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
        if preflight {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
        }
    }
    response
}

fn allowed_origin(origins: &[String], headers: &HeaderMap) -> Option<HeaderValue> {
    let mut sent = headers.get_all(header::ORIGIN).iter();
    // Two origins come from no browser.
    let (Some(origin), None) = (sent.next(), sent.next()) else {
        return None;
    };
    let text = origin.to_str().ok()?;
    origins.iter().any(|o| o == text).then(|| origin.clone())
}
