//! The arguments of an event as one Rust value: what [`to_args`](super::to_args) spreads, read back.

use serde::de::{DeserializeOwned, Deserializer, Visitor};

use super::{Value, ValueError};

/// The `T` that the arguments spell. A tuple takes one argument for each of its elements, anything else the first argument. An absent
/// argument reads as null; arguments beyond what `T` takes are ignored. A newtype, and an `Option`, reads as what is in it; an `Option` is
/// `None` where the first argument is null or absent.
///
/// ```
/// use unisono_proto::value::from_args;
/// use unisono_proto::Value;
///
/// let args = || vec![Value::from("room"), Value::from(7)];
/// assert_eq!(from_args::<String>(args()), Ok("room".to_owned()));
/// assert_eq!(from_args::<(String, u8)>(args()), Ok(("room".to_owned(), 7)));
/// assert_eq!(from_args::<(String, u8, Option<bool>)>(args()), Ok(("room".to_owned(), 7, None)));
/// ```
///
/// # Errors
/// [`ValueError::Mismatch`] with the type's own words.
pub fn from_args<T: DeserializeOwned>(args: Vec<Value>) -> Result<T, ValueError> {
    T::deserialize(Args(args))
}

struct Args(Vec<Value>);

impl Args {
    fn first(self) -> Value {
        self.0.into_iter().next().unwrap_or(Value::Null)
    }

    /// Exactly `len` values, nulls in place of absent ones.
    fn exactly(mut self, len: usize) -> Value {
        self.0.truncate(len);
        // A tuple of a Rust type: its length is not a peer's choice.
        self.0.resize(len, Value::Null);
        Value::Array(self.0)
    }
}

macro_rules! from_first {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            self.first().$method(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Args {
    type Error = ValueError;

    from_first! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_seq deserialize_map
        deserialize_identifier deserialize_ignored_any
    }

    /// What is inside reads the arguments, as its place among them is what [`to_args`](super::to_args) has spread.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.0.first() {
            None | Some(Value::Null) => visitor.visit_none(),
            Some(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_unit()
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.exactly(len).deserialize_tuple(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.exactly(len)
            .deserialize_tuple_struct(name, len, visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.first().deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.first().deserialize_struct(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.first().deserialize_enum(name, variants, visitor)
    }
}
