//! What nodes ask of each other.

use bytes::Bytes;
use unisono_proto::Value;

use super::body::{self, Fields, room_names};
use super::{EncodeError, RequestError, encode};
use crate::broadcast::{Broadcast, Flags, Members};
use crate::limits::MAX_CHANGED_ROOMS;
use crate::msgpack::Writer;

/// Something that one node asks of all the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Who asks: names the channel of private answers. Empty from an emitter that names itself nothing, and then not written.
    pub uid: String,
    /// What answers repeat. `None` if none are wanted.
    pub id: Option<String>,
    /// What is asked.
    pub body: RequestBody,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum RequestBody {
    /// The ids of the sockets in any of `rooms`; none means all (type 0).
    Sockets {
        /// Names of rooms.
        rooms: Vec<String>,
    },
    /// The names of all rooms, those of the sockets' own ids among them (type 1).
    AllRooms,
    /// Puts sockets into rooms (type 2).
    Join {
        /// Which sockets.
        members: Members,
        /// Into these.
        rooms: Vec<String>,
    },
    /// Takes sockets out of rooms (type 3).
    Leave {
        /// Which sockets.
        members: Members,
        /// Out of these.
        rooms: Vec<String>,
    },
    /// Ends sockets (type 4).
    Disconnect {
        /// Which sockets.
        members: Members,
        /// And the connections under them.
        close: bool,
    },
    /// One of the three above in its old form: of one socket, and answered by the node that has it.
    One {
        /// The socket.
        sid: String,
        /// What becomes of it.
        change: Change,
    },
    /// The sockets with what there is to know of them (type 5).
    Fetch {
        /// Which sockets.
        members: Members,
    },
    /// An event for the nodes, not their clients (type 6): the name, then the arguments.
    ServerSideEmit {
        /// Never empty.
        args: Vec<Value>,
    },
    /// A broadcast whose acknowledgements are wanted (type 7).
    Broadcast(Broadcast),
}

/// What becomes of one socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It joins the room.
    Join(String),
    /// It leaves the room.
    Leave(String),
    /// It ends, and with `true` the connection under it too.
    Disconnect(bool),
}

/// Names of events for nodes that they keep for themselves: a Node.js pod takes the first three for its own events, and the last ends a pod
/// without a listener. Not to be sent.
pub const RESERVED_SERVER_SIDE: [&str; 4] = ["connect", "connection", "new_namespace", "error"];

pub(super) const SOCKETS: i64 = 0;
pub(super) const ALL_ROOMS: i64 = 1;
pub(crate) const REMOTE_JOIN: i64 = 2;
pub(crate) const REMOTE_LEAVE: i64 = 3;
pub(crate) const REMOTE_DISCONNECT: i64 = 4;
pub(crate) const REMOTE_FETCH: i64 = 5;
pub(super) const SERVER_SIDE_EMIT: i64 = 6;
pub(super) const BROADCAST: i64 = 7;

/// Decodes a request.
///
/// # Errors
/// See [`RequestError`]. A request whose target cannot be read is refused: without it, everybody would be meant.
pub fn decode_request(bytes: &[u8]) -> Result<Request, RequestError> {
    let mut fields = Fields::read(bytes)?;
    let kind = fields.number("type").ok_or(RequestError::Type)?;
    if !(SOCKETS..=BROADCAST).contains(&kind) {
        return Err(RequestError::Type);
    }
    let uid = fields.name("uid")?.unwrap_or_default();
    let id = fields.name("requestId")?;
    let body = match kind {
        SOCKETS => RequestBody::Sockets {
            rooms: fields.room_names("rooms")?,
        },
        ALL_ROOMS => RequestBody::AllRooms,
        REMOTE_JOIN | REMOTE_LEAVE | REMOTE_DISCONNECT => change(&mut fields, kind)?,
        REMOTE_FETCH => RequestBody::Fetch {
            members: members(&mut options(&mut fields)?)?,
        },
        SERVER_SIDE_EMIT => RequestBody::ServerSideEmit {
            args: event(&mut fields, "data")?,
        },
        _ => RequestBody::Broadcast(broadcast(&mut fields)?),
    };
    let answered = !matches!(
        body,
        RequestBody::Join { .. }
            | RequestBody::Leave { .. }
            | RequestBody::Disconnect { .. }
            | RequestBody::ServerSideEmit { .. }
    );
    if answered && id.is_none() {
        return Err(RequestError::Field("requestId"));
    }
    Ok(Request { uid, id, body })
}

