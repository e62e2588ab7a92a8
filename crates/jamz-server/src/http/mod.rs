//! Everything the pod answers over plain HTTP.
//!
//! The client port serves what the front-end and its monitors know from the Node.js server;
//! the admin port serves probes and metrics, and is not exposed to clients.

mod admin;
mod client;
mod cors;
mod page;

pub use admin::admin_router;
pub use client::client_router;

/// Other pods that are shown one by one: more than anybody deploys, and few enough for a page.
const MAX_NODES_SHOWN: usize = 100;

/// Liveness probe on the admin port: process and event loop, never Redis.
pub const LIVEZ: &str = "/livez";
/// Readiness probe on the admin port: listening, and Redis joined once or done without.
pub const READYZ: &str = "/readyz";
/// Prometheus page on the admin port.
pub const METRICS: &str = "/metrics";
/// State of the pod on the client port, for the monitors of the Node.js server.
pub const HEALTH: &str = "/health";
