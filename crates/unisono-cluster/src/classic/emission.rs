//! What emitters publish: programs that tell the nodes something and are none themselves.

use bytes::Bytes;

use super::{
    EMITTER_UID, EncodeError, Request, RequestBody, channel, encode, encode_request,
    request_channel,
};
use crate::broadcast::Broadcast;

/// One message of an emitter, as `@socket.io/redis-emitter` 5 publishes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emission {
    /// Where to publish.
    pub channel: String,
    /// What.
    pub payload: Bytes,
}

impl Emission {
    /// An event for clients.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn broadcast(prefix: &str, nsp: &str, broadcast: &Broadcast) -> Result<Self, EncodeError> {
        Ok(Self {
            channel: channel(prefix, nsp, &broadcast.rooms),
            payload: encode(EMITTER_UID, nsp, broadcast)?,
        })
    }

    /// Something that the nodes are to do. Nothing is answered: an emitter does not listen.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn request(prefix: &str, nsp: &str, body: RequestBody) -> Result<Self, EncodeError> {
        // Of an event for nodes each sees whether it is its own; of what becomes of sockets none asks.
        let uid = match body {
            RequestBody::ServerSideEmit { .. } => EMITTER_UID,
            _ => "",
        };
        let request = Request {
            uid: uid.to_owned(),
            id: None,
            body,
        };
        Ok(Self {
            channel: request_channel(prefix, nsp),
            payload: encode_request(nsp, &request)?,
        })
    }
}
