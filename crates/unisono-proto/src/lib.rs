//! The wire of Socket.IO, without any IO.

pub mod client;
pub mod connection;
pub mod engine;
pub mod limits;
pub mod socket;
pub mod value;
pub mod ws;

pub use self::value::Value;
