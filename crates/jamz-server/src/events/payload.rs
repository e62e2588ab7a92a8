//! The fields that payloads share.

use serde_json::Value;

/// Longest user id that is accepted, in bytes. Those of the application are UUIDs.
pub(super) const MAX_USER_ID_BYTES: usize = 256;

/// The `userId` of a payload.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct UserId {
    /// As it was sent, to be echoed: `None` if the sender left it out.
    pub(super) echoed: Option<Value>,
    /// As it is stored and compared: `None` if there is no user.
    pub(super) text: Option<String>,
}

impl UserId {
    /// The `userId` of a payload; `None` if it is neither a short text, a number, null nor
    /// absent.
    pub(super) fn in_payload(payload: &Value) -> Option<Self> {
        let echoed = payload.get("userId").cloned();
        let text = match &echoed {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.is_empty() => None,
            Some(Value::String(text)) if text.len() <= MAX_USER_ID_BYTES => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(_) => return None,
        };
        Some(Self { echoed, text })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn user_ids() {
        let check = |payload: Value, expected: Option<(Option<Value>, Option<&str>)>| {
            let expected = expected.map(|(echoed, text)| UserId {
                echoed,
                text: text.map(str::to_owned),
            });
            assert_eq!(UserId::in_payload(&payload), expected, "{payload}");
        };
        check(json!({"userId": "u"}), Some((Some(json!("u")), Some("u"))));
        check(json!({"userId": 7}), Some((Some(json!(7)), Some("7"))));
        check(json!({"userId": null}), Some((Some(json!(null)), None)));
        check(json!({"userId": ""}), Some((Some(json!("")), None)));
        check(json!({}), Some((None, None)));
        check(json!(null), Some((None, None)));
        check(json!({"userId": {}}), None);
        check(json!({"userId": true}), None);
        check(json!({"userId": "x".repeat(MAX_USER_ID_BYTES + 1)}), None);
    }
}
