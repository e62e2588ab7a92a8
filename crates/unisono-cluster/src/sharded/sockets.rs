//! An answer with sockets, written one after another.

use bytes::Bytes;
use unisono_proto::Value;

use super::{FETCH_SOCKETS_RESPONSE, Tail};
use crate::classic::EncodeError;
use crate::classic::encode::check_size;
use crate::limits::MAX_VALUES;
use crate::msgpack::Writer;

/// Values around the sockets.
const ENVELOPE_VALUES: usize = 16;

/// The level of a socket, as for the list of an event's arguments: its parts can be nested as deep as an argument.
const SOCKET_DEPTH: usize = 1;

/// A list of sockets in MessagePack, socket by socket: one that cannot be written does not spoil the rest, and no more is ever held than one
/// message may have.
pub struct SocketsAnswer {
    writer: Writer,
    /// Where the list stands.
    list: usize,
    sockets: u32,
    values: usize,
    tail: Vec<u8>,
}

impl SocketsAnswer {
    /// An answer of the node `uid` to the request of that id, without sockets yet.
    pub fn new(uid: &str, nsp: &str, id: &str) -> Self {
        let mut writer = Writer::with_capacity(1024).for_nodes();
        writer.map(4);
        writer.str("type");
        writer.int(FETCH_SOCKETS_RESPONSE);
        writer.str("data");
        writer.map(2);
        writer.str("requestId");
        writer.str(id);
        writer.str("sockets");
        let list = writer.array32();
        Self {
            writer,
            list,
            sockets: 0,
            values: ENVELOPE_VALUES,
            tail: Tail::new(uid, nsp).into_msgpack(),
        }
    }

    /// Adds a socket.
    ///
    /// # Errors
    /// [`EncodeError::TooDeep`]; or with it the answer would be larger, or have more values, than other nodes read. It is as it was before.
    pub fn push(&mut self, socket: &Value) -> Result<(), EncodeError> {
        let before = self.writer.len();
        let values = self.values.saturating_add(values_of(socket, 0));
        if values >= MAX_VALUES {
            return Err(EncodeError::TooManyValues);
        }
        let written = self.writer.value(socket, SOCKET_DEPTH);
        let pushed = written.and_then(|()| check_size(self.writer.len() + self.tail.len()));
        match pushed {
            Ok(()) => {
                self.sockets += 1;
                self.values = values;
            }
            Err(_) => self.writer.truncate(before),
        }
        pushed
    }

    /// The whole answer.
    pub fn finish(mut self) -> Bytes {
        self.writer.set_array32(self.list, self.sockets);
        self.writer.raw(&self.tail);
        self.writer.finish()
    }
}

impl std::fmt::Debug for SocketsAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SocketsAnswer")
            .field("sockets", &self.sockets)
            .finish_non_exhaustive()
    }
}

/// Values and keys, no deeper than can be written.
fn values_of(value: &Value, depth: usize) -> usize {
    if depth > crate::limits::MAX_DEPTH {
        return 1;
    }
    match value {
        Value::Array(items) => 1 + items.iter().map(|i| values_of(i, depth + 1)).sum::<usize>(),
        Value::Map(pairs) => {
            let inner = pairs
                .iter()
                .map(|(_, value)| 1 + values_of(value, depth + 1));
            1 + inner.sum::<usize>()
        }
        _ => 1,
    }
}
