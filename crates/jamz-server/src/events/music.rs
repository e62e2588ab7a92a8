//! The shared music session: who is in it, and who is the DJ.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use unisono::{Data, Socket, State};

use super::connection::send;
use super::member::{Member, open};
use super::payload::UserId;
use super::{CONTROL_CHANGED, SESSION_STATE};
use crate::app::App;
use crate::clock::now_ms;
use crate::session::{
    Change, Controller, ControllerChanged, ECHO_LIMIT, Entry, Guard, Part, Playback, SessionId,
    SessionState, Snapshot, Verdict, playlist,
};

/// How often a change that depends on who is the DJ is tried when others change that at the
/// same moment. Each failure means that somebody else became the DJ.
const GUARDED_ATTEMPTS: usize = 4;

#[derive(Serialize)]
struct PlaylistUpdate {
    playlist: Value,
    from: &'static str,
    timestamp: u64,
    revision: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChangeTrack {
    track: Value,
    auto_play: bool,
    position: f64,
    from: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserJoined<'a> {
    socket_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<Value>,
    session_id: &'a str,
}

/// `join-music-session`: the socket enters the room and is shown the state, then hears every
/// change after it.
pub(super) async fn join(socket: Socket, State(app): State<App>, Data(payload): Data<Value>) {
    let id = SessionId::in_payload(&payload, false);
    let (Ok(Some(id)), Some(user)) = (id, UserId::in_payload(&payload)) else {
        return dropped(&socket, "join-music-session");
    };
    let Some(entry) = open(&app, &socket, &id).await else {
        return;
    };
    let was_member = Member::of(&socket).remember(&app, &socket, &entry, &user);
    let back = reannounce(&app, &socket, &entry, &user).await;
    app.sessions().catch_up(&entry).await;
    app.sessions().join(&entry, &socket, |state| {
        // A member has heard of its own return with the others.
        if let Some(back) = back.filter(|_| !was_member) {
            send_control_changed(&socket, &back);
        }
        if !state.is_unknown() {
            show(&socket, state);
        }
    });
    let (Some(room), Some(session_id)) = (&entry.room, id.as_deref()) else {
        return;
    };
    let joined = UserJoined {
        socket_id: socket.id(),
        user_id: user.echoed,
        session_id,
    };
    if let Err(error) = socket.to(room).emit("user-joined-music", &joined) {
        tracing::warn!(%error, "event cannot be sent");
    }
}

/// `music-take-control`: whoever asks becomes the DJ, at once and in front of everybody.
pub(super) async fn take_control(
    socket: Socket,
    State(app): State<App>,
    Data(payload): Data<Value>,
) {
    let id = SessionId::in_payload(&payload, true);
    let (Ok(id), Some(user)) = (id, UserId::in_payload(&payload)) else {
        return dropped(&socket, "music-take-control");
    };
    let id = id.unwrap_or(SessionId::Default);
    let Some(entry) = open(&app, &socket, &id).await else {
        return;
    };
    let controller = Controller {
        id: user.text,
        socket: Some(socket.id().to_owned()),
    };
    let payload = ControllerChanged {
        controller_id: Some(socket.id().to_owned()),
        user_id: user.echoed,
        from: None,
        reason: None,
        timestamp: now_ms(),
        revision: None,
    };
    let change = set_controller(&entry, &controller, None, payload.timestamp);
    app.sessions()
        .change(&entry, change, &CONTROL_CHANGED, &payload)
        .await;
}

/// `music-release-control`: the DJ steps down. Anybody else is told who the DJ really is.
pub(super) async fn release_control(
    socket: Socket,
    State(app): State<App>,
    Data(payload): Data<Value>,
) {
    let id = SessionId::in_payload(&payload, true);
    let (Ok(id), Some(user)) = (id, UserId::in_payload(&payload)) else {
        return dropped(&socket, "music-release-control");
    };
    let id = id.unwrap_or(SessionId::Default);
    let Some(entry) = open(&app, &socket, &id).await else {
        return;
    };
    let user = user.text.or_else(|| Member::of(&socket).user());
    let mut state = entry.state();
    for _ in 0..GUARDED_ATTEMPTS {
        if !Controller::of(&state).is(user.as_deref(), socket.id()) {
            // Not this state: what the store has answered with may have been overtaken on the way.
            return app.sessions().show(&entry, |state| {
                let told = ControllerChanged::told(state, now_ms());
                send_control_changed(&socket, &told);
            });
        }
        let payload = ControllerChanged {
            controller_id: None,
            user_id: Some(Value::Null),
            from: None,
            reason: None,
            timestamp: now_ms(),
            revision: None,
        };
        let guard = Guard::unchanged(&state, Part::Controller);
        let nobody = Controller::default();
        let change = set_controller(&entry, &nobody, Some(guard), payload.timestamp);
        let sessions = app.sessions();
        match sessions
            .change(&entry, change, &CONTROL_CHANGED, &payload)
            .await
        {
            Verdict::Refused(current) => state = current,
            Verdict::Done { .. } | Verdict::Failed => return,
        }
    }
}

/// A DJ who joins on a new socket is announced to everybody. Returns what was announced.
async fn reannounce(
    app: &App,
    socket: &Socket,
    entry: &Arc<Entry>,
    user: &UserId,
) -> Option<ControllerChanged> {
    user.text.as_ref()?;
    let mut state = entry.state();
    for _ in 0..GUARDED_ATTEMPTS {
        if Controller::of(&state).id != user.text {
            return None;
        }
        let payload = ControllerChanged {
            controller_id: Some(socket.id().to_owned()),
            user_id: user.echoed.clone(),
            from: Some("server"),
            reason: Some("dj-reconnect"),
            timestamp: now_ms(),
            revision: None,
        };
        let controller = Controller {
            id: user.text.clone(),
            socket: Some(socket.id().to_owned()),
        };
        let guard = Guard::unchanged(&state, Part::Controller);
        let change = set_controller(entry, &controller, Some(guard), payload.timestamp);
        let sessions = app.sessions();
        match sessions
            .change(entry, change, &CONTROL_CHANGED, &payload)
            .await
        {
            Verdict::Done { revision } => {
                // Only when the others have heard of it may the snapshot follow.
                entry.reached(revision, ECHO_LIMIT).await;
                let revision = Some(revision);
                return Some(ControllerChanged {
                    revision,
                    ..payload
                });
            }
            Verdict::Refused(current) => state = current,
            Verdict::Failed => return None,
        }
    }
    None
}

/// Everything a newcomer needs, in the order the front-end expects it.
fn show(socket: &Socket, state: &SessionState) {
    let timestamp = now_ms();
    send(socket, SESSION_STATE, &Snapshot::of(state, timestamp));
    let update = PlaylistUpdate {
        playlist: playlist(state),
        from: "server",
        timestamp,
        revision: state.revision,
    };
    send(socket, "playlist-update", &update);
    // While a track runs, loading it again would stop it.
    if let Some(playback) = Playback::of(state).filter(|playback| !playback.is_playing) {
        let change = ChangeTrack {
            track: playback.track,
            auto_play: false,
            position: playback.position,
            from: "server",
        };
        send(socket, "music-change-track", &change);
    }
    let controller = Controller::of(state);
    if controller.id.is_some() || controller.socket.is_some() {
        send_control_changed(socket, &ControllerChanged::told(state, timestamp));
    }
}

fn send_control_changed(socket: &Socket, payload: &ControllerChanged) {
    for event in CONTROL_CHANGED {
        send(socket, event, payload);
    }
}

fn set_controller(
    entry: &Entry,
    controller: &Controller,
    guard: Option<Guard>,
    now_ms: u64,
) -> Change {
    Change {
        session: entry.id.clone(),
        guard,
        set: vec![(Part::Controller, controller.to_json())],
        now_ms,
        known_revision: 0,
    }
}

fn dropped(socket: &Socket, event: &str) {
    tracing::debug!(
        socket = socket.log_id(),
        event,
        "event dropped: malformed or no session id"
    );
}
