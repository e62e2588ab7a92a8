//! Watching the link to the other pods: readiness, and the log lines operators look for.

use std::time::{Duration, Instant};

use unisono_cluster::LinkState;

use super::App;

/// How often the link is looked at. Bounds how late a log line and readiness may be.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After how long without any answer from Redis the pod declares that it goes on without.
/// Longer than a connection attempt to a healthy Redis ever takes, shorter than what a
/// rollout waits for.
const DECLARE_AFTER: Duration = Duration::from_secs(5);

/// Runs until the future is dropped.
pub(super) async fn watch_link(app: App) {
    let started = Instant::now();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut logged = None;
    loop {
        looks.tick().await;
        let state = app.link().state();
        let overdue = state == LinkState::Connecting && started.elapsed() >= DECLARE_AFTER;
        if state != LinkState::Connecting || overdue {
            app.health().set_ready();
        }
        let shown = if overdue { LinkState::Down } else { state };
        if logged != Some(shown) && shown != LinkState::Connecting {
            log(&app, shown);
            logged = Some(shown);
        }
    }
}

/// These texts are part of the interface: the migration document tells operators to search
/// the log for them.
fn log(app: &App, state: LinkState) {
    let standard = match state {
        LinkState::Subscribed => {
            tracing::info!("✅ Socket.IO Redis adapter connected - multi-pod clustering enabled");
            return;
        }
        LinkState::Local => {
            tracing::warn!("⚠️  REDIS_URL not set - Socket.IO running in single-instance mode");
            tracing::warn!("⚠️  Multi-pod deployments will NOT sync events across pods");
            return;
        }
        LinkState::Deaf => "messages no longer come through, connecting again",
        LinkState::Down | LinkState::Connecting => "no answer, trying on",
    };
    let reason = app
        .0
        .link
        .last_error()
        .unwrap_or_else(|| standard.to_owned());
    tracing::error!("❌ Redis adapter connection failed: {reason}");
    tracing::warn!("⚠️  Socket.IO running in single-instance mode");
}
