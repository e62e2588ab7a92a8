//! A value as JSON text, the way `JSON.stringify` writes it: byte strings become placeholders for attachments.

use bytes::Bytes;

use super::{Value, exact_integer};
use crate::limits::MAX_JSON_DEPTH;

/// Why a value cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Nested deeper than [`MAX_JSON_DEPTH`]; receivers refuse it.
    #[error("nested deeper than {MAX_JSON_DEPTH} levels; flatten it")]
    TooDeep,
    /// A map with the key `_placeholder` set to true beside real byte strings: receivers would take it for an
    /// attachment, and stock clients disconnect when its number fits none.
    #[error("a map with `_placeholder: true` cannot travel beside byte strings; rename the key")]
    Placeholder,
}

/// Appends `value` to `out` as JSON and each of its byte strings to `attachments`, with
/// `{"_placeholder":true,"num":i}` in its place, where `i` is its index in `attachments`.
///
/// # Errors
/// See [`WriteError`]; `out` and `attachments` then hold what was written so far and should be thrown away.
pub fn write_json(
    value: &Value,
    out: &mut String,
    attachments: &mut Vec<Bytes>,
) -> Result<(), WriteError> {
    let mut writer = Writer::new(out, attachments);
    writer.value(value, MAX_JSON_DEPTH)?;
    writer.finish()
}

/// Writes values one after the other and remembers whether any of them looks like a placeholder.
pub(crate) struct Writer<'a> {
    out: &'a mut String,
    attachments: &'a mut Vec<Bytes>,
    looks_like_placeholder: bool,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut String, attachments: &'a mut Vec<Bytes>) -> Writer<'a> {
        Writer {
            out,
            attachments,
            looks_like_placeholder: false,
        }
    }

    /// Writes an array that is not a [`Value`] of its own: the arguments of an event.
    pub(crate) fn array(&mut self, items: &[Value], depth: usize) -> Result<(), WriteError> {
        let depth = depth.checked_sub(1).ok_or(WriteError::TooDeep)?;
        self.out.push('[');
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            self.value(item, depth)?;
        }
        self.out.push(']');
        Ok(())
    }

    /// Writes one value that may open `depth` more levels.
    pub(crate) fn value(&mut self, value: &Value, depth: usize) -> Result<(), WriteError> {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(true) => self.out.push_str("true"),
            Value::Bool(false) => self.out.push_str("false"),
            Value::Int(number) => push_integer(*number, self.out),
            Value::Float(number) => push_float(*number, self.out),
            Value::Str(text) => push_string(text, self.out),
            Value::Bin(bytes) => self.placeholder(bytes),
            Value::Array(items) => self.array(items, depth)?,
            Value::Map(pairs) => self.map(pairs, depth)?,
        }
        Ok(())
    }

    /// Ends the writing: an error if the text would be misread.
    pub(crate) fn finish(self) -> Result<(), WriteError> {
        if self.looks_like_placeholder && !self.attachments.is_empty() {
            return Err(WriteError::Placeholder);
        }
        Ok(())
    }

    fn map(&mut self, pairs: &[(String, Value)], depth: usize) -> Result<(), WriteError> {
        let depth = depth.checked_sub(1).ok_or(WriteError::TooDeep)?;
        self.out.push('{');
        for (i, (key, value)) in pairs.iter().enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            self.looks_like_placeholder |= key == "_placeholder" && *value == Value::Bool(true);
            push_string(key, self.out);
            self.out.push(':');
            self.value(value, depth)?;
        }
        self.out.push('}');
        Ok(())
    }

    fn placeholder(&mut self, bytes: &Bytes) {
        self.out.push_str(r#"{"_placeholder":true,"num":"#);
        push_integer(self.attachments.len() as i64, self.out);
        self.out.push('}');
        self.attachments.push(bytes.clone());
    }
}

/// Appends the decimal digits of `number`.
pub(crate) fn push_integer(number: i64, out: &mut String) {
    /// Digits of `u64::MAX`.
    const DIGITS: usize = 20;
    let mut digits = [b'0'; DIGITS];
    let mut rest = number.unsigned_abs();
    let mut start = DIGITS;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push('-');
    }
    out.push_str(std::str::from_utf8(&digits[start..]).expect("digits are ASCII"));
}

/// Appends a float as `Number.prototype.toString` spells it; `null` for NaN and the infinities.
fn push_float(number: f64, out: &mut String) {
    use std::fmt::Write;
    if !number.is_finite() {
        out.push_str("null");
    } else if let Some(integer) = exact_integer(number) {
        push_integer(integer, out);
    } else if (1e-6..1e21).contains(&number.abs()) {
        write!(out, "{number}").expect("writing to a string cannot fail");
    } else {
        let text = format!("{number:e}");
        out.push_str(&match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                format!("{digits}e+{exponent}")
            }
            _ => text,
        });
    }
}

/// Appends a JSON string: only quote, backslash and control characters are escaped.
pub(crate) fn push_string(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => {
                out.push_str("\\u00");
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: impl Into<Value>, expected: &str) {
        let mut out = String::new();
        write_json(&value.into(), &mut out, &mut Vec::new()).unwrap();
        assert_eq!(out, expected);
    }

    /// The right-hand sides are what `JSON.stringify` gives in Node 22.
    #[test]
    fn spells_like_json_stringify() {
        check(Value::Null, "null");
        check(true, "true");
        check(0, "0");
        check(i64::MIN, "-9223372036854775808");
        check(1.0, "1");
        check(-0.0, "0");
        check(0.1, "0.1");
        check(-1.5, "-1.5");
        check(1e21, "1e+21");
        check(1.5e300, "1.5e+300");
        check(123_456_789_012_345_680_000.0, "123456789012345680000");
        check(1e-6, "0.000001");
        check(1.5e-7, "1.5e-7");
        check(5e-324, "5e-324");
        check(f64::NAN, "null");
        check(f64::INFINITY, "null");
        check(
            "a\"b\\c\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}/é😀",
            "\"a\\\"b\\\\c\\n\\r\\t\\b\\f\\u0001\\u001f\u{7f}/é😀\"",
        );
        check(
            vec![
                Value::Int(1),
                Value::Map(vec![("".into(), Value::Array(vec![]))]),
            ],
            r#"[1,{"":[]}]"#,
        );
        check(
            vec![Value::Bin(Bytes::new()), Value::Bin(Bytes::new())],
            r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
        );
    }

    #[test]
    fn refuses_what_receivers_would_misread() {
        let fake = Value::from(serde_json::json!({"_placeholder": true, "num": 9}));
        let write = |value: Value| write_json(&value, &mut String::new(), &mut Vec::new());
        assert_eq!(write(fake.clone()), Ok(()));
        assert_eq!(
            write(vec![fake, Bytes::new().into()].into()),
            Err(WriteError::Placeholder)
        );
        let nested = |levels| (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
        assert_eq!(write(nested(MAX_JSON_DEPTH)), Ok(()));
        assert_eq!(write(nested(MAX_JSON_DEPTH + 1)), Err(WriteError::TooDeep));
    }
}
