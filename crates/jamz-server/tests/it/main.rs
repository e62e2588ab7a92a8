//! The product from outside: configuration, stores, events over real sockets, manifests.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, a panic is how a failure is told"
)]

mod access;
mod accidents;
mod cli;
mod config;
mod deploy;
mod document;
mod emit;
mod events;
mod flood;
mod http;
mod keeper;
mod manifests;
mod memory;
mod outage;
mod process;
mod sessions;
mod simulation;
mod stock;
mod store;
mod support;
mod topology;
mod unison;
