//! What the library does, seen from outside: real sockets, stock clients, a real Redis.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, a panic is how a failure is told"
)]

mod drain;
mod events;
mod examples;
mod http;
mod matrix;
mod mixed;
mod ordered;
mod polling;
mod raw;
mod relay;
mod server;
mod stock;
mod upgrade;
mod websocket;
