//! What can be wrong with a message, going out and coming in.

use unisono_proto::limits::MAX_JSON_VALUES;
use unisono_proto::value::JsonError;

use crate::limits::{
    MAX_ATTACHMENTS, MAX_BUS_MESSAGE_BYTES, MAX_CHANGED_ROOMS, MAX_DEPTH, MAX_NAME_BYTES,
    MAX_PEERS, MAX_VALUES,
};

/// Why a broadcast, a request or an answer cannot be put on the bus. All are misuse by our caller; nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// There is no event name, or it is neither a string nor a number.
    #[error("the first argument must be the event name, a string or a number")]
    NoEvent,
    /// Flagged as local: it must stay on this node.
    #[error("a local broadcast must not be published")]
    Local,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("arguments are nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// More byte strings than [`MAX_ATTACHMENTS`]: JavaScript clients would disconnect.
    #[error("more than {MAX_ATTACHMENTS} binary attachments: clients would refuse them")]
    TooManyAttachments,
    /// Larger than [`MAX_BUS_MESSAGE_BYTES`] once encoded.
    #[error(
        "message of {bytes} bytes exceeds the bus limit of {MAX_BUS_MESSAGE_BYTES}: send less, or a reference to it"
    )]
    TooLarge {
        /// Encoded size, as far as it was written.
        bytes: usize,
    },
    /// Requests and answers in JSON only: more than [`MAX_JSON_VALUES`] values, where each byte of a byte string is one.
    #[error("more than {MAX_JSON_VALUES} values, or bytes, in JSON: other nodes would refuse it")]
    TooManyValues,
    /// More than [`MAX_CHANGED_ROOMS`] rooms to join or leave.
    #[error("more than {MAX_CHANGED_ROOMS} rooms to join or leave: do it in several steps")]
    TooManyRooms,
    /// A request or an answer that only the classic adapter knows.
    #[error("the sharded adapter has no such message")]
    ClassicOnly,
    /// Templates only: the last argument is not a map, so there is no place for the revision.
    #[error("the last argument must be a map to carry the revision")]
    NoMap,
    /// Templates only: the broadcast has no extension, hence no sequence number.
    #[error("a commit needs a sequence number in its extension")]
    NoSequence,
}

/// Why a message from the bus is ignored. Its sender misbehaved, or speaks another dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DecodeError {
    /// Larger than [`MAX_BUS_MESSAGE_BYTES`].
    #[error("larger than the bus limit of {MAX_BUS_MESSAGE_BYTES} bytes")]
    TooLarge,
    /// Ends before its end.
    #[error("truncated")]
    Truncated,
    /// Goes on behind its end.
    #[error("trailing bytes")]
    TrailingBytes,
    /// Contains the one byte that MessagePack never uses.
    #[error("reserved marker byte")]
    ReservedMarker,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// More than [`MAX_VALUES`] values.
    #[error("more than {MAX_VALUES} values")]
    TooManyValues,
    /// More byte strings than [`MAX_ATTACHMENTS`]: clients would disconnect.
    #[error("more than {MAX_ATTACHMENTS} binary attachments")]
    TooManyAttachments,
    /// A map key that is a container or bytes.
    #[error("map key is not a scalar")]
    MapKey,
    /// Not an array of at least three elements.
    #[error("not an array of uid, packet and options")]
    Envelope,
    /// The packet is not a map (a struct sent as an array, for example).
    #[error("packet is not a map")]
    Packet,
    /// The packet is not an event. Other types would drop clients.
    #[error("packet type is not 2")]
    PacketType,
    /// `nsp` is there but not a string.
    #[error("namespace is not a string")]
    Namespace,
    /// `data` is missing, empty, not an array, or does not start with a string or number.
    #[error("data is not an array that starts with the event name")]
    Data,
    /// The options are not a map. Node.js would broadcast to everybody.
    #[error("options are not a map")]
    Options,
    /// `rooms` or `except` is not a list of names. Ignoring them would reach everybody.
    #[error("rooms are not a list of names")]
    Rooms,
}

/// Why a request or an answer of another node is ignored. Its sender misbehaved, or speaks another dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It begins like JSON and is none.
    #[error("not JSON: {0}")]
    Json(#[from] JsonError),
    /// It is no MessagePack, or too large.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Not a map.
    #[error("not a map")]
    NotAMap,
    /// The field of that name is missing, or not what it should be.
    #[error("the field `{0}` is missing or not what it should be")]
    Field(&'static str),
    /// A name (of a request, a node or a socket) longer than [`MAX_NAME_BYTES`].
    #[error("a name has more than {MAX_NAME_BYTES} bytes")]
    Name,
    /// More than [`MAX_CHANGED_ROOMS`] rooms to join or leave.
    #[error("more than {MAX_CHANGED_ROOMS} rooms to join or leave")]
    TooManyRooms,
    /// A request of a type that is not known.
    #[error("unknown type of request")]
    Type,
    /// A server that is not known, while [`MAX_PEERS`] others are and live.
    #[error("there are {MAX_PEERS} other servers already, and all of them live")]
    TooManyServers,
}
