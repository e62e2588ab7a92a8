//! The cluster's logic, seen from outside.

mod asking;
mod classic;
mod emission;
mod envelopes;
mod hostile;
mod memory;
mod node;
mod properties;
mod random;
mod requests;
mod rooms;
mod sockets;
mod support;
mod template;
