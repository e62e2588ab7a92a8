//! The data that events carry: JSON plus byte strings.
//!
//! A [`Value`] is what a handler receives before it asks for a type, and what a broadcast holds while it travels
//! between nodes. [`to_value`], [`to_args`] and [`from_value`] convert it from and to any serde type; [`from_json`]
//! and [`write_json`] are its Socket.IO spelling, in which byte strings are placeholders for attachments.

mod args;
mod de;
mod error;
mod parse;
mod ser;
mod to;
mod write;

use bytes::Bytes;

pub use self::args::from_args;
pub use self::de::from_value;
pub use self::error::ValueError;
pub use self::parse::{JsonError, from_json, from_json_within};
pub(crate) use self::parse::{fill_placeholders, parse_with_placeholders};
pub use self::to::{to_args, to_value};
pub use self::write::{WriteError, write_json};
pub(crate) use self::write::{Writer, push_integer, push_string};

/// One value of JSON, or a byte string.
///
/// ```
/// use unisono_proto::Value;
/// let value = Value::from(serde_json::json!({"track": "a", "at": 12}));
/// assert_eq!(value.get("at").and_then(Value::as_i64), Some(12));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// JSON `null`; also JavaScript's `undefined` where it has to be spelt.
    Null,
    /// JSON `true` or `false`.
    Bool(bool),
    /// An integer. Those above `i64::MAX` become [`Value::Float`].
    Int(i64),
    /// Any other number. JSON has no spelling for NaN and the infinities: they are written as `null`.
    Float(f64),
    /// A text.
    Str(String),
    /// A byte string, sent as a binary attachment.
    Bin(Bytes),
    /// A list.
    Array(Vec<Value>),
    /// Pairs in the order in which they were written. Decoders of this crate leave no key twice; where a
    /// hand-made map does, the last one counts, as in JavaScript.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// The value of the last pair with this key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let pairs = self.as_map()?;
        pairs
            .iter()
            .rev()
            .find(|(k, _)| k == key)
            .map(|(_, value)| value)
    }

    /// The text, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The number as an integer: an [`Value::Int`], or a float without a fraction that is exact (within 2^53),
    /// since JavaScript does not tell `1` from `1.0`.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            Value::Float(number) => exact_integer(*number),
            _ => None,
        }
    }

    /// The number as a float, if this is a number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// The bool, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(bool) => Some(*bool),
            _ => None,
        }
    }

    /// The elements, if this is an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The pairs, if this is a map.
    pub fn as_map(&self) -> Option<&[(String, Value)]> {
        match self {
            Value::Map(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The bytes, if this is a byte string.
    pub fn as_bin(&self) -> Option<&Bytes> {
        match self {
            Value::Bin(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Whether this is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Values in memory, itself among them; the key of a map counts as one more.
    fn count(&self) -> usize {
        // Decoders have bounded the depth.
        match self {
            Value::Array(items) => 1 + items.iter().map(Value::count).sum::<usize>(),
            Value::Map(pairs) => {
                let inner = pairs.iter().map(|(_, value)| 1 + value.count());
                1 + inner.sum::<usize>()
            }
            _ => 1,
        }
    }
}

/// Bytes that values take in memory beside their texts and byte strings. On the wire a value may be two bytes: whoever keeps what peers
/// have sent counts whichever is more.
///
/// ```
/// use unisono_proto::value::{from_json, memory_bytes};
/// let zeros = from_json("[0,0,0,0,0,0,0]", &[]).unwrap();
/// assert_eq!(memory_bytes([&zeros]), 8 * size_of::<unisono_proto::Value>());
/// ```
pub fn memory_bytes<'v>(values: impl IntoIterator<Item = &'v Value>) -> usize {
    let counts = values.into_iter().map(Value::count);
    counts.sum::<usize>() * size_of::<Value>()
}

/// The integer that `number` is exactly, within ±2^53.
pub(crate) fn exact_integer(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

/// Leaves the last value of each key, at the place of the key's first appearance (what a JavaScript object does).
pub(crate) fn without_duplicates(mut pairs: Vec<(String, Value)>) -> Vec<(String, Value)> {
    /// Up to here comparing every pair of keys is cheaper than sorting them.
    const FEW: usize = 8;
    let few = pairs.len() <= FEW;
    if few
        && !pairs
            .iter()
            .enumerate()
            .any(|(i, (key, _))| pairs[..i].iter().any(|(k, _)| k == key))
    {
        return pairs;
    }
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.sort_by(|&a, &b| pairs[a].0.cmp(&pairs[b].0));
    if !few
        && order
            .windows(2)
            .all(|two| pairs[two[0]].0 != pairs[two[1]].0)
    {
        return pairs;
    }
    // Equal keys are neighbours now, in their order of appearance: move the last value to the first place.
    let mut keep = vec![true; pairs.len()];
    let mut first = 0;
    for at in 1..=order.len() {
        if at < order.len() && pairs[order[at]].0 == pairs[order[first]].0 {
            keep[order[at]] = false;
            continue;
        }
        let last = std::mem::replace(&mut pairs[order[at - 1]].1, Value::Null);
        pairs[order[first]].1 = last;
        first = at;
    }
    let mut keep = keep.into_iter();
    pairs.retain(|_| keep.next().unwrap_or(true));
    pairs
}

/// A byte string inside a user's own types: serde writes a plain `Vec<u8>` as a list of numbers, this as bytes.
///
/// ```
/// use serde::Serialize;
/// use unisono_proto::value::{Binary, to_value};
/// #[derive(Serialize)]
/// struct Cover { jpeg: Binary }
/// let value = to_value(&Cover { jpeg: Binary(vec![1, 2].into()) }).unwrap();
/// assert!(value.get("jpeg").unwrap().as_bin().is_some());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Binary(pub Bytes);

impl From<bool> for Value {
    fn from(bool: bool) -> Value {
        Value::Bool(bool)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Value {
        Value::Int(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Value {
        Value::Int(number.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        i64::try_from(number).map_or(Value::Float(number as f64), Value::Int)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Float(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Str(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Str(text)
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Value {
        Value::Bin(bytes)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Value {
        Value::Array(items)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(option: Option<T>) -> Value {
        option.map_or(Value::Null, Into::into)
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(bool) => Value::Bool(bool),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(integer) => Value::Int(integer),
                None => number.as_f64().map_or(Value::Null, Value::Float),
            },
            serde_json::Value::String(text) => Value::Str(text),
            serde_json::Value::Array(items) => {
                Value::Array(items.into_iter().map(Value::from).collect())
            }
            serde_json::Value::Object(pairs) => Value::Map(
                pairs
                    .into_iter()
                    .map(|(key, value)| (key, value.into()))
                    .collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(keys: &[&str], expected: &[(&str, i64)]) {
        let pairs = keys
            .iter()
            .enumerate()
            .map(|(i, key)| ((*key).to_owned(), Value::Int(i as i64)));
        let expected: Vec<(String, Value)> = expected
            .iter()
            .map(|(key, at)| ((*key).to_owned(), Value::Int(*at)))
            .collect();
        assert_eq!(without_duplicates(pairs.collect()), expected, "{keys:?}");
    }

    #[test]
    fn duplicate_keys_keep_the_first_place_and_the_last_value() {
        check(&[], &[]);
        check(&["a"], &[("a", 0)]);
        check(&["a", "b"], &[("a", 0), ("b", 1)]);
        check(&["a", "b", "a"], &[("a", 2), ("b", 1)]);
        check(&["a", "a", "a"], &[("a", 2)]);
        let many = ["j", "i", "h", "g", "f", "e", "d", "c", "b", "a"];
        let all: Vec<(&str, i64)> = many.iter().zip(0..).map(|(key, at)| (*key, at)).collect();
        check(&many, &all);
        let twice: Vec<&str> = many.iter().chain(&many).copied().collect();
        let later: Vec<(&str, i64)> = many.iter().zip(10..).map(|(key, at)| (*key, at)).collect();
        check(&twice, &later);
    }
}
