//! For programs that tell the nodes' clients something and serve none themselves.

mod door;
mod error;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use unisono_cluster::classic::RESERVED_SERVER_SIDE;
use unisono_cluster::{Broadcast, Emission, Instruction, Members};
use unisono_proto::Value;
use unisono_proto::socket::RESERVED_EVENTS;
use unisono_proto::value::to_args;

use crate::config::RedisConfig;
use crate::limits::EMIT_DEADLINE;
use door::Door;

pub use error::EmitterError;

/// Publishes to all nodes without being one: it subscribes to nothing, answers nothing and is never counted. What
/// `@socket.io/redis-emitter` is for Node.js, and heard by the same pods: Node.js's and ours, of the adapter that the configuration names ([`RedisConfig::adapter`]).
///
/// Clones are cheap and share one connection, which is opened when it is first needed, and anew after it broke.
///
/// Every call is awaited: it ends when Redis has confirmed, with the number of subscriptions that got the message. That is usually one for
/// each node that serves the namespace, and zero if nobody listens: then nobody hears of it, ever, since nothing is kept. (In a Redis
/// Cluster a classic one counts those on one Redis node only.) What is awaited one after another arrives in that order.
///
/// Nothing is ever sent twice: a call that fails says whether the message may be published all the same
/// ([`EmitterError::is_outcome_unknown`]).
///
/// ```no_run
/// use unisono_redis::{Emitter, RedisConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let emitter = Emitter::new(RedisConfig::parse("redis://localhost:6379")?, "socket.io");
/// let listening = emitter.to("lobby").except("away").emit("news", &("hello", 1)).await?;
/// if listening == 0 {
///     eprintln!("no pod serves the namespace");
/// }
/// emitter.of("/admin").to("lobby").disconnect_sockets(true).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Emitter {
    door: Arc<Door>,
    nsp: Arc<str>,
}

impl Emitter {
    /// For the namespace `/` on this Redis; `key` is the channel prefix of the nodes, by default `socket.io`. Does not connect yet.
    pub fn new(config: RedisConfig, key: &str) -> Self {
        Self {
            door: Arc::new(Door::new(config, key.to_owned(), EMIT_DEADLINE)),
            nsp: "/".into(),
        }
    }

    /// How long one call may take, connecting included. Default 5 s. On a connection of its own: call it before making clones.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self {
            door: Arc::new(self.door.with_deadline(deadline)),
            nsp: self.nsp,
        }
    }

    /// The same for another namespace; a missing slash at the beginning is added.
    #[must_use]
    pub fn of(&self, nsp: &str) -> Self {
        let slash = if nsp.starts_with('/') { "" } else { "/" };
        Self {
            door: self.door.clone(),
            nsp: format!("{slash}{nsp}").into(),
        }
    }

    /// For everybody in the namespace, to be narrowed down.
    pub fn broadcast(&self) -> EmitterBroadcast {
        EmitterBroadcast {
            emitter: self.clone(),
            message: Broadcast::default(),
        }
    }

    /// For the members of `room`.
    pub fn to(&self, room: &str) -> EmitterBroadcast {
        self.broadcast().to(room)
    }

    /// The same as [`to`](Self::to).
    pub fn in_(&self, room: &str) -> EmitterBroadcast {
        self.to(room)
    }

    /// For everybody but the members of `room`.
    pub fn except(&self, room: &str) -> EmitterBroadcast {
        self.broadcast().except(room)
    }

    /// [`EmitterBroadcast::emit`] to everybody.
    ///
    /// # Errors
    /// As there.
    pub fn emit<T: Serialize + ?Sized>(
        &self,
        event: &str,
        data: &T,
    ) -> impl Future<Output = Result<u64, EmitterError>> + Send + use<T> {
        self.broadcast().emit(event, data)
    }

    /// An event for the nodes themselves, not their clients. Nobody can answer. A tuple becomes several arguments, `()` none.
    ///
    /// # Errors
    /// See [`EmitterError`].
    pub fn server_side_emit<T: Serialize + ?Sized>(
        &self,
        event: &str,
        data: &T,
    ) -> impl Future<Output = Result<u64, EmitterError>> + Send + use<T> {
        let args = event_args(event, data, &RESERVED_SERVER_SIDE);
        let instruction = args.map(|args| Instruction::ServerSideEmit { args });
        self.clone().instruct(instruction)
    }

    async fn instruct(
        self,
        instruction: Result<Instruction, EmitterError>,
    ) -> Result<u64, EmitterError> {
        let (adapter, key) = (self.door.adapter(), self.door.key());
        let emission = Emission::instruction(adapter, key, &self.nsp, instruction?)?;
        Ok(self.door.publish(&self.nsp, &emission).await?)
    }
}

