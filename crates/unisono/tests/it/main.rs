//! What the library does, seen from outside: real sockets, stock clients, a real Redis.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, a panic is how a failure is told"
)]

mod acks;
mod drain;
mod dynamic;
mod events;
mod examples;
mod hooks;
mod http;
mod limits;
mod middleware;
mod mixed;
mod ordered;
mod packet_middleware;
mod polling;
mod raw;
mod rooms;
mod server;
mod stock;
mod upgrade;
mod websocket;
