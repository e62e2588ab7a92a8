//! The client port: what the front-end and its monitors ask for. Socket.IO sits beside it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use unisono::{Io, NodeInfo};
use unisono_cluster::LinkState;

use super::{HEALTH, MAX_NODES_SHOWN, cors};
use crate::app::App;
use crate::clock::{iso, now_ms};

#[derive(Clone)]
struct Shared {
    app: App,
    io: Io,
}

/// Socket.IO under its path, and the endpoints of the realtime tier.
pub fn client_router(app: App, io: Io) -> Router {
    let layer = io.layer();
    let origins = app.config().origins.clone();
    Router::new()
        .route(HEALTH, get(health))
        .route("/health/socketio", get(|| async { "socketio-ok" }))
        .route("/api/health", get(api_health))
        .route("/api/status", get(api_status))
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .layer(middleware::from_fn_with_state(origins.into(), cors::allow))
        .with_state(Shared { app, io })
        .layer(layer)
}

/// The keys of the Node.js server, then our own. The databases are the business of the REST
/// tier: this server has none, and says so in place of `connected` or `disconnected`. Anybody may ask, so nothing here names a server, a
/// user or a right: those are in the log and on the page of metrics.
async fn health(State(Shared { app, io }): State<Shared>) -> Json<Value> {
    let stats = io.stats();
    let state = app.link().state();
    let adapter = match state {
        LinkState::Local => "single-instance",
        state => state.as_str(),
    };
    Json(json!({
        "status": "ok",
        "timestamp": iso(now_ms()),
        "mongodb": "not configured",
        "mongodb_state": "unknown",
        "postgres": "not configured",
        "socketio": "initialized",
        "adapter": adapter,
        "degraded": app.is_degraded(state),
        "refused": app.refusal().is_some(),
        "draining": app.health().is_draining(),
        "connections": stats.connections_polling + stats.connections_websocket,
        "pod": app.pod_name(),
        "nodes": io.nodes().iter().take(MAX_NODES_SHOWN).map(shown).collect::<Value>(),
    }))
}

/// Another pod. Node.js pods do not announce themselves.
fn shown(node: &NodeInfo) -> Value {
    json!({
        "name": &*node.name.name,
        "silent": node.is_silent,
        "heard_ms_ago": u64::try_from(node.heard_ago.as_millis()).unwrap_or(u64::MAX),
        "lost": node.lost,
    })
}

async fn api_health() -> Json<Value> {
    Json(json!({"status": "ok", "timestamp": iso(now_ms())}))
}

async fn api_status() -> Json<Value> {
    Json(json!({
        "success": true,
        "message": "TrafficJamz backend is live",
        "timestamp": iso(now_ms()),
    }))
}

async fn not_found() -> Response {
    let body = json!({"success": false, "message": "Route not found"});
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}
