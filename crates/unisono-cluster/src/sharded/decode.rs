//! Bytes to broadcasts, requests and answers.

use bytes::Bytes;
use unisono_proto::Value;
use unisono_proto::value::JsonError;

use super::{
    BROADCAST, BROADCAST_ACK, BROADCAST_CLIENT_COUNT, DISCONNECT_SOCKETS, EXTENSION, FETCH_SOCKETS,
    FETCH_SOCKETS_RESPONSE, LEVELS, SERVER_SIDE_EMIT, SERVER_SIDE_EMIT_RESPONSE, SOCKETS_JOIN,
    SOCKETS_LEAVE,
};
use crate::broadcast::{Broadcast, Extension};
use crate::classic::body::{Deep, Fields};
use crate::classic::{
    Answer, AnswerBody, DecodeError, Request, RequestBody, RequestError, request as read,
};
use crate::limits::{MAX_ATTACHMENTS, MAX_DEPTH};

/// A decoded message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who published it; empty when it did not say.
    pub uid: String,
    /// Its namespace.
    pub nsp: String,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A broadcast that wants no acknowledgements.
    Broadcast(Broadcast),
    /// Something that is asked of all nodes.
    Request(Request),
    /// An answer to such.
    Answer(Answer),
}

/// Decodes a message of the sharded adapter, of any type, in either spelling.
///
/// Lenient where Node.js is (key order, unknown keys, an absent uid, numbers as room names, lossy strings), strict where it breaks or
/// would take a target that cannot be read for everybody. What is nested too deep in an answer is null: one socket's `auth` must not cost
/// the others.
///
/// # Errors
/// See [`RequestError`].
pub fn decode(bytes: &[u8]) -> Result<Message, RequestError> {
    match decode_as(bytes, Deep::Refused) {
        Err(
            error @ (RequestError::Json(JsonError::TooDeep)
            | RequestError::Decode(DecodeError::TooDeep)),
        ) => match decode_as(bytes, Deep::Null) {
            Ok(message) if matches!(message.body, Body::Answer(_)) => Ok(message),
            _ => Err(error),
        },
        decoded => decoded,
    }
}

fn decode_as(bytes: &[u8], deep: Deep) -> Result<Message, RequestError> {
    let mut fields = Fields::read_within(bytes, LEVELS, deep)?;
    let kind = fields.number("type").ok_or(RequestError::Type)?;
    if !(BROADCAST..=BROADCAST_ACK).contains(&kind) {
        return Err(RequestError::Type);
    }
    let Some(Value::Str(nsp)) = fields.take("nsp") else {
        return Err(RequestError::Field("nsp"));
    };
    let uid = fields.name("uid")?.unwrap_or_default();
    let data = fields.take("data").and_then(Fields::of);
    let mut data = data.ok_or(RequestError::Field("data"))?;
    let id = data.name("requestId")?;
    let body = match kind {
        BROADCAST => broadcast(&mut data, &mut fields, &uid, id)?,
        SOCKETS_JOIN..=SERVER_SIDE_EMIT if kind != FETCH_SOCKETS_RESPONSE => {
            Body::Request(request(&mut data, kind, &uid, id)?)
        }
        _ => Body::Answer(answer(&mut data, kind, id)?),
    };
    Ok(Message { uid, nsp, body })
}

fn broadcast(
    data: &mut Fields,
    envelope: &mut Fields,
    uid: &str,
    id: Option<String>,
) -> Result<Body, RequestError> {
    let mut broadcast = read::broadcast(data)?;
    let attachments = broadcast.args.iter().map(attachments).sum::<usize>();
    if attachments > MAX_ATTACHMENTS {
        return Err(DecodeError::TooManyAttachments.into());
    }
    if id.is_some() {
        return Ok(Body::Request(Request {
            uid: uid.to_owned(),
            id,
            body: RequestBody::Broadcast(broadcast),
        }));
    }
    broadcast.extension = envelope
        .take(EXTENSION)
        .and_then(Fields::of)
        .and_then(extension);
    Ok(Body::Broadcast(broadcast))
}

fn extension(mut fields: Fields) -> Option<Extension> {
    let seq = u64::try_from(fields.number("s")?).ok()?;
    let revision = fields.number("r");
    let note = match fields.take("n") {
        Some(Value::Bin(note)) => Some(note),
        _ => None::<Bytes>,
    };
    Some(Extension {
        seq,
        ordered: fields.truth("o").unwrap_or(false),
        revision: revision.and_then(|revision| u32::try_from(revision).ok()),
        note,
    })
}

fn request(
    data: &mut Fields,
    kind: i64,
    uid: &str,
    id: Option<String>,
) -> Result<Request, RequestError> {
    let change = |kind: i64, data: &mut Fields| {
        let options = read::options(data)?;
        read::change_of(options, data, kind)
    };
    let body = match kind {
        SOCKETS_JOIN => change(read::REMOTE_JOIN, data)?,
        SOCKETS_LEAVE => change(read::REMOTE_LEAVE, data)?,
        DISCONNECT_SOCKETS => change(read::REMOTE_DISCONNECT, data)?,
        FETCH_SOCKETS => {
            if id.is_none() {
                return Err(RequestError::Field("requestId"));
            }
            RequestBody::Fetch {
                members: read::members(&mut read::options(data)?)?,
            }
        }
        _ => RequestBody::ServerSideEmit {
            args: read::event(data, "packet")?,
        },
    };
    Ok(Request {
        uid: uid.to_owned(),
        id,
        body,
    })
}

fn answer(data: &mut Fields, kind: i64, id: Option<String>) -> Result<Answer, RequestError> {
    let id = id.ok_or(RequestError::Field("requestId"))?;
    let body = match kind {
        FETCH_SOCKETS_RESPONSE => {
            let sockets = data.array("sockets");
            AnswerBody::Sockets(sockets.ok_or(RequestError::Field("sockets"))?)
        }
        SERVER_SIDE_EMIT_RESPONSE => AnswerBody::ServerSide(data.take("packet")),
        BROADCAST_CLIENT_COUNT => {
            let count = data.number("clientCount");
            let count = count.and_then(|count| u32::try_from(count).ok());
            AnswerBody::ClientCount(count.ok_or(RequestError::Field("clientCount"))?.into())
        }
        _ => AnswerBody::Ack(data.take("packet")),
    };
    // Whose it is stands around it.
    let from = None;
    Ok(Answer { id, from, body })
}

/// Reading has bounded the depth.
fn attachments(value: &Value) -> usize {
    match value {
        Value::Bin(_) => 1,
        Value::Array(items) => items.iter().map(attachments).sum(),
        Value::Map(pairs) => pairs.iter().map(|(_, value)| attachments(value)).sum(),
        _ => 0,
    }
}

/// How deep arguments can be, whatever their own levels are counted from.
const _: () = assert!(MAX_DEPTH == unisono_proto::limits::MAX_JSON_DEPTH);
