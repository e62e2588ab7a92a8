//! The cluster's logic, seen from outside.

mod asking;
mod classic;
mod emission;
mod envelopes;
mod gaps;
mod hostile;
mod membership;
mod memory;
mod node;
mod properties;
mod random;
mod requests;
mod roll;
mod rooms;
mod sharded;
mod sharded_node;
mod simulation;
mod sockets;
mod support;
mod template;

/// The state machine of the link to Redis, which the simulation drives: it is free of IO, and stays so for as long as this compiles.
#[path = "../../../unisono-redis/src/link/machine.rs"]
mod machine;

#[allow(dead_code)]
#[path = "../../../unisono-redis/src/limits.rs"]
mod limits;
