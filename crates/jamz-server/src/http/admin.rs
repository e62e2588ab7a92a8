//! The admin port: probes and metrics.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use unisono::Io;

use super::page::Page;
use super::{LIVEZ, METRICS, READYZ};
use crate::app::App;
use crate::process::Usage;

#[derive(Clone)]
struct Shared {
    app: App,
    io: Io,
}

/// Probes and metrics.
pub fn admin_router(app: App, io: Io) -> Router {
    Router::new()
        .route(LIVEZ, get(livez))
        .route(READYZ, get(readyz))
        .route(METRICS, get(metrics))
        .with_state(Shared { app, io })
}

/// That this answer is given shows that the process and its event loop are alive.
async fn livez() -> &'static str {
    "alive\n"
}

/// A pod that drains stays ready by default: proxies throw the sessions of an unready pod
/// away, which the drain is there to end gently.
async fn readyz(State(Shared { app, .. }): State<Shared>) -> impl IntoResponse {
    let health = app.health();
    if health.is_draining() {
        let status = StatusCode::from_u16(app.config().readyz_drain_status);
        (status.unwrap_or(StatusCode::OK), "draining\n")
    } else if health.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    }
}

async fn metrics(State(Shared { app, io }): State<Shared>) -> impl IntoResponse {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    // Not on a worker, which has clients to serve: with many of them the kernel lists many open files.
    let usage = tokio::task::spawn_blocking(Usage::read).await;
    let page = Page::of(&app, &io, usage.ok().flatten()).into_text();
    ([(header::CONTENT_TYPE, content_type)], page)
}
