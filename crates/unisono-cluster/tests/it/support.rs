//! Short ways to say what tests say often.

use unisono_cluster::{Broadcast, Extension};
use unisono_proto::Value;

pub(crate) fn str(text: &str) -> Value {
    Value::Str(text.to_owned())
}

pub(crate) fn map(pairs: &[(&str, Value)]) -> Value {
    Value::Map(
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
    )
}

pub(crate) fn event(args: &[Value]) -> Broadcast {
    Broadcast {
        args: args.to_vec(),
        ..Broadcast::default()
    }
}

pub(crate) fn hello() -> Broadcast {
    event(&[str("hello")])
}

pub(crate) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

pub(crate) fn numbered(seq: u64) -> Option<Extension> {
    Some(Extension {
        seq,
        ..Extension::default()
    })
}

/// Bytes from hexadecimal digits; white space is ignored.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}
