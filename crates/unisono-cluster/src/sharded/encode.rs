//! Broadcasts, requests and answers to bytes.

use bytes::Bytes;
use unisono_proto::Value;

use super::sink::Sink;
use super::{
    BROADCAST, BROADCAST_ACK, BROADCAST_CLIENT_COUNT, DISCONNECT_SOCKETS, EXTENSION, FETCH_SOCKETS,
    FETCH_SOCKETS_RESPONSE, SERVER_SIDE_EMIT, SERVER_SIDE_EMIT_RESPONSE, SOCKETS_JOIN,
    SOCKETS_LEAVE, main_channel,
};
use crate::broadcast::{Broadcast, Extension, Members};
use crate::classic::encode::{EVENT, check};
use crate::classic::{Answer, AnswerBody, EncodeError, Request, RequestBody, Template};
use crate::limits::MAX_CHANGED_ROOMS;

/// Encodes a broadcast that wants no acknowledgements, with our extension if there is one.
///
/// # Errors
/// See [`EncodeError`].
pub fn encode(uid: &str, nsp: &str, broadcast: &Broadcast) -> Result<Bytes, EncodeError> {
    let binary = has_binary(broadcast);
    self::broadcast(Sink::for_clients(binary), uid, nsp, None, broadcast, None)?.finish()
}

/// Encodes a broadcast whose revision is not known yet; as [`classic::encode_template`](crate::classic::encode_template), and always for the
/// channel of the namespace.
///
/// # Errors
/// See [`EncodeError`].
pub fn encode_template(
    prefix: &str,
    uid: &str,
    nsp: &str,
    broadcast: &Broadcast,
    revision_key: &str,
) -> Result<Template, EncodeError> {
    let extension = broadcast.extension.as_ref();
    let seq = extension.ok_or(EncodeError::NoSequence)?.seq;
    let sink = Sink::for_clients(true);
    let written = self::broadcast(sink, uid, nsp, None, broadcast, Some(revision_key))?;
    Ok(Template {
        channel: main_channel(prefix, nsp),
        seq,
        segments: written.finish_segments()?,
    })
}

fn broadcast(
    mut sink: Sink,
    uid: &str,
    nsp: &str,
    id: Option<&str>,
    broadcast: &Broadcast,
    revision_key: Option<&str>,
) -> Result<Sink, EncodeError> {
    check(broadcast)?;
    let extension = broadcast.extension.as_ref();
    begin(
        &mut sink,
        BROADCAST,
        2 + usize::from(id.is_some()),
        extension,
    );
    sink.key("packet");
    sink.map(2);
    sink.int("type", EVENT);
    sink.args("data", &broadcast.args, revision_key)?;
    sink.end();
    if let Some(id) = id {
        sink.str("requestId", id)?;
    }
    sink.key("opts");
    sink.map(3);
    sink.names("rooms", &broadcast.rooms)?;
    sink.names("except", &broadcast.except)?;
    sink.flags(&broadcast.flags);
    sink.end();
    sink.end();
    if let Some(extension) = extension {
        sink.extension(EXTENSION, extension, revision_key.is_some());
    }
    end(sink, uid, nsp)
}

/// Opens the message and its data, which has so many fields.
fn begin(sink: &mut Sink, kind: i64, fields: usize, extension: Option<&Extension>) {
    sink.map(4 + usize::from(extension.is_some()));
    sink.int("type", kind);
    sink.key("data");
    sink.map(fields);
}

/// Who says it and where, which must come last: see [`Tail`](super::Tail).
fn end(mut sink: Sink, uid: &str, nsp: &str) -> Result<Sink, EncodeError> {
    sink.str("uid", uid)?;
    sink.str("nsp", nsp)?;
    sink.end();
    Ok(sink)
}