/// An event, or an order, for some or all clients of a namespace, on all nodes. Narrow it down, then say what.
#[derive(Clone)]
#[must_use = "nothing is published until it is emitted"]
pub struct EmitterBroadcast {
    emitter: Emitter,
    message: Broadcast,
}

impl EmitterBroadcast {
    /// Adds the members of `room`. Somebody in several rooms gets the event once.
    pub fn to(mut self, room: &str) -> Self {
        self.message.rooms.push(room.to_owned());
        self
    }

    /// The same as [`to`](Self::to).
    pub fn in_(self, room: &str) -> Self {
        self.to(room)
    }

    /// Leaves out the members of `room`; a socket's id is a room too.
    pub fn except(mut self, room: &str) -> Self {
        self.message.except.push(room.to_owned());
        self
    }

    /// Skips clients that cannot take it at once. Each node decides for its own.
    pub fn volatile(mut self) -> Self {
        self.message.flags.volatile = true;
        self
    }

    /// Tells nodes whether to compress; ours never do.
    pub fn compress(mut self, compress: bool) -> Self {
        self.message.flags.compress = Some(compress);
        self
    }

    /// Emits to the clients. A tuple becomes several arguments, `()` none.
    ///
    /// # Errors
    /// See [`EmitterError`].
    pub fn emit<T: Serialize + ?Sized>(
        self,
        event: &str,
        data: &T,
    ) -> impl Future<Output = Result<u64, EmitterError>> + Send + use<T> {
        let args = event_args(event, data, &RESERVED_EVENTS);
        async move {
            let Emitter { door, nsp } = self.emitter;
            let message = Broadcast {
                args: args?,
                ..self.message
            };
            let emission = Emission::broadcast(door.adapter(), door.key(), &nsp, &message)?;
            Ok(door.publish(&nsp, &emission).await?)
        }
    }

    /// Puts the clients' sockets into rooms. With the sharded adapter, nodes without a member of such a room begin to listen to its channel
    /// only then: what is emitted to the room within the next milliseconds may not reach them, as with Node.js' emitter.
    ///
    /// # Errors
    /// See [`EmitterError`]; more than 16,384 rooms cannot be encoded.
    pub async fn sockets_join<R: AsRef<str>>(
        self,
        rooms: impl IntoIterator<Item = R>,
    ) -> Result<u64, EmitterError> {
        let (rooms, members) = (names(rooms), self.members());
        let instruction = Instruction::Join { members, rooms };
        self.emitter.instruct(Ok(instruction)).await
    }

    /// Takes them out of rooms.
    ///
    /// # Errors
    /// As [`sockets_join`](Self::sockets_join).
    pub async fn sockets_leave<R: AsRef<str>>(
        self,
        rooms: impl IntoIterator<Item = R>,
    ) -> Result<u64, EmitterError> {
        let (rooms, members) = (names(rooms), self.members());
        let instruction = Instruction::Leave { members, rooms };
        self.emitter.instruct(Ok(instruction)).await
    }

    /// Ends the sockets with a DISCONNECT packet, and with `close` the connections under them too. Stock clients do not come back by
    /// themselves.
    ///
    /// # Errors
    /// See [`EmitterError`].
    pub async fn disconnect_sockets(self, close: bool) -> Result<u64, EmitterError> {
        let members = self.members();
        let instruction = Instruction::Disconnect { members, close };
        self.emitter.instruct(Ok(instruction)).await
    }

    fn members(&self) -> Members {
        Members {
            rooms: self.message.rooms.clone(),
            except: self.message.except.clone(),
        }
    }
}

fn names<R: AsRef<str>>(names: impl IntoIterator<Item = R>) -> Vec<String> {
    let names = names.into_iter();
    names.map(|name| name.as_ref().to_owned()).collect()
}

/// The event's name and its arguments as one list.
fn event_args<T: Serialize + ?Sized>(
    event: &str,
    data: &T,
    reserved: &[&str],
) -> Result<Vec<Value>, EmitterError> {
    if reserved.contains(&event) {
        return Err(EmitterError::Reserved(event.to_owned()));
    }
    let mut args = to_args(data)?;
    args.insert(0, event.into());
    Ok(args)
}
