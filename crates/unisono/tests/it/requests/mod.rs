//! Requests between nodes: two Node.js pods and two of ours on one Redis, beside four Node.js pods with the same sockets.

mod cluster;
mod compared;
mod emitter;
mod forged;
mod gone;
mod healing;
mod hindered;
mod losses;
mod memory;
mod partial;
mod pods;
mod process;
mod serving;

pub(crate) use pods::mode_of;
