//! Watching the link to the other pods: readiness, and the log lines operators look for.

use std::time::{Duration, Instant};

use unisono_cluster::LinkState;

use super::{App, Link};
use crate::store::{Trial, try_rights};

/// How often the link is looked at. Bounds how late a log line and readiness may be.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After how long without any answer from Redis the pod declares that it goes on without.
/// Longer than a connection attempt to a healthy Redis ever takes, shorter than what a
/// rollout waits for.
const DECLARE_AFTER: Duration = Duration::from_secs(5);

/// How soon a right that was missing is tried again: whoever gives it wants to see that it was
/// the right one.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Runs until the future is dropped.
pub(super) async fn watch_link(app: App) {
    let started = Instant::now();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut logged = None;
    let mut tried = Instant::now();
    loop {
        looks.tick().await;
        if app.health().refusal().is_some() && tried.elapsed() >= TRY_AGAIN_AFTER {
            tried = Instant::now();
            try_store(&app).await;
        }
        let state = app.link().state();
        let overdue = state == LinkState::Connecting && started.elapsed() >= DECLARE_AFTER;
        if state != LinkState::Connecting || overdue {
            app.health().set_ready();
        }
        let shown = if overdue { LinkState::Down } else { state };
        if logged != Some(shown) && shown != LinkState::Connecting {
            log(&app, shown);
            logged = Some(shown);
            if shown == LinkState::Subscribed {
                try_store(&app).await;
            }
        }
    }
}

/// Tries what the first commit will do, so that a missing right is told before somebody's
/// change is refused.
async fn try_store(app: &App) {
    let (Link::Redis(broker), Some(settings)) = (&app.0.link, &app.config().redis) else {
        return;
    };
    let refusal = match try_rights(&broker.commander(), settings).await {
        Ok(()) => None,
        Err(Trial::Refused(refusal)) => Some(refusal),
        // The link or the commits tell of it.
        Err(Trial::Failed(_)) => return,
    };
    match &refusal {
        Some(refusal) if app.health().refusal().as_ref() != Some(refusal) => {
            tracing::error!("{refusal}");
        }
        _ => {}
    }
    app.health().set_refusal(refusal);
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
        _ => "no answer, trying on",
    };
    let reason = app
        .0
        .link
        .last_error()
        .unwrap_or_else(|| standard.to_owned());
    tracing::error!("❌ Redis adapter connection failed: {reason}");
    tracing::warn!("⚠️  Socket.IO running in single-instance mode");
}
