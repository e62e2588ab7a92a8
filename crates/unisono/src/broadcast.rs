//! An event for many.

use std::future::Future;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use unisono_cluster::{Broadcast as Message, Flags, Members, RequestBody};

use crate::acks::{Asked, BroadcastAcks};
use crate::error::EmitError;
use crate::port::{Pending, deadline_after};
use crate::socket::event_args;
use crate::space::{Space, SpaceInner};

/// An event for some or all members of a namespace, on all nodes. Narrow it down, then [`emit`](Self::emit).
///
/// By default it is *local first*: members of this node get it at once, whatever the state of the bus; two nodes may see the
/// broadcasts of two senders in different order. [`ordered`](Self::ordered) gives all nodes one order.
///
/// ```
/// # fn tell(space: unisono::Space, socket: unisono::Socket) -> Result<(), unisono::EmitError> {
/// space.to("red").to("blue").except("away").emit("starts", &("in", 10))?;
/// space.to("red").ordered().emit("turn", &1)?;
/// socket.to("red").volatile().emit("position", &[52.5, 13.4])
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a broadcast does nothing until it is emitted"]
pub struct Broadcast {
    pub(crate) space: Space,
    pub(crate) rooms: Vec<String>,
    pub(crate) except: Vec<String>,
    flags: Flags,
    ordered: bool,
}

impl Broadcast {
    pub(crate) fn new(space: Space) -> Self {
        Self {
            space,
            rooms: Vec::new(),
            except: Vec::new(),
            flags: Flags::default(),
            ordered: false,
        }
    }

    /// Adds the members of `room`. Somebody in several rooms gets the event once.
    pub fn to(mut self, room: &str) -> Self {
        self.rooms.push(room.to_owned());
        self
    }

    /// The same as [`to`](Self::to).
    pub fn in_(self, room: &str) -> Self {
        self.to(room)
    }

    /// Leaves out the members of `room`; a socket's id is a room too.
    pub fn except(mut self, room: &str) -> Self {
        self.except.push(room.to_owned());
        self
    }

    /// Reaches members of this node only.
    pub fn local(mut self) -> Self {
        self.flags.local = true;
        self
    }

    /// Skips clients that cannot take it at once.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Tells other nodes whether to compress. This node never compresses.
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.compress = Some(compress);
        self
    }

    /// Delivers in one order on all nodes, this one included: the event goes to the bus only and is delivered when it comes back.
    /// If it does not come back within two seconds, or the link is down, it is delivered here alone.
    pub fn ordered(mut self) -> Self {
        self.ordered = true;
        self
    }

    /// Emits. A tuple becomes several arguments, `()` none.
    ///
    /// # Errors
    /// The event cannot be encoded; nobody gets it. A bus that is away is no error: members of this node get the event.
    pub fn emit<T: Serialize + ?Sized>(self, event: &str, data: &T) -> Result<(), EmitError> {
        let (space, ordered) = (self.space.clone(), self.ordered);
        let message = self.message(event, data)?;
        if ordered {
            space.0.emit_ordered(message)
        } else {
            space.0.emit(message)
        }
    }

    /// Emits and waits for the answers of all who get the event, on all nodes, as long as `timeout` from this call on, at most a day. Who
    /// does not answer is no error. Nothing is remembered after that, and of a client that has left nothing at once. Other nodes wait two
    /// minutes at most.
    ///
    /// ```
    /// # async fn count(space: unisono::Space) -> Result<(), unisono::EmitError> {
    /// let second = std::time::Duration::from_secs(1);
    /// let acks = space.to("lobby").emit_with_ack("ready?", &(), second).await?;
    /// println!("{} are ready, {} did not say", acks.len(), acks.missing.len() + acks.remote_missing);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Nodes pass on only the first argument of an answer, and not whose it is.
    ///
    /// # Errors
    /// The event cannot be encoded or is [ordered](Self::ordered), or [`EmitError::TooManyRequests`]; nobody gets it.
    pub fn emit_with_ack<T: Serialize + ?Sized>(
        self,
        event: &str,
        data: &T,
        timeout: Duration,
    ) -> impl Future<Output = Result<BroadcastAcks, EmitError>> + Send + use<T> {
        let deadline = deadline_after(timeout);
        let asked = self.ask(event, data, deadline);
        async move {
            let (asked, pending) = asked?;
            let others = SpaceInner::others_acks(pending);
            let (mut acks, (remote, remote_missing, nodes)) =
                tokio::join!(asked.answers(deadline), others);
            acks.remote = remote;
            acks.remote_missing = remote_missing;
            acks.nodes = nodes;
            Ok(acks)
        }
    }

    /// Other nodes are told first: that may fail before anybody has got anything.
    fn ask<T: Serialize + ?Sized>(
        self,
        event: &str,
        data: &T,
        deadline: Instant,
    ) -> Result<(Asked, Option<Pending>), EmitError> {
        if self.ordered {
            return Err(EmitError::OrderedAck);
        }
        let (space, is_local) = (self.space.clone(), self.flags.local);
        let mut message = self.message(event, data)?;
        let question = space.0.question(&message)?;
        let mut pending = None;
        if !is_local {
            let timeout = deadline.saturating_duration_since(Instant::now());
            // Not to be told of less than was asked for.
            let timeout_ms = timeout.as_nanos().div_ceil(1_000_000);
            message.flags.timeout_ms = u64::try_from(timeout_ms).ok();
            let body = RequestBody::Broadcast(message.clone());
            pending = Pending::ask(&space.0, body, deadline)?;
        }
        let asked = space.0.put(&question, &message, None);
        Ok((asked, pending))
    }

    /// Whom it is for, and whether only on this node.
    pub(crate) fn into_members(self) -> (Space, bool, Members) {
        let (rooms, except) = (self.rooms, self.except);
        let is_local = self.flags.local || self.space.0.port.is_none();
        (self.space, is_local, Members { rooms, except })
    }

    fn message<T: Serialize + ?Sized>(self, event: &str, data: &T) -> Result<Message, EmitError> {
        Ok(Message {
            args: event_args(event, data)?,
            rooms: self.rooms,
            except: self.except,
            flags: self.flags,
            extension: None,
        })
    }
}
