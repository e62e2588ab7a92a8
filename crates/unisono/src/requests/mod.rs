//! What nodes ask of each other, from both sides.
//!
//! A node asks all others at once and waits for as many answers as there are others subscribed to the channel of requests, at most for
//! [`requests_timeout`](crate::IoBuilder::requests_timeout). It answers whatever it is asked for as long as it is counted itself.

mod answers;
mod changing;
mod describing;
mod remote;
mod server_side;
mod serving;

pub use self::answers::{Answers, Nodes};
pub(crate) use self::describing::Describing;
pub use self::remote::{RemoteHandshake, RemoteSocket};
pub(crate) use self::server_side::ServerSideHandler;
pub use self::server_side::{ServerSide, ServerSideAck};
pub(crate) use self::serving::Serving;