/// Encodes a request of namespace `nsp`.
///
/// # Errors
/// See [`EncodeError`].
pub fn encode_request(nsp: &str, request: &Request) -> Result<Bytes, EncodeError> {
    let (uid, id) = (request.uid.as_str(), request.id.as_deref());
    match &request.body {
        RequestBody::Broadcast(broadcast) => {
            let sink = Sink::for_clients(has_binary(broadcast));
            self::broadcast(sink, uid, nsp, id, broadcast, None)?.finish()
        }
        RequestBody::Join { members, rooms } => changed(uid, nsp, SOCKETS_JOIN, members, rooms),
        RequestBody::Leave { members, rooms } => changed(uid, nsp, SOCKETS_LEAVE, members, rooms),
        RequestBody::Disconnect { members, close } => {
            let mut sink = Sink::for_nodes(false);
            begin(&mut sink, DISCONNECT_SOCKETS, 2, None);
            opts(&mut sink, members)?;
            sink.bool("close", *close);
            sink.end();
            end(sink, uid, nsp)?.finish()
        }
        RequestBody::Fetch { members } => fetch(uid, nsp, id, members),
        // Nobody else asks for them apart from their sockets.
        RequestBody::AllRooms => fetch(uid, nsp, id, &Members::default()),
        RequestBody::ServerSideEmit { args } => {
            let mut sink = Sink::for_nodes(args.iter().any(is_binary));
            begin(
                &mut sink,
                SERVER_SIDE_EMIT,
                1 + usize::from(id.is_some()),
                None,
            );
            if let Some(id) = id {
                sink.str("requestId", id)?;
            }
            sink.args("packet", args, None)?;
            sink.end();
            end(sink, uid, nsp)?.finish()
        }
        RequestBody::Sockets { .. } | RequestBody::One { .. } => Err(EncodeError::ClassicOnly),
    }
}

fn changed(
    uid: &str,
    nsp: &str,
    kind: i64,
    members: &Members,
    rooms: &[String],
) -> Result<Bytes, EncodeError> {
    if rooms.len() > MAX_CHANGED_ROOMS {
        return Err(EncodeError::TooManyRooms);
    }
    let mut sink = Sink::for_nodes(false);
    begin(&mut sink, kind, 2, None);
    opts(&mut sink, members)?;
    sink.names("rooms", rooms)?;
    sink.end();
    end(sink, uid, nsp)?.finish()
}

fn fetch(uid: &str, nsp: &str, id: Option<&str>, members: &Members) -> Result<Bytes, EncodeError> {
    let mut sink = Sink::for_nodes(false);
    begin(
        &mut sink,
        FETCH_SOCKETS,
        1 + usize::from(id.is_some()),
        None,
    );
    opts(&mut sink, members)?;
    if let Some(id) = id {
        sink.str("requestId", id)?;
    }
    sink.end();
    end(sink, uid, nsp)?.finish()
}

fn opts(sink: &mut Sink, members: &Members) -> Result<(), EncodeError> {
    sink.key("opts");
    sink.map(3);
    sink.names("rooms", &members.rooms)?;
    sink.names("except", &members.except)?;
    sink.key("flags");
    sink.map(0);
    sink.end();
    sink.end();
    Ok(())
}

/// Encodes an answer of the node `uid`.
///
/// # Errors
/// See [`EncodeError`].
pub fn encode_answer(uid: &str, nsp: &str, answer: &Answer) -> Result<Bytes, EncodeError> {
    let list;
    let (kind, field) = match &answer.body {
        AnswerBody::Sockets(sockets) => {
            list = Value::Array(sockets.clone());
            (FETCH_SOCKETS_RESPONSE, Some(("sockets", &list)))
        }
        AnswerBody::ServerSide(packet) => (
            SERVER_SIDE_EMIT_RESPONSE,
            packet.as_ref().map(|packet| ("packet", packet)),
        ),
        AnswerBody::ClientCount(count) => {
            list = Value::from(*count);
            (BROADCAST_CLIENT_COUNT, Some(("clientCount", &list)))
        }
        AnswerBody::Ack(packet) => (
            BROADCAST_ACK,
            packet.as_ref().map(|packet| ("packet", packet)),
        ),
        AnswerBody::Rooms(_) | AnswerBody::Done => return Err(EncodeError::ClassicOnly),
    };
    let mut sink = Sink::for_nodes(field.is_some_and(|(_, value)| is_binary(value)));
    begin(&mut sink, kind, 1 + usize::from(field.is_some()), None);
    sink.str("requestId", &answer.id)?;
    if let Some((key, value)) = field {
        sink.value(key, value)?;
    }
    sink.end();
    end(sink, uid, nsp)?.finish()
}

fn has_binary(broadcast: &Broadcast) -> bool {
    let note = broadcast.extension.as_ref().and_then(|e| e.note.as_ref());
    note.is_some() || broadcast.args.iter().any(is_binary)
}

/// Values come from decoders that bound their depth, or from the application, whose depth [`Sink`] refuses: this looks no deeper than that.
fn is_binary(value: &Value) -> bool {
    fn within(value: &Value, depth: usize) -> bool {
        let Some(depth) = depth.checked_sub(1) else {
            return false;
        };
        match value {
            Value::Bin(_) => true,
            Value::Array(items) => items.iter().any(|item| within(item, depth)),
            Value::Map(pairs) => pairs.iter().any(|(_, value)| within(value, depth)),
            _ => false,
        }
    }
    within(value, crate::limits::MAX_DEPTH + super::LEVELS)
}
