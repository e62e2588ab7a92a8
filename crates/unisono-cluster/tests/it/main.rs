//! The cluster's logic, seen from outside.

mod classic;
mod envelopes;
mod hostile;
mod memory;
mod node;
mod properties;
mod random;
mod rooms;
mod support;
mod template;
