//! MessagePack as `notepack` 3 writes and reads it, which is what the classic adapter of Node.js puts on the bus.
//!
//! Writing is byte-exact: smallest integer form, integral floats as integers, maps (never arrays) for structs. Reading accepts
//! everything a JavaScript peer may send, and is bounded in depth, in number of values and by the bytes that are really there.

mod date;
mod read;
mod write;

pub(crate) use read::{Reader, Token};
pub(crate) use write::Writer;
