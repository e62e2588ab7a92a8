//! The maps that requests and answers are, in either of their two spellings.

use bytes::Bytes;
use unisono_proto::Value;
use unisono_proto::limits::{MAX_JSON_DEPTH, MAX_JSON_VALUES};
use unisono_proto::value::{JsonError, from_json_within, write_json};

use super::encode::check_size;
use super::{DecodeError, EncodeError, RequestError};
use crate::limits::{MAX_BUS_MESSAGE_BYTES, MAX_NAME_BYTES};
use crate::msgpack::{Reader, Writer};

/// The fields of a request or an answer, each to be taken out once.
pub(crate) struct Fields(Vec<(String, Value)>);

impl Fields {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        Self::read_classic(bytes, Deep::Refused)
    }

    /// The same, with null for what is nested too deep: of many things that are told at once one may be so, and the others count.
    pub(super) fn read_pruned(bytes: &[u8]) -> Result<Self, RequestError> {
        Self::read_classic(bytes, Deep::Null)
    }

    fn read_classic(bytes: &[u8], deep: Deep) -> Result<Self, RequestError> {
        check_length(bytes)?;
        let value = if is_json(bytes) {
            let mut value = json_value(bytes, MAX_JSON_DEPTH, deep)?;
            restore_byte_strings(&mut value);
            value
        } else {
            msgpack_value(reader(bytes, deep))?
        };
        Self::of(value).ok_or(RequestError::NotAMap)
    }

    /// Those of a message that has so many levels of its own around what may be nested, and spells byte strings in MessagePack only.
    pub(crate) fn read_within(
        bytes: &[u8],
        levels: usize,
        deep: Deep,
    ) -> Result<Self, RequestError> {
        check_length(bytes)?;
        let value = if is_json(bytes) {
            json_value(bytes, MAX_JSON_DEPTH + levels, deep)?
        } else {
            msgpack_value(reader(bytes, deep).whole(levels))?
        };
        Self::of(value).ok_or(RequestError::NotAMap)
    }

    /// Those of a map within.
    pub(crate) fn of(value: Value) -> Option<Self> {
        match value {
            Value::Map(pairs) => Some(Self(pairs)),
            _ => None,
        }
    }

    /// Of a key that is there twice the last counts, as in JavaScript.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        let index = self.0.iter().rposition(|(name, _)| name == key)?;
        Some(std::mem::replace(&mut self.0[index].1, Value::Null))
    }

    /// A whole number.
    pub(crate) fn number(&mut self, key: &str) -> Option<i64> {
        match self.take(key)? {
            Value::Int(number) => Some(number),
            Value::Float(number) if number.fract() == 0.0 && number.abs() < i64::MAX as f64 => {
                Some(number as i64)
            }
            _ => None,
        }
    }

    /// Whether it is there and true. Anything but a boolean is not.
    pub(crate) fn truth(&mut self, key: &str) -> Option<bool> {
        self.take(key)?.as_bool()
    }

    /// A short text, if there is one.
    pub(crate) fn name(&mut self, key: &str) -> Result<Option<String>, RequestError> {
        match self.take(key) {
            Some(Value::Str(name)) if name.len() > MAX_NAME_BYTES => Err(RequestError::Name),
            Some(Value::Str(name)) => Ok(Some(name)),
            _ => Ok(None),
        }
    }

    pub(crate) fn array(&mut self, key: &str) -> Option<Vec<Value>> {
        match self.take(key)? {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn room_names(&mut self, key: &'static str) -> Result<Vec<String>, RequestError> {
        room_names(self.take(key).unwrap_or(Value::Null), key)
    }
}

/// What becomes of a value that is nested deeper than may be.
#[derive(Clone, Copy)]
pub(crate) enum Deep {
    Refused,
    Null,
}

fn check_length(bytes: &[u8]) -> Result<(), DecodeError> {
    if bytes.len() > MAX_BUS_MESSAGE_BYTES {
        return Err(DecodeError::TooLarge);
    }
    Ok(())
}

/// The first byte says which of the two spellings it is.
fn is_json(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'{')
}

fn json_value(bytes: &[u8], depth: usize, deep: Deep) -> Result<Value, JsonError> {
    let text = String::from_utf8_lossy(bytes);
    match (from_json_within(&text, depth), deep) {
        (Err(JsonError::TooDeep), Deep::Null) => from_json_within(&pruned(&text, depth), depth),
        (read, _) => read,
    }
}

fn reader(bytes: &[u8], deep: Deep) -> Reader<'_> {
    match deep {
        Deep::Refused => Reader::new(bytes),
        Deep::Null => Reader::pruning(bytes),
    }
}

fn msgpack_value(mut reader: Reader<'_>) -> Result<Value, DecodeError> {
    let value = reader.value(1)?;
    if !reader.is_at_end() {
        return Err(DecodeError::TrailingBytes);
    }
    Ok(value)
}

