//! What nodes answer.

use bytes::Bytes;
use unisono_proto::Value;

use super::body::{self, Fields, room_names};
use super::request::{BROADCAST, SERVER_SIDE_EMIT};
use super::{EncodeError, RequestError};

/// One answer of one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// That of the request.
    pub id: String,
    /// The id of the server that answers. Node.js pods do not say.
    pub from: Option<String>,
    /// What it says.
    pub body: AnswerBody,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerBody {
    /// Ids of sockets, or sockets as maps, by what was asked.
    Sockets(Vec<Value>),
    /// Names of rooms.
    Rooms(Vec<String>),
    /// What a node's handler answered to an event; `None` for nothing.
    ServerSide(Option<Value>),
    /// How many clients of a node were asked for acknowledgements.
    ClientCount(u64),
    /// The first argument of a client's acknowledgement; `None` if it had none.
    Ack(Option<Value>),
    /// It is done.
    Done,
}

const BROADCAST_CLIENT_COUNT: i64 = BROADCAST + 1;
const BROADCAST_ACK: i64 = BROADCAST + 2;

/// Decodes an answer. What is nested too deep in it is null: one socket's `auth` must not cost the others.
///
/// # Errors
/// See [`RequestError`].
pub fn decode_answer(bytes: &[u8]) -> Result<Answer, RequestError> {
    let mut fields = Fields::read_pruned(bytes)?;
    let id = fields.name("requestId")?;
    let id = id.ok_or(RequestError::Field("requestId"))?;
    let from = fields.name("from")?;
    let body = match fields.number("type") {
        Some(SERVER_SIDE_EMIT) => AnswerBody::ServerSide(fields.take("data")),
        Some(BROADCAST_CLIENT_COUNT) => {
            let count = fields.number("clientCount");
            let count = count.and_then(|count| u32::try_from(count).ok());
            AnswerBody::ClientCount(count.ok_or(RequestError::Field("clientCount"))?.into())
        }
        Some(BROADCAST_ACK) => AnswerBody::Ack(fields.take("packet")),
        Some(_) => return Err(RequestError::Type),
        None => plain(&mut fields)?,
    };
    Ok(Answer { id, from, body })
}

fn plain(fields: &mut Fields) -> Result<AnswerBody, RequestError> {
    if let Some(sockets) = fields.take("sockets") {
        return match sockets {
            Value::Array(sockets) => Ok(AnswerBody::Sockets(sockets)),
            _ => Err(RequestError::Field("sockets")),
        };
    }
    match fields.take("rooms") {
        None => Ok(AnswerBody::Done),
        Some(rooms) => room_names(rooms, "rooms").map(AnswerBody::Rooms),
    }
}

/// Encodes an answer as Node.js does: JSON, or MessagePack for an acknowledgement. Who answers comes last.
///
/// # Errors
/// See [`EncodeError`].
pub fn encode_answer(answer: Answer) -> Result<Bytes, EncodeError> {
    let id = ("requestId", Value::Str(answer.id));
    let kind = |kind: i64| ("type", Value::Int(kind));
    let is_ack = matches!(answer.body, AnswerBody::Ack(_));
    let mut fields = match answer.body {
        AnswerBody::Sockets(sockets) => vec![id, ("sockets", Value::Array(sockets))],
        AnswerBody::Rooms(rooms) => {
            let rooms = rooms.into_iter().map(Value::Str).collect();
            vec![id, ("rooms", Value::Array(rooms))]
        }
        AnswerBody::ServerSide(data) => {
            let mut fields = vec![kind(SERVER_SIDE_EMIT), id];
            fields.extend(data.map(|data| ("data", data)));
            fields
        }
        AnswerBody::ClientCount(count) => {
            let count = ("clientCount", Value::from(count));
            vec![kind(BROADCAST_CLIENT_COUNT), id, count]
        }
        AnswerBody::Ack(packet) => {
            let mut fields = vec![kind(BROADCAST_ACK), id];
            fields.extend(packet.map(|packet| ("packet", packet)));
            fields
        }
        AnswerBody::Done => vec![id],
    };
    fields.extend(answer.from.map(|from| ("from", Value::Str(from))));
    if is_ack {
        return body::msgpack(&fields);
    }
    body::json(&fields)
}
