//! The typed parts of a session, and the payloads that clients see of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Part, SessionState};

/// Who is the DJ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controller {
    /// User id of the DJ; `None` if nobody is, or an anonymous socket.
    pub id: Option<String>,
    /// Socket that took control last.
    pub socket: Option<String>,
}

impl Controller {
    /// The DJ in `state`.
    pub fn of(state: &SessionState) -> Self {
        state
            .json(Part::Controller)
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default()
    }

    /// The JSON text of the part.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("two optional texts always serialise")
    }

    /// Whether control is in the hands of this user or this socket.
    pub fn is(&self, user_id: Option<&str>, socket_id: &str) -> bool {
        (user_id.is_some() && self.id.as_deref() == user_id)
            || self.socket.as_deref() == Some(socket_id)
    }
}

/// What plays. Position and start time belong together: clients compute from both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Playback {
    /// The track as it was sent.
    pub track: Value,
    /// Seconds into the track at `started_at`.
    pub position: f64,
    /// When `position` held, as ISO 8601 text.
    pub started_at: Option<String>,
    /// Whether the track runs.
    pub is_playing: bool,
}

impl Playback {
    /// What plays in `state`. Something without a title is not a track: it reads as nothing.
    pub fn of(state: &SessionState) -> Option<Self> {
        let playback: Self = serde_json::from_str(state.json(Part::Playback)?).ok()?;
        let title = playback.track.get("title")?.as_str()?;
        (!title.is_empty()).then_some(playback)
    }

    /// `currently_playing` as clients read it: the track with where and by whom it plays.
    fn to_currently_playing(&self, controlled_by: Option<&str>) -> Value {
        let mut track = self.track.clone();
        if let Some(fields) = track.as_object_mut() {
            fields.insert("position".to_owned(), self.position.into());
            fields.insert("controlled_by".to_owned(), controlled_by.into());
            fields.insert("started_at".to_owned(), self.started_at.clone().into());
        }
        track
    }
}

/// The playlist in `state`; empty if there is none.
pub fn playlist(state: &SessionState) -> Value {
    state
        .json(Part::Playlist)
        .and_then(|json| serde_json::from_str(json).ok())
        .filter(Value::is_array)
        .unwrap_or_else(|| Value::Array(Vec::new()))
}

/// Payload of `music-session-state`: everything a client needs to show the session.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    playlist: Value,
    currently_playing: Option<Value>,
    controller_id: Option<String>,
    is_playing: bool,
    position: f64,
    from: &'static str,
    timestamp: u64,
    /// Left out where the revision is only known once the change is committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u32>,
}

impl Snapshot {
    /// The payload for `state`, stamped `timestamp` (milliseconds), without its revision.
    pub fn without_revision(state: &SessionState, timestamp: u64) -> Self {
        let controller = Controller::of(state);
        let playback = Playback::of(state);
        Self {
            playlist: playlist(state),
            currently_playing: playback
                .as_ref()
                .map(|playback| playback.to_currently_playing(controller.id.as_deref())),
            is_playing: playback
                .as_ref()
                .is_some_and(|playback| playback.is_playing),
            position: playback.as_ref().map_or(0.0, |playback| playback.position),
            controller_id: controller.id,
            from: "server",
            timestamp,
            revision: None,
        }
    }

    /// The payload for `state`, stamped `timestamp` (milliseconds).
    pub fn of(state: &SessionState, timestamp: u64) -> Self {
        Self {
            revision: Some(state.revision),
            ..Self::without_revision(state, timestamp)
        }
    }
}

/// Payload of `music-control-changed` and `music-controller-changed`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ControllerChanged {
    /// Socket that took control, or the DJ's user id where the server tells the state.
    pub controller_id: Option<String>,
    /// The user as the sender named it: absent if it sent none, null if it sent null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Value>,
    /// `server` where the server tells the state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<&'static str>,
    /// `dj-reconnect` when the DJ came back on a new socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Milliseconds since the epoch.
    pub timestamp: u64,
    /// Left out where the revision is only known once the change is committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
}

impl ControllerChanged {
    /// The server tells who the DJ is in `state`.
    pub fn told(state: &SessionState, timestamp: u64) -> Self {
        let controller = Controller::of(state);
        Self {
            controller_id: controller.id.clone().or(controller.socket),
            user_id: Some(controller.id.into()),
            from: Some("server"),
            reason: None,
            timestamp,
            revision: Some(state.revision),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::session::Register;

    fn state(parts: &[(Part, Value)]) -> SessionState {
        let mut state = SessionState::default();
        for (part, value) in parts {
            let json = value.to_string();
            state.put(*part, Register { at: 1, json });
        }
        state.revision = 3;
        state
    }

    #[test]
    fn snapshots() {
        let check = |parts: &[(Part, Value)], expected: Value| {
            let snapshot = Snapshot::of(&state(parts), 9);
            assert_eq!(serde_json::to_value(snapshot).unwrap(), expected);
        };
        let nothing = json!({
            "playlist": [], "currently_playing": null, "controller_id": null,
            "is_playing": false, "position": 0.0, "from": "server", "timestamp": 9, "revision": 3,
        });
        check(&[], nothing.clone());
        let untitled = json!({"track": {"source": "local"}, "position": 4.0, "is_playing": true});
        check(
            &[(Part::Playback, untitled), (Part::Playlist, json!("x"))],
            nothing,
        );
        let playback = json!({
            "track": {"title": "T", "url": "u"}, "position": 2.5,
            "started_at": "2026-01-01T00:00:00.000Z", "is_playing": true,
        });
        check(
            &[
                (Part::Playback, playback),
                (Part::Controller, json!({"id": "u1", "socket": "s1"})),
                (Part::Playlist, json!([{"id": 1}])),
            ],
            json!({
                "playlist": [{"id": 1}],
                "currently_playing": {
                    "title": "T", "url": "u", "position": 2.5, "controlled_by": "u1",
                    "started_at": "2026-01-01T00:00:00.000Z",
                },
                "controller_id": "u1", "is_playing": true, "position": 2.5,
                "from": "server", "timestamp": 9, "revision": 3,
            }),
        );
    }

    #[test]
    fn the_controller_is_known_by_user_or_by_socket() {
        let dj = |id: Option<&str>, socket: Option<&str>| Controller {
            id: id.map(str::to_owned),
            socket: socket.map(str::to_owned),
        };
        let check = |dj: Controller, user: Option<&str>, socket: &str, expected: bool| {
            assert_eq!(dj.is(user, socket), expected, "{dj:?} {user:?} {socket}");
        };
        check(dj(Some("u"), Some("s")), Some("u"), "other", true);
        check(dj(Some("u"), Some("s")), None, "s", true);
        check(dj(Some("u"), Some("s")), Some("v"), "t", false);
        check(dj(Some("u"), Some("s")), None, "t", false);
        check(dj(None, None), None, "t", false);
        check(dj(None, Some("s")), None, "s", true);
    }
}
