//! What emitters publish: programs that tell the nodes something and are none themselves.

use bytes::Bytes;
use unisono_proto::Value;

use crate::adapter::Adapter;
use crate::broadcast::{Broadcast, Members};
use crate::classic::{self, EMITTER_UID, EncodeError, Request, RequestBody};
use crate::sharded;

/// What an emitter may have the nodes do: the requests that nobody has to answer, for nobody would hear it.
#[derive(Clone, Debug, PartialEq)]
pub enum Instruction {
    /// Puts sockets into rooms.
    Join {
        /// Which sockets.
        members: Members,
        /// Into these.
        rooms: Vec<String>,
    },
    /// Takes sockets out of rooms.
    Leave {
        /// Which sockets.
        members: Members,
        /// Out of these.
        rooms: Vec<String>,
    },
    /// Ends sockets.
    Disconnect {
        /// Which sockets.
        members: Members,
        /// And the connections under them.
        close: bool,
    },
    /// An event for the nodes, not their clients: the name, then the arguments.
    ServerSideEmit {
        /// Never empty.
        args: Vec<Value>,
    },
}

impl From<Instruction> for RequestBody {
    fn from(instruction: Instruction) -> Self {
        match instruction {
            Instruction::Join { members, rooms } => Self::Join { members, rooms },
            Instruction::Leave { members, rooms } => Self::Leave { members, rooms },
            Instruction::Disconnect { members, close } => Self::Disconnect { members, close },
            Instruction::ServerSideEmit { args } => Self::ServerSideEmit { args },
        }
    }
}

/// One message of an emitter: of the classic adapter as `@socket.io/redis-emitter` 5 publishes it. For the sharded one Node.js has no
/// emitter; its pods take what a node would publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emission {
    /// Where to publish, with [`Adapter::publish_command`].
    pub channel: String,
    /// What.
    pub payload: Bytes,
}

impl Emission {
    /// An event for clients.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn broadcast(
        adapter: Adapter,
        prefix: &str,
        nsp: &str,
        broadcast: &Broadcast,
    ) -> Result<Self, EncodeError> {
        Ok(match adapter {
            Adapter::Classic => Self {
                channel: classic::channel(prefix, nsp, &broadcast.rooms),
                payload: classic::encode(EMITTER_UID, nsp, broadcast)?,
            },
            Adapter::Sharded(mode) => Self {
                channel: sharded::channel(prefix, nsp, sharded::room_apart(mode, broadcast)),
                payload: sharded::encode(EMITTER_UID, nsp, broadcast)?,
            },
        })
    }

    /// Something that the nodes are to do.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn instruction(
        adapter: Adapter,
        prefix: &str,
        nsp: &str,
        instruction: Instruction,
    ) -> Result<Self, EncodeError> {
        // In the classic one each node sees by it whether an event for nodes is its own; of what becomes of sockets none asks.
        let is_named = matches!(adapter, Adapter::Sharded(_))
            || matches!(instruction, Instruction::ServerSideEmit { .. });
        let uid = if is_named { EMITTER_UID } else { "" };
        let request = Request {
            uid: uid.to_owned(),
            id: None,
            body: instruction.into(),
        };
        Ok(match adapter {
            Adapter::Classic => Self {
                channel: classic::request_channel(prefix, nsp),
                payload: classic::encode_request(nsp, &request)?,
            },
            Adapter::Sharded(_) => Self {
                channel: sharded::main_channel(prefix, nsp),
                payload: sharded::encode_request(nsp, &request)?,
            },
        })
    }
}
