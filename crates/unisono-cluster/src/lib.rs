//! The cluster's logic: who is where on this node, and what nodes say to each other.
//!
//! Sans-IO: there is no socket, clock, task or thread here, and no lock except in the in-memory bus. Time is an argument.
//!
//! - [`Rooms`]: which members of this node a broadcast reaches.
//! - [`Broadcast`]: an event and whom it is for.
//! - [`classic`]: broadcasts, requests and answers as bytes, exactly as `@socket.io/redis-adapter` 8 puts them on Redis.
//! - [`sharded`]: the same as its sharded adapter puts them there; [`Adapter`] says which of the two a cluster speaks.
//! - [`Node`]: the conversation of one namespace: what is ours, what is for us, what did not come back, what got lost.
//! - [`Membership`]: which other servers there are, and which of them have fallen silent.
//! - [`Broker`]: the seam to what carries the bytes, and its contract; [`MemoryBus`] is its in-memory twin.
//!
//! Who gets a broadcast on this node:
//!
//! ```
//! use unisono_cluster::Rooms;
//!
//! let mut rooms = Rooms::default();
//! for (sid, room) in [("ada", "red"), ("bob", "red"), ("cyd", "blue")] {
//!     let slot = rooms.insert(sid, sid);
//!     rooms.join(slot, room);
//! }
//! let mut reached = Vec::new();
//! // Everybody is in the room of their own id too.
//! rooms.select(&["red", "blue"], &["bob"], |member| reached.push(*member));
//! reached.sort();
//! assert_eq!(reached, ["ada", "cyd"]);
//! ```

pub mod adapter;
pub mod answering;
pub mod broadcast;
pub mod broker;
pub mod classic;
mod emission;
mod glob;
pub mod limits;
pub mod membership;
pub mod memory;
mod msgpack;
pub mod node;
pub mod rooms;
pub mod sharded;

pub use adapter::{Adapter, SubscriptionMode, UnknownMode};
pub use answering::{Answering, SocketsAnswer};
pub use broadcast::{Broadcast, COMMIT_SEQ_BASE, Extension, Flags, Members};
pub use broker::{
    Broker, CountEachFuture, CountError, CountFuture, Inbox, LinkState, LinkStats, PublishError,
    Subscription,
};
pub use classic::{
    Answer, AnswerBody, Beat, Change, DecodeError, EncodeError, Identity, Published, Request,
    RequestBody, RequestError, Template,
};
pub use emission::{Emission, Instruction};
pub use membership::{Member, Membership, NodeName};
pub use memory::{MemoryBroker, MemoryBus};
pub use node::{
    Answered, AskError, Awaited, Expired, Gap, Ledger, Listener, Node, NodeStats, PeerStats,
    Received, Roll, TooManyEchoes,
};
pub use rooms::{Rooms, Slot};
