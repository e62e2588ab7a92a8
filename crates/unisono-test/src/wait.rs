//! Waiting for what must happen.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

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
pub(crate) fn free_port() -> u16 {
    let listener =
        TcpListener::bind("127.0.0.1:0").expect("there is a free port on the loopback interface");
    listener
        .local_addr()
        .expect("a bound listener has an address")
        .port()
}

/// A TCP port at which every connection is refused for as long as this lives: it is taken, and nobody listens.
pub struct ClosedPort {
    _socket: TcpSocket,
    port: u16,
}

impl ClosedPort {
    /// One on the loopback interface.
    ///
    /// # Panics
    /// When the machine has none.
    pub fn take() -> Self {
        let socket = TcpSocket::new_v4().expect("sockets can be made");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket
            .bind(any)
            .expect("there is a free port on the loopback interface");
        let address = socket.local_addr().expect("a bound socket has an address");
        Self {
            _socket: socket,
            port: address.port(),
        }
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.port
    }
}
