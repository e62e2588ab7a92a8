//! The broker against its contract and against a real Redis that misbehaves.

mod commands;
mod conformance;
mod emitter;
mod outages;
mod support;
