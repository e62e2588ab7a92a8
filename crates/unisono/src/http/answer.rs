//! The answers of the HTTP side, as Node gives them.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use unisono_proto::engine::{Rejection, jsonp};

use super::body::AnswerBody;
use crate::session::Payload;

/// Seconds that a refused client is asked to stay away: by then a draining node is out of the load balancer.
const RETRY_AFTER_S: u32 = 2;

pub(super) type Answer = Response<AnswerBody>;

pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(AnswerBody::default());
    *answer.status_mut() = status;
    answer
}

fn body(status: StatusCode, content_type: &'static str, text: impl Into<AnswerBody>) -> Answer {
    let mut answer = Response::new(text.into());
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// A payload of packets, which no cache may keep; with a callback's index, as a script.
pub(super) fn payload(payload: Payload, callback: Option<&str>) -> Answer {
    let mut answer = match (payload.is_binary, callback) {
        (true, _) => body(StatusCode::OK, "application/octet-stream", payload.body),
        (false, None) => body(StatusCode::OK, "text/plain; charset=UTF-8", payload.body),
        (false, Some(index)) => {
            let script = jsonp::encode(index, &String::from_utf8_lossy(&payload.body));
            body(StatusCode::OK, "text/javascript; charset=UTF-8", script)
        }
    };
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// A POST was taken.
pub(super) fn ok() -> Answer {
    let mut answer = body(StatusCode::OK, "text/html", "ok");
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

pub(super) fn rejection(rejection: &Rejection) -> Answer {
    let status = StatusCode::from_u16(rejection.status()).unwrap_or(StatusCode::BAD_REQUEST);
    body(status, "application/json", rejection.body())
}

/// No new sessions here now.
pub(super) fn unavailable(message: &'static str) -> Answer {
    later(StatusCode::SERVICE_UNAVAILABLE, message)
}

/// No more sessions for this client now.
pub(super) fn too_many(message: &'static str) -> Answer {
    later(StatusCode::TOO_MANY_REQUESTS, message)
}

fn later(status: StatusCode, message: &'static str) -> Answer {
    let mut answer = body(
        status,
        "application/json",
        format!(r#"{{"message":"{message}"}}"#),
    );
    answer
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
    answer
}
