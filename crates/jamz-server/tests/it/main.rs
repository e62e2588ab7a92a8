//! The product from outside: configuration, stores, events over real sockets, manifests.

mod cli;
mod config;
mod events;
mod http;
mod manifests;
mod outage;
mod store;
mod support;
mod unison;