/// JSON with null for each value that is nested deeper than `max_depth`. What is no JSON stays none.
fn pruned(text: &str, max_depth: usize) -> String {
    let mut kept = String::with_capacity(text.len());
    let (mut depth, mut in_string, mut escaped, mut from) = (0_usize, false, false, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                if depth == max_depth + 1 {
                    kept.push_str(&text[from..at]);
                    kept.push_str("null");
                }
            }
            b']' | b'}' => {
                if depth == max_depth + 1 {
                    from = at + 1;
                }
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
    }
    if depth <= max_depth {
        kept.push_str(&text[from..]);
    }
    kept
}

/// Names of rooms; JavaScript may have numbers among them, which match by their decimal text here.
pub(crate) fn room_names(value: Value, field: &'static str) -> Result<Vec<String>, RequestError> {
    let Value::Array(items) = value else {
        return Err(RequestError::Field(field));
    };
    let names = items.into_iter().map(|item| match item {
        Value::Str(name) => Ok(name),
        Value::Int(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        _ => Err(RequestError::Field(field)),
    });
    names.collect()
}

/// `JSON.stringify` spells a buffer as `{"type":"Buffer","data":[…]}`. Here it is a byte string again.
fn restore_byte_strings(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(restore_byte_strings),
        Value::Map(pairs) => match byte_string(pairs) {
            Some(bytes) => *value = Value::Bin(bytes),
            None => pairs
                .iter_mut()
                .for_each(|(_, value)| restore_byte_strings(value)),
        },
        _ => {}
    }
}

fn byte_string(pairs: &[(String, Value)]) -> Option<Bytes> {
    let [(first, Value::Str(kind)), (second, Value::Array(items))] = pairs else {
        return None;
    };
    if first != "type" || kind != "Buffer" || second != "data" {
        return None;
    }
    let bytes = items
        .iter()
        .map(|item| item.as_i64().and_then(|byte| u8::try_from(byte).ok()));
    bytes.collect::<Option<Vec<u8>>>().map(Bytes::from)
}

/// Fields as JSON, as `JSON.stringify` writes them.
pub(super) fn json(fields: &[(&str, Value)]) -> Result<Bytes, EncodeError> {
    let mut writer = JsonWriter::default();
    writer.out.push('{');
    for (index, (key, value)) in fields.iter().enumerate() {
        if index > 0 {
            writer.out.push(',');
        }
        writer.key(key)?;
        writer.value(value, MAX_JSON_DEPTH - 1)?;
    }
    writer.out.push('}');
    check_size(writer.out.len())?;
    Ok(Bytes::from(writer.out))
}

/// Fields as MessagePack.
pub(super) fn msgpack(fields: &[(&str, Value)]) -> Result<Bytes, EncodeError> {
    const FIELD_DEPTH: usize = 2;
    let mut writer = Writer::with_capacity(64);
    writer.map(fields.len());
    for (key, value) in fields {
        writer.str(key);
        writer.value(value, FIELD_DEPTH)?;
    }
    check_size(writer.len())?;
    Ok(writer.finish())
}

/// Writes JSON as `JSON.stringify` does, and stops where it gets too long.
#[derive(Debug, Default)]
pub(crate) struct JsonWriter {
    pub(crate) out: String,
    pub(crate) values: usize,
}

impl JsonWriter {
    /// Writes one value that may open `depth` more levels.
    pub(crate) fn value(&mut self, value: &Value, depth: usize) -> Result<(), EncodeError> {
        self.count(1)?;
        let inner = || depth.checked_sub(1).ok_or(EncodeError::TooDeep);
        match value {
            Value::Bin(bytes) => self.byte_string(bytes),
            Value::Array(items) => {
                let inner = inner()?;
                self.out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.out.push(',');
                    }
                    self.value(item, inner)?;
                }
                self.out.push(']');
                Ok(())
            }
            Value::Map(pairs) => {
                let inner = inner()?;
                self.out.push('{');
                for (index, (key, value)) in pairs.iter().enumerate() {
                    if index > 0 {
                        self.out.push(',');
                    }
                    self.key(key)?;
                    self.value(value, inner)?;
                }
                self.out.push('}');
                Ok(())
            }
            scalar => self.scalar(scalar),
        }
    }

    pub(crate) fn key(&mut self, key: &str) -> Result<(), EncodeError> {
        self.scalar(&Value::Str(key.to_owned()))?;
        self.out.push(':');
        Ok(())
    }

    fn scalar(&mut self, value: &Value) -> Result<(), EncodeError> {
        write_json(value, &mut self.out, &mut Vec::new()).map_err(|_| EncodeError::TooDeep)
    }

    fn byte_string(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.count(bytes.len() + 2)?;
        self.out.push_str(r#"{"type":"Buffer","data":["#);
        for (index, byte) in bytes.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            self.out.push_str(&byte.to_string());
        }
        self.out.push_str("]}");
        Ok(())
    }

    pub(crate) fn count(&mut self, values: usize) -> Result<(), EncodeError> {
        check_size(self.out.len())?;
        self.values = self.values.saturating_add(values);
        if self.values >= MAX_JSON_VALUES {
            return Err(EncodeError::TooManyValues);
        }
        Ok(())
    }
}
