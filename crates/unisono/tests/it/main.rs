//! What the library does, seen from outside: real sockets, stock clients, a real Redis.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, a panic is how a failure is told"
)]

mod acks;
mod as_node;
mod backlog;
mod beside_node;
mod browser;
mod conformance;
mod drain;
mod dynamic;
mod eio3;
mod engine;
mod entrance;
mod events;
mod examples;
mod hooks;
mod hostile;
mod http;
mod layers;
mod limits;
mod lingering;
mod matrix;
mod middleware;
mod mixed;
mod names;
mod once;
mod ordered;
mod packet_middleware;
mod panics;
mod parked;
mod polling;
mod raw;
mod relay;
mod requests;
mod rooms;
mod secrets;
mod server;
mod sharded;
mod slow;
mod slow_line;
mod stock;
mod stock_v2;
mod strict;
mod upgrade;
mod websocket;
