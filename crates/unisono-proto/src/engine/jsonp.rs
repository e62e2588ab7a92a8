//! Polling by script elements and forms, for browsers that cannot ask other origins otherwise. A GET with `j` in its query is answered by a
//! script that calls a function of the page; a POST with `j` is a form whose field `d` is the payload.

use super::pairs;
use crate::value::push_string;

/// The script that gives `payload` to the callback with the index `j`, of which only the digits count: what a client sends becomes part of a
/// script.
pub fn encode(j: &str, payload: &str) -> String {
    let mut literal = String::with_capacity(payload.len() + payload.len() / 8);
    push_string(payload, &mut literal);
    // Two characters that JSON takes as they are end a line in the scripts of old browsers.
    let literal = literal
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029");
    let index: String = j.chars().filter(char::is_ascii_digit).collect();
    format!("___eio[{index}]({literal});")
}

/// The payload in the body of a form. Clients write a line feed as `\n` because browsers turn it into something else, and `\n` as `\\n`.
pub fn decode(form: &str) -> Option<String> {
    let (_, data) = pairs(form).filter(|(key, _)| key == "d").last()?;
    let mut payload = String::with_capacity(data.len());
    let mut rest = &*data;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        payload.push_str(plain);
        rest = if let Some(behind) = escape.strip_prefix("\\\\n") {
            payload.push_str("\\n");
            behind
        } else if let Some(behind) = escape.strip_prefix("\\n") {
            payload.push('\n');
            behind
        } else {
            payload.push('\\');
            &escape[1..]
        };
    }
    payload.push_str(rest);
    Some(payload)
}