fn change(fields: &mut Fields, kind: i64) -> Result<RequestBody, RequestError> {
    match fields.take("opts").and_then(Fields::of) {
        Some(options) => change_of(options, fields, kind),
        None => one(fields, kind),
    }
}

/// A change of the sockets that the options mean.
pub(crate) fn change_of(
    mut options: Fields,
    fields: &mut Fields,
    kind: i64,
) -> Result<RequestBody, RequestError> {
    let members = members(&mut options)?;
    Ok(match kind {
        REMOTE_JOIN => RequestBody::Join {
            members,
            rooms: changed_rooms(fields)?,
        },
        REMOTE_LEAVE => RequestBody::Leave {
            members,
            rooms: changed_rooms(fields)?,
        },
        _ => RequestBody::Disconnect {
            members,
            close: fields.truth("close").unwrap_or(false),
        },
    })
}

/// To be joined or left by each of the sockets.
fn changed_rooms(fields: &mut Fields) -> Result<Vec<String>, RequestError> {
    let rooms = fields.room_names("rooms")?;
    if rooms.len() > MAX_CHANGED_ROOMS {
        return Err(RequestError::TooManyRooms);
    }
    Ok(rooms)
}

fn one(fields: &mut Fields, kind: i64) -> Result<RequestBody, RequestError> {
    let sid = fields.name("sid")?.ok_or(RequestError::Field("opts"))?;
    let mut room = || match fields.take("room") {
        Some(Value::Str(room)) => Ok(room),
        Some(Value::Int(number)) => Ok(number.to_string()),
        _ => Err(RequestError::Field("room")),
    };
    let change = match kind {
        REMOTE_JOIN => Change::Join(room()?),
        REMOTE_LEAVE => Change::Leave(room()?),
        _ => Change::Disconnect(fields.truth("close").unwrap_or(false)),
    };
    Ok(RequestBody::One { sid, change })
}

pub(crate) fn options(fields: &mut Fields) -> Result<Fields, RequestError> {
    let options = fields.take("opts").and_then(Fields::of);
    options.ok_or(RequestError::Field("opts"))
}

pub(crate) fn members(options: &mut Fields) -> Result<Members, RequestError> {
    let rooms = options.room_names("rooms")?;
    let except = match options.take("except") {
        None | Some(Value::Null) => Vec::new(),
        Some(except) => room_names(except, "except")?,
    };
    Ok(Members { rooms, except })
}

/// A list that begins with a name.
pub(crate) fn event(fields: &mut Fields, key: &'static str) -> Result<Vec<Value>, RequestError> {
    let args = fields.array(key).unwrap_or_default();
    let named = matches!(
        args.first(),
        Some(Value::Str(_) | Value::Int(_) | Value::Float(_))
    );
    if named {
        Ok(args)
    } else {
        Err(RequestError::Field(key))
    }
}

/// The fields `packet` and `opts`.
pub(crate) fn broadcast(fields: &mut Fields) -> Result<Broadcast, RequestError> {
    let mut packet = fields
        .take("packet")
        .and_then(Fields::of)
        .ok_or(RequestError::Field("packet"))?;
    if packet.number("type") != Some(encode::EVENT) {
        return Err(RequestError::Field("packet"));
    }
    let mut options = options(fields)?;
    let Members { rooms, except } = members(&mut options)?;
    let mut flags = Flags::default();
    if let Some(mut set) = options.take("flags").and_then(Fields::of) {
        flags = Flags {
            volatile: set.truth("volatile").unwrap_or(false),
            compress: set.truth("compress"),
            timeout_ms: set.number("timeout").and_then(|ms| u64::try_from(ms).ok()),
            expect_single_response: set.truth("expectSingleResponse").unwrap_or(false),
            local: false,
        };
    }
    Ok(Broadcast {
        args: event(&mut packet, "data")?,
        rooms,
        except,
        flags,
        extension: None,
    })
}

