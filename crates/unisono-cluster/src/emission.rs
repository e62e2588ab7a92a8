//! What emitters publish: programs that tell the nodes something and are none themselves.

use bytes::Bytes;

use crate::adapter::Adapter;
use crate::broadcast::Broadcast;
use crate::classic::{self, EMITTER_UID, EncodeError, Request, RequestBody};
use crate::sharded;

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
                channel: sharded::channel(prefix, nsp, mode, broadcast),
                payload: sharded::encode(EMITTER_UID, nsp, broadcast)?,
            },
        })
    }

    /// Something that the nodes are to do. Nothing is answered: an emitter does not listen.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn request(
        adapter: Adapter,
        prefix: &str,
        nsp: &str,
        body: RequestBody,
    ) -> Result<Self, EncodeError> {
        // In the classic one each node sees by it whether an event for nodes is its own; of what becomes of sockets none asks.
        let is_named = matches!(adapter, Adapter::Sharded(_))
            || matches!(body, RequestBody::ServerSideEmit { .. });
        let uid = if is_named { EMITTER_UID } else { "" };
        let request = Request {
            uid: uid.to_owned(),
            id: None,
            body,
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
