//! Waiting for what must happen.

use std::net::TcpListener;
use std::time::{Duration, Instant};

/// How often a condition is looked at: often enough not to be felt, rare enough to leave the processor to what is awaited.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not within `limit`; `what` says what was awaited.
pub async fn await_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < limit,
            "waited {limit:?} in vain until {what}"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A TCP port that was free a moment ago. Prefer port 0 where the server can say what it got.
///
/// # Panics
/// When the machine has none.
pub fn free_port() -> u16 {
    let listener =
        TcpListener::bind("127.0.0.1:0").expect("there is a free port on the loopback interface");
    listener
        .local_addr()
        .expect("a bound listener has an address")
        .port()
}
