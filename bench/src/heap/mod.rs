//! The library measured from inside, by an allocator that counts ([`dhat`]). The only part of the benchmark that contains the library.

mod broadcasts;
mod residents;
mod server;
mod site;

pub use broadcasts::Broadcasts;
pub use residents::Residents;
