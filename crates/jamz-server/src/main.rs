//! The `jamz-server` binary.
fn main() {}
