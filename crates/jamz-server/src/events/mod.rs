//! What clients say, and what they are told.
//!
//! A payload of the wrong shape costs at most its own event: it is dropped and logged.
//!
//! Served are `test-ping`, `join-music-session`, `music-take-control` and
//! `music-release-control`; requests to a media server are refused. Other events of the
//! TrafficJamz front-end (playing, playlist, voice, groups and location) are ignored, as every
//! unknown event is.

mod connection;
mod member;
mod music;
mod payload;

use unisono::Namespace;

use crate::app::App;

/// A controller change is told under two names with the same payload, in this order: the name
/// of the migration document, then the one that the front-end listens to.
pub const CONTROL_CHANGED: [&str; 2] = ["music-control-changed", "music-controller-changed"];
/// The whole state of a session.
pub const SESSION_STATE: &str = "music-session-state";

/// Requests to a media server, all answered with a refusal.
pub const MEDIASOUP: [&str; 6] = [
    "mediasoup-get-rtpCapabilities",
    "mediasoup-create-transport",
    "mediasoup-connect-transport",
    "mediasoup-produce",
    "mediasoup-consume",
    "mediasoup-get-producers",
];

/// The one namespace, `/`, with all handlers.
pub fn namespace(app: App) -> Namespace<App> {
    let sessions = app.sessions().clone();
    let namespace = Namespace::with_state("/", app)
        .middleware(connection::admit)
        .on_connect(connection::connect)
        .on("test-ping", connection::test_ping)
        .on("join-music-session", music::join)
        .on("music-take-control", music::take_control)
        .on("music-release-control", music::release_control)
        .on_disconnect(connection::disconnect)
        .on_note(move |note| sessions.on_note(note));
    MEDIASOUP.iter().fold(namespace, |namespace, event| {
        namespace.on(event, connection::mediasoup)
    })
}
