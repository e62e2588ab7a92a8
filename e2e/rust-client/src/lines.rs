//! Replies and events, one JSON object a line.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Writes the reply to a command.
pub(crate) fn reply(id: &Value, outcome: Result<Value, String>) {
    write(match outcome {
        Ok(value) => json!({ "reply": id, "ok": true, "value": value }),
        Err(error) => json!({ "reply": id, "ok": false, "error": error }),
    });
}

/// Writes an event with the fields of an object.
pub(crate) fn report(event: &str, mut fields: Value) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    fields["event"] = json!(event);
    fields["at_ms"] = json!(now.map_or(0.0, |now| now.as_micros() as f64 / 1000.0));
    write(fields);
}

fn write(line: Value) {
    let mut stdout = std::io::stdout().lock();
    if writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .is_err()
    {
        // The reader of stdout has gone: so has the reason to live.
        std::process::exit(0);
    }
}

/// `{"$bin": base64}` for bytes.
pub(crate) fn binary_to_wire(bytes: &[u8]) -> Value {
    json!({ "$bin": STANDARD.encode(bytes) })
}

/// The reverse, if the value is of that shape.
pub(crate) fn binary_from_wire(value: &Value) -> Option<Vec<u8>> {
    STANDARD.decode(value["$bin"].as_str()?).ok()
}