/// Encodes a request of namespace `nsp` as Node.js does: JSON, or MessagePack for a broadcast.
///
/// # Errors
/// See [`EncodeError`].
pub fn encode_request(nsp: &str, request: &Request) -> Result<Bytes, EncodeError> {
    if let RequestBody::Join { rooms, .. } | RequestBody::Leave { rooms, .. } = &request.body
        && rooms.len() > MAX_CHANGED_ROOMS
    {
        return Err(EncodeError::TooManyRooms);
    }
    let (kind, rest) = match &request.body {
        RequestBody::Broadcast(broadcast) => return encode_broadcast(nsp, request, broadcast),
        RequestBody::Sockets { rooms } => (SOCKETS, vec![("rooms", list(rooms))]),
        RequestBody::AllRooms => (ALL_ROOMS, vec![]),
        RequestBody::Join { members, rooms } => {
            (REMOTE_JOIN, vec![opts(members), ("rooms", list(rooms))])
        }
        RequestBody::Leave { members, rooms } => {
            (REMOTE_LEAVE, vec![opts(members), ("rooms", list(rooms))])
        }
        RequestBody::Disconnect { members, close } => {
            let close = ("close", Value::Bool(*close));
            (REMOTE_DISCONNECT, vec![opts(members), close])
        }
        RequestBody::One { sid, change } => {
            let (kind, what) = match change {
                Change::Join(room) => (REMOTE_JOIN, ("room", room.as_str().into())),
                Change::Leave(room) => (REMOTE_LEAVE, ("room", room.as_str().into())),
                Change::Disconnect(close) => (REMOTE_DISCONNECT, ("close", (*close).into())),
            };
            (kind, vec![("sid", sid.as_str().into()), what])
        }
        RequestBody::Fetch { members } => (REMOTE_FETCH, vec![opts(members)]),
        RequestBody::ServerSideEmit { args } => {
            (SERVER_SIDE_EMIT, vec![("data", Value::Array(args.clone()))])
        }
    };
    let mut fields = Vec::with_capacity(3 + rest.len());
    if !request.uid.is_empty() {
        fields.push(("uid", Value::from(request.uid.as_str())));
    }
    fields.extend(request.id.as_deref().map(|id| ("requestId", id.into())));
    fields.push(("type", Value::Int(kind)));
    fields.extend(rest);
    body::json(&fields)
}

fn encode_broadcast(
    nsp: &str,
    request: &Request,
    broadcast: &Broadcast,
) -> Result<Bytes, EncodeError> {
    encode::check(broadcast)?;
    let mut writer = Writer::with_capacity(256);
    writer.map(if request.id.is_some() { 5 } else { 4 });
    writer.str("uid");
    writer.str(&request.uid);
    if let Some(id) = &request.id {
        writer.str("requestId");
        writer.str(id);
    }
    writer.str("type");
    writer.int(BROADCAST);
    writer.str("packet");
    encode::packet(&mut writer, nsp, &broadcast.args, None)?;
    writer.str("opts");
    encode::options(&mut writer, broadcast);
    encode::check_size(writer.len())?;
    Ok(writer.finish())
}

pub(crate) fn opts(members: &Members) -> (&'static str, Value) {
    let fields = [("rooms", &members.rooms), ("except", &members.except)];
    let fields = fields.map(|(key, names)| (key.to_owned(), list(names)));
    ("opts", Value::Map(fields.into()))
}

pub(crate) fn list(names: &[String]) -> Value {
    Value::Array(names.iter().map(|name| name.as_str().into()).collect())
}
