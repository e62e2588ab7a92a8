//! The broker against its contract and against a real Redis that misbehaves.

mod access;
mod accounts;
mod cluster;
mod commands;
mod conformance;
mod emitter;
mod gathering;
mod outages;
mod paths;
mod refusals;
mod sentinels;
mod sharded;
mod shards;
mod support;
mod versions;
