//! The heads that are read and written without hyper: of a plain request for a WebSocket, and of the answer that lets it in.
//!
//! Both do what hyper would, to the byte and to the order of the headers, or nothing: whatever is the least bit unusual is hyper's.

use std::cell::RefCell;
use std::mem::{self, MaybeUninit};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode, Uri, Version};
use httparse::Status;
use hyper::body::Body;

use super::MAX_HEADERS;
use super::body::RequestBody;
use crate::date::http_date;

const STATUS_LINE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n";

/// Room for the open packet, which leaves with the answer.
const OPEN_PACKET: usize = 128;

thread_local! {
    /// The second since 1970 that was written last, and how.
    static DATE: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
}

/// The request whose head `bytes` begin with, and the length of the head, if it is a complete and plain request for a WebSocket.
pub(super) fn read(bytes: &Bytes) -> Option<(Request<RequestBody>, usize)> {
    let mut lines = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut []);
    // The parser of hyper, with the same settings.
    let parsed = head.parse_with_uninit_headers(bytes, &mut lines);
    let Ok(Status::Complete(len)) = parsed else {
        return None;
    };
    let (Some("GET"), Some(1), Some(target)) = (head.method, head.version, head.path) else {
        return None;
    };
    let is_upgrade = |line: &httparse::Header<'_>| line.name.eq_ignore_ascii_case("upgrade");
    if !target.starts_with('/') || !head.headers.iter().any(is_upgrade) {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(head.headers.len());
    for line in head.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).ok()?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(line.value)).ok()?;
        if !is_plain(&name, &value) {
            return None;
        }
        headers.append(name, value);
    }
    let mut request = Request::new(RequestBody::default());
    *request.uri_mut() = Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes())).ok()?;
    *request.headers_mut() = headers;
    Some((request, len))
}

/// Whether a header of a request says nothing to the HTTP server itself beyond the wish for a WebSocket: nothing of a body, nothing of how the
/// connection goes on.
fn is_plain(name: &HeaderName, value: &HeaderValue) -> bool {
    let is_one_of = |token: &[u8], known: &[&str]| {
        let token = token.trim_ascii();
        known
            .iter()
            .any(|known| token.eq_ignore_ascii_case(known.as_bytes()))
    };
    match *name {
        header::CONTENT_LENGTH
        | header::TRANSFER_ENCODING
        | header::EXPECT
        | header::TE
        | header::TRAILER => false,
        header::UPGRADE => is_one_of(value.as_bytes(), &["websocket"]),
        header::CONNECTION => value
            .as_bytes()
            .split(|&byte| byte == b',')
            .all(|token| is_one_of(token, &["upgrade", "keep-alive"])),
        _ => true,
    }
}

/// The head of an answer that lets a WebSocket in, if there is nothing about it that hyper would make more of.
pub(super) fn write<B: Body>(answer: &Response<B>) -> Option<Vec<u8>> {
    let is_switch = answer.status() == StatusCode::SWITCHING_PROTOCOLS
        && answer.version() == Version::HTTP_11
        // A reason of its own, for one.
        && answer.extensions().is_empty()
        && answer.body().is_end_stream();
    if !is_switch {
        return None;
    }
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    let lines: usize = answer.headers().iter().map(size).sum();
    let date = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n".len();
    let mut head = Vec::with_capacity(STATUS_LINE.len() + lines + date + OPEN_PACKET);
    head.extend_from_slice(STATUS_LINE);
    let mut has_connection = false;
    for (name, value) in answer.headers() {
        match *name {
            header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::TRAILER | header::DATE => {
                return None;
            }
            // Several become one line.
            header::CONNECTION if mem::replace(&mut has_connection, true) => return None,
            _ => {}
        }
        for bytes in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(bytes);
        }
    }
    head.extend_from_slice(b"date: ");
    write_date(&mut head);
    head.extend_from_slice(b"\r\n\r\n");
    Some(head)
}

fn write_date(head: &mut Vec<u8>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs());
    DATE.with_borrow_mut(|(second, text)| {
        if *second != now {
            (*second, *text) = (now, http_date(now));
        }
        head.extend_from_slice(text.as_bytes());
    });
}
