//! GET and POST of a polling session.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use tokio::sync::oneshot;
use unisono_proto::connection::CloseReason;
use unisono_proto::engine::{PayloadEncoding, Rejection, jsonp};

use super::answer::{self, Answer};
use super::handover::Handover;
use super::request::refuse;
use crate::conn::{Conn, Post};
use crate::server::Server;
use crate::session::Payload;
use crate::stats::Refusal;

/// How long a POST's body may take: a megabyte at the speed of a bad mobile connection.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Ends the session if the request it belongs to goes away unanswered, unless a WebSocket has taken over meanwhile.
struct Guard(Option<Arc<Conn>>);

impl Guard {
    fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(conn) = self.0.take() {
            conn.with(|mail| {
                if mail.polling.is_some() {
                    mail.closing.get_or_insert(CloseReason::TransportError);
                }
            });
        }
    }
}

/// Waits for something to say; with a callback's index it is said as a script. `line` is the connection under the request, if it tells of its end.
pub(super) async fn get(
    server: &Arc<Server>,
    conn: Arc<Conn>,
    callback: Option<String>,
    line: Option<Handover>,
) -> Answer {
    enum Outcome {
        Waits(oneshot::Receiver<Payload>),
        Overlaps,
        Gone,
    }
    let outcome = conn.with(|mail| match &mut mail.polling {
        None => Outcome::Gone,
        Some(polling) if polling.poll.is_some() => Outcome::Overlaps,
        Some(polling) => {
            let (sender, receiver) = oneshot::channel();
            polling.poll = Some(sender);
            Outcome::Waits(receiver)
        }
    });
    match outcome {
        // A WebSocket has taken over since the session was looked up, or it has ended.
        Outcome::Gone => refuse(server, &Rejection::BadRequest),
        Outcome::Overlaps => {
            server.counters.refuse(Refusal::Overlap);
            conn.close(CloseReason::TransportError);
            answer::empty(StatusCode::BAD_REQUEST)
        }
        Outcome::Waits(receiver) => {
            let guard = Guard(Some(conn.clone()));
            let _waiting = match line.map(Handover::wait) {
                // Whoever does not hear the answer has given up.
                Some(None) => return answer::empty(StatusCode::BAD_REQUEST),
                waiting => waiting.flatten(),
            };
            let reply = receiver.await;
            guard.answered();
            match reply {
                Ok(payload) => {
                    answer::payload(payload, callback.as_deref()).map(|body| body.told_to(&conn))
                }
                Err(_) => answer::empty(StatusCode::BAD_REQUEST),
            }
        }
    }
}

/// Takes packets in, as they are or as the field of a form.
pub(super) async fn post<B>(
    server: Arc<Server>,
    conn: Arc<Conn>,
    request: Request<B>,
    is_form: bool,
) -> Answer
where
    B: Body + Send + Unpin + 'static,
    B::Data: Buf + Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let encoding = match begin(&server, &conn, request.headers(), is_form) {
        Ok(encoding) => encoding,
        Err(Some(rejection)) => return refuse(&server, &rejection),
        Err(None) => return answer::empty(StatusCode::BAD_REQUEST),
    };
    let guard = Guard(Some(conn.clone()));
    let body = match read(&server, &conn, request).await {
        Ok(body) => body,
        Err(status) => {
            if status == StatusCode::PAYLOAD_TOO_LARGE {
                // The session survives, as with Node.
                guard.answered();
                conn.with(|mail| {
                    mail.polling
                        .iter_mut()
                        .for_each(|polling| polling.posting = false);
                });
            }
            return answer::empty(status);
        }
    };
    let body = if is_form {
        let field = jsonp::decode(&String::from_utf8_lossy(&body));
        field.unwrap_or_default().into()
    } else {
        body
    };
    let (reply, taken) = oneshot::channel();
    conn.with(|mail| {
        // Of a session that has ended meanwhile, nobody takes it: the reply is dropped and answers at once.
        let ended = mail.closing.is_some();
        if let Some(polling) = mail.polling.as_mut().filter(|_| !ended) {
            polling.post = Some(Post {
                body,
                encoding,
                reply,
            });
        }
    });
    let taken = taken.await;
    guard.answered();
    match taken {
        Ok(true) => answer::ok(),
        _ => answer::empty(StatusCode::BAD_REQUEST),
    }
}

/// Whether a POST may begin, and how its body is to be read. Refused without a rejection, it has ended the session.
fn begin(
    server: &Server,
    conn: &Conn,
    headers: &HeaderMap,
    is_form: bool,
) -> Result<PayloadEncoding, Option<Rejection>> {
    let begins = conn.with(|mail| {
        let ended = mail.closing.is_some();
        let polling = mail.polling.as_mut().filter(|_| !ended)?;
        Some(!std::mem::replace(&mut polling.posting, true))
    });
    let Some(begins) = begins else {
        // It is kept for a last poll only, or a WebSocket has taken over since it was looked up.
        let ended = conn.is_closed();
        return Err(Some(if ended {
            Rejection::UnknownSid
        } else {
            Rejection::BadRequest
        }));
    };
    let kind = headers.get(header::CONTENT_TYPE);
    let binary = !is_form && kind.is_some_and(|kind| kind == "application/octet-stream");
    let encoding = conn.dialect.body_encoding(binary);
    if !begins || (binary && encoding == PayloadEncoding::V4) {
        // Engine.IO 4 has no binary payloads (CVE-2026-59725), and one POST at a time.
        server.counters.refuse(if begins {
            Refusal::Packet
        } else {
            Refusal::Overlap
        });
        conn.close(CloseReason::TransportError);
        return Err(None);
    }
    Ok(encoding)
}

/// The body, if it is neither too large nor too slow.
async fn read<B>(server: &Server, conn: &Conn, request: Request<B>) -> Result<Bytes, StatusCode>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Buf + Send,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let limit = server.config.connection.max_payload;
    let refuse = |refusal, status| {
        // A session that has ended meanwhile was refused for something else.
        if !conn.is_closed() {
            server.counters.refuse(refusal);
        }
        Err(status)
    };
    let too_large = || refuse(Refusal::TooLarge, StatusCode::PAYLOAD_TOO_LARGE);
    if request.body().size_hint().lower() > limit as u64 {
        return too_large();
    }
    match tokio::time::timeout(
        BODY_TIMEOUT,
        Limited::new(request.into_body(), limit).collect(),
    )
    .await
    {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => too_large(),
        // It broke off, or its chunks are none.
        Ok(Err(_)) => refuse(Refusal::BadRequest, StatusCode::BAD_REQUEST),
        Err(_) => refuse(Refusal::BadRequest, StatusCode::REQUEST_TIMEOUT),
    }
}
