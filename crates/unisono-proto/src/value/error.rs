//! Why a value and a type do not fit together, without telling what the value was.

use std::fmt;

use serde::{de, de::Unexpected, ser};

/// Why a conversion between a [`Value`](super::Value) and a type failed. What a peer has sent is not in its text, unless a type of the
/// application puts it there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Nested deeper than [`MAX_JSON_DEPTH`](crate::limits::MAX_JSON_DEPTH); flatten the type.
    #[error(
        "nested deeper than {} levels; flatten it",
        crate::limits::MAX_JSON_DEPTH
    )]
    TooDeep,
    /// A map key that is not a text, a number, a bool or a unit variant.
    #[error("a map key must be a text, a number, a bool or a unit variant")]
    Key,
    /// The type and the value do not fit together; the text is the type's own (for example a missing field).
    #[error("{0}")]
    Mismatch(String),
}

impl ser::Error for ValueError {
    fn custom<T: fmt::Display>(message: T) -> ValueError {
        ValueError::Mismatch(message.to_string())
    }
}

/// What a peer has sent is not repeated, for errors are logged: kinds are named, and what the type expects.
impl de::Error for ValueError {
    fn custom<T: fmt::Display>(message: T) -> ValueError {
        ValueError::Mismatch(message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> ValueError {
        ValueError::Mismatch(format!("{} instead of {expected}", kind(unexpected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> ValueError {
        ValueError::Mismatch(format!("{} that is not {expected}", kind(unexpected)))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> ValueError {
        ValueError::Mismatch(format!("a variant that is none of {expected:?}"))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> ValueError {
        ValueError::Mismatch(format!("a field that is none of {expected:?}"))
    }
}

fn kind(unexpected: Unexpected<'_>) -> &'static str {
    match unexpected {
        Unexpected::Bool(_) => "a bool",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
        Unexpected::Float(_) => "a float",
        Unexpected::Char(_) | Unexpected::Str(_) => "a text",
        Unexpected::Bytes(_) => "a byte string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a map",
        _ => "something else",
    }
}
