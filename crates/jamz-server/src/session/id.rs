//! Which session an event speaks of.

use serde_json::Value;

/// Longest session id that is accepted, in bytes. The front-end sends 24 hexadecimal
/// digits; an id becomes part of room names, channel names and Redis keys.
pub const MAX_SESSION_ID_BYTES: usize = 128;

/// The session an event speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SessionId {
    /// The shared session of events that name none. Its room is every connected client.
    Default,
    /// A session with an id, whose room is `audio-<id>`.
    Named(String),
}

impl SessionId {
    /// The id in a payload's `sessionId`, else, where `alias` allows it, `session_id`.
    /// `Ok(None)` if the payload names none: it is not an object, or the values are ones
    /// that JavaScript takes for false.
    ///
    /// # Errors
    /// [`BadSessionId`] if there is an id which is not a short text or a number.
    pub fn in_payload(payload: &Value, alias: bool) -> Result<Option<Self>, BadSessionId> {
        let truthy = |key: &str| payload.get(key).filter(|value| is_truthy(value));
        let id = truthy("sessionId").or_else(|| truthy("session_id").filter(|_| alias));
        match id {
            None => Ok(None),
            Some(Value::String(text)) => Self::named(text.clone()).map(Some),
            Some(Value::Number(number)) => Self::named(number.to_string()).map(Some),
            Some(_) => Err(BadSessionId),
        }
    }

    /// A session with an id.
    ///
    /// # Errors
    /// [`BadSessionId`] if the id is empty or longer than [`MAX_SESSION_ID_BYTES`].
    pub fn named(id: String) -> Result<Self, BadSessionId> {
        if id.is_empty() || id.len() > MAX_SESSION_ID_BYTES {
            return Err(BadSessionId);
        }
        Ok(Self::Named(id))
    }

    /// The id, if the session has one.
    pub fn as_deref(&self) -> Option<&str> {
        match self {
            Self::Default => None,
            Self::Named(id) => Some(id),
        }
    }

    /// The room of the session; `None` means every connected client.
    pub fn room(&self) -> Option<String> {
        self.as_deref().map(|id| format!("audio-{id}"))
    }
}

/// The session id is not a short text or a number; send the id that the REST tier gave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("session id must be a text of 1 to {MAX_SESSION_ID_BYTES} bytes, or a number")]
pub struct BadSessionId;

/// What JavaScript takes for true.
fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64().is_some_and(|n| n != 0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_id_of_a_payload() {
        let named = |id: &str| Ok(Some(SessionId::Named(id.to_owned())));
        let check = |payload: Value, alias: bool, expected| {
            assert_eq!(
                SessionId::in_payload(&payload, alias),
                expected,
                "{payload}"
            );
        };
        check(json!({"sessionId": "s1"}), true, named("s1"));
        check(json!({"session_id": "s1"}), true, named("s1"));
        check(json!({"session_id": "s1"}), false, Ok(None));
        check(
            json!({"sessionId": "", "session_id": "s2"}),
            true,
            named("s2"),
        );
        check(json!({"sessionId": 7}), true, named("7"));
        check(json!({"sessionId": 0}), true, Ok(None));
        check(json!({"sessionId": null}), true, Ok(None));
        check(json!({}), true, Ok(None));
        check(json!(null), true, Ok(None));
        check(json!([1]), true, Ok(None));
        check(json!("s1"), true, Ok(None));
        check(json!({"sessionId": {}}), true, Err(BadSessionId));
        check(json!({"sessionId": true}), true, Err(BadSessionId));
        check(
            json!({"sessionId": "x".repeat(128)}),
            true,
            named(&"x".repeat(128)),
        );
        check(
            json!({"sessionId": "x".repeat(129)}),
            true,
            Err(BadSessionId),
        );
    }
}
