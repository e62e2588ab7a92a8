//! How a node goes: its sessions are closed one after another.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio::time::Instant;
use unisono_proto::connection::CloseReason;

use crate::server::Server;

/// Connections closed per second while draining: stock clients come back within a second and a half, all at once if they were
/// closed at once; 300 handshakes a second are a few percent of one core of the neighbour that gets them.
const DRAIN_PER_SECOND: f64 = 300.0;

/// How often a drain looks for sessions that were being opened when it began.
const DRAIN_LOOK: Duration = Duration::from_millis(100);

/// A drain takes no longer than this: beyond it a node does not go, it stays.
const MAX_DRAIN: Duration = Duration::from_secs(24 * 3600);

/// Ends all sessions, and tells the other nodes. Returns when nobody is left or `deadline` is over; `true` if nobody was left.
pub(crate) async fn drain(server: &Server, deadline: Duration) -> bool {
    let is_empty = end_sessions(server, deadline).await;
    server.say_goodbye();
    is_empty
}

async fn end_sessions(server: &Server, deadline: Duration) -> bool {
    server.draining.store(true, SeqCst);
    let deadline = deadline.min(MAX_DRAIN);
    let end = Instant::now() + deadline;
    let mut sessions = server.all_sessions();
    fastrand::shuffle(&mut sessions);
    // Half of the time is for closing, the rest for what is on its way and for handlers.
    let rate =
        (sessions.len() as f64 / (deadline.as_secs_f64() / 2.0).max(0.1)).max(DRAIN_PER_SECOND);
    let start = Instant::now();
    for (index, conn) in sessions.into_iter().enumerate() {
        tokio::time::sleep_until(start + Duration::from_secs_f64(index as f64 / rate)).await;
        conn.close(CloseReason::ServerShuttingDown);
    }
    loop {
        let empty = server.empty.notified();
        if server.session_count() == 0 {
            return true;
        }
        let look_again = (Instant::now() + DRAIN_LOOK).min(end);
        if tokio::time::timeout_at(look_again, empty).await.is_err() && look_again == end {
            return server.session_count() == 0;
        }
        // Sessions that were being opened when the drain began.
        for conn in server.all_sessions() {
            conn.close(CloseReason::ServerShuttingDown);
        }
    }
}
