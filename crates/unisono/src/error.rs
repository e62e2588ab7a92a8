//! What can go wrong for a caller of the library.

use unisono_proto::Value;
use unisono_proto::socket::EncodeError;
use unisono_proto::value::ValueError;

use crate::rooms::RoomError;

/// An event that could not be emitted. Nobody got it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The payload cannot be expressed as Socket.IO arguments.
    #[error("the payload cannot be serialised: {0}")]
    Value(#[from] ValueError),
    /// The packet breaks a rule of the protocol, such as more than ten attachments.
    #[error("the event cannot be encoded: {0}")]
    Encode(#[from] EncodeError),
    /// The event's name is one that Socket.IO keeps for itself.
    #[error("`{0}` is reserved by Socket.IO; choose another event name")]
    Reserved(String),
    /// The client has not joined yet, so it can be told nothing but whether it may: emit from `on_connect`, not from a middleware.
    #[error(
        "the client is not in the namespace yet; emit from `on_connect`, not from a middleware"
    )]
    NotJoined,
    /// As many requests to other nodes as allowed (1,024 in a namespace) await their answers.
    #[error(
        "too many requests to other nodes await their answers; wait for some before asking more"
    )]
    TooManyRequests,
    /// Nobody knows how many nodes there are while the link to them is away.
    #[error("the link to the other nodes is away or slow")]
    Unreachable,
    /// A broadcast cannot be ordered and wait for answers.
    #[error("a broadcast that waits for answers cannot be ordered")]
    OrderedAck,
    /// At least one of the sockets is not put into the rooms; the others are.
    #[error("not all sockets have joined: {0}")]
    Room(#[from] RoomError),
    /// The message cannot be written for the other nodes.
    #[error("the event cannot be encoded for the other nodes: {0}")]
    Cluster(String),
    /// The payload of a prepared broadcast is not a map, so it has no place for its revision.
    #[error("a prepared broadcast needs a struct or a map as its payload")]
    NotAMap,
}

/// Why a client is not let into a namespace: what its `connect_error` handler gets.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    pub(crate) message: String,
    pub(crate) data: Option<Value>,
}

impl ConnectError {
    /// The `message` of the client's error.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            data: None,
        }
    }

    /// The `data` of the client's error, for programs to read.
    #[must_use]
    pub fn with_data(mut self, data: impl Into<Value>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// As the payload of a CONNECT_ERROR packet to a client of Engine.IO 3: the data alone, or else the message. As for Node, data that
    /// JavaScript takes for false is none.
    pub(crate) fn into_v3_value(self) -> Value {
        let is_something = |data: &Value| match data {
            Value::Null => false,
            Value::Bool(bool) => *bool,
            Value::Int(number) => *number != 0,
            Value::Float(number) => *number != 0.0 && !number.is_nan(),
            Value::Str(text) => !text.is_empty(),
            Value::Bin(_) | Value::Array(_) | Value::Map(_) => true,
        };
        let data = self.data.filter(is_something);
        data.unwrap_or_else(|| self.message.into())
    }

    /// As the payload of a CONNECT_ERROR packet.
    pub(crate) fn into_value(self) -> Value {
        let mut fields = vec![("message".to_owned(), self.message.into())];
        fields.extend(self.data.map(|data| ("data".to_owned(), data)));
        Value::Map(fields)
    }
}
