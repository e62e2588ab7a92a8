//! What a handshake must pass before it is any work: the cheapest question first, none of them the application's.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use http::Request;

use super::PeerAddr;
use super::address::client_address;
use super::answer::{self, Answer};
use crate::seats::Seat;
use crate::server::Server;
use crate::stats::Refusal;

/// A handshake that was let in. Dropped when its session is open, or when nothing came of it.
pub(crate) struct Pass {
    server: Arc<Server>,
    seat: Option<Seat>,
    client_address: Option<IpAddr>,
}

impl Pass {
    /// The session's place among those of its address, if they are counted.
    pub(super) fn take_seat(&mut self) -> Option<Seat> {
        self.seat.take()
    }

    pub(super) fn client_address(&self) -> Option<IpAddr> {
        self.client_address
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.server.opening.fetch_sub(1, SeqCst);
    }
}

/// Lets a handshake in, or says why not. An address that has its share already takes no token from the others.
#[expect(
    clippy::result_large_err,
    reason = "a refusal is the answer, and passed on at once"
)]
pub(super) fn enter<B>(server: &Arc<Server>, request: &Request<B>) -> Result<Pass, Answer> {
    let refuse = |refusal, answer| {
        server.counters.refuse(refusal);
        Err(answer)
    };
    refuse_draining(server)?;
    let limits = &server.config.limits;
    let peer = request.extensions().get::<PeerAddr>();
    server.opening.fetch_add(1, SeqCst);
    let mut pass = Pass {
        server: server.clone(),
        seat: None,
        client_address: peer
            .map(|peer| client_address(peer.0.ip(), request.headers(), &limits.trusted_proxies)),
    };
    // This one is counted already.
    if server.session_count() > server.config.max_connections {
        return refuse(Refusal::Full, answer::unavailable("the server is full"));
    }
    if let (Some(limit), Some(address)) = (limits.connections_per_address, pass.client_address) {
        pass.seat = server.seats.take(address, limit);
        if pass.seat.is_none() {
            let answer = answer::too_many("too many connections from this address");
            return refuse(Refusal::AddressLimit, answer);
        }
    }
    if !server.admit_handshake() {
        let answer = answer::unavailable("too many handshakes");
        return refuse(Refusal::HandshakeRate, answer);
    }
    Ok(pass)
}

/// Asked again when a handshake has been let in and counted: a drain that begins from then on waits for it.
#[expect(
    clippy::result_large_err,
    reason = "a refusal is the answer, and passed on at once"
)]
pub(super) fn refuse_draining(server: &Server) -> Result<(), Answer> {
    if server.draining.load(SeqCst) {
        server.counters.refuse(Refusal::Draining);
        return Err(answer::unavailable("the server is shutting down"));
    }
    Ok(())
}
