//! The realtime backend of TrafficJamz: shared music sessions over Socket.IO, on as many pods
//! as it takes. This version serves who controls the music; [`events`] says what it leaves out.
//!
//! A pod takes clients on one port ([`http::client_router`]) and probes on another
//! ([`http::admin_router`]). What clients say goes to [`events`]; what they change goes through
//! [`session`] into a [`store`] that all pods share, which tells all pods in the same step.
//!
//! It never keeps two clients of one pod from hearing each other: with Redis away, a pod goes
//! on by itself and brings its changes in when Redis is back. It never sends anything that is
//! not stored, and it never trusts the shape of what a client sends.
//!
//! ```no_run
//! use jamz_server::app::{Backing, Pod};
//! use jamz_server::config::{Config, ProcessEnvironment};
//!
//! # async fn start() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::read(&ProcessEnvironment)?;
//! let pod = Pod::start(config, Backing::Configured).await?;
//! pod.run(std::future::pending()).await;
//! # Ok(())
//! # }
//! ```

pub mod app;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod events;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod process;
pub mod session;
pub mod store;
