//! What the library does, seen from outside: real sockets, stock clients, a real Redis.

mod drain;
mod events;
mod http;
mod mixed;
mod polling;
mod raw;
mod server;
mod stock;
mod upgrade;
mod websocket;
