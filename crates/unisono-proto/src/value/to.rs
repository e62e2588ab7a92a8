//! Any serde type as a value, or as the arguments of an event.

use std::cell::Cell;

use bytes::Bytes;
use serde::ser::{self, Serialize};

use super::{Value, ValueError, without_duplicates};
use crate::limits::MAX_JSON_DEPTH;

/// The value that `data` serialises to: structs become maps, byte strings (`serialize_bytes`, see
/// [`Binary`](super::Binary)) stay bytes, enums are written as JSON does (`"Unit"`, `{"Variant": …}`).
///
/// # Errors
/// [`ValueError::TooDeep`], [`ValueError::Key`], or what the type itself reports.
pub fn to_value<T: Serialize + ?Sized>(data: &T) -> Result<Value, ValueError> {
    data.serialize(ToValue {
        depth: MAX_JSON_DEPTH,
        shape: None,
    })
}

/// The arguments of an event: a top-level tuple or tuple struct is spread into several, `()` is none, anything
/// else is one. Serde takes an array of fixed length for a tuple; pass a slice to send it as one argument.
///
/// # Errors
/// As [`to_value`].
///
/// ```
/// use unisono_proto::{Value, value::to_args};
/// assert_eq!(to_args(&("a", 1)).unwrap(), [Value::from("a"), Value::Int(1)]);
/// assert_eq!(to_args("a").unwrap(), [Value::from("a")]);
/// assert_eq!(to_args(&()).unwrap(), []);
/// ```
pub fn to_args<T: Serialize + ?Sized>(data: &T) -> Result<Vec<Value>, ValueError> {
    let shape = Cell::new(Shape::One);
    let value = data.serialize(ToValue {
        depth: MAX_JSON_DEPTH,
        shape: Some(&shape),
    })?;
    Ok(match (shape.get(), value) {
        (Shape::None, _) => Vec::new(),
        (Shape::Spread, Value::Array(items)) => items,
        (_, value) => vec![value],
    })
}

/// How many arguments the outermost type makes.
#[derive(Clone, Copy)]
enum Shape {
    None,
    One,
    Spread,
}

/// Builds a value that may open `depth` more levels.
#[derive(Clone, Copy)]
struct ToValue<'a> {
    depth: usize,
    /// Where to note the shape, on the outermost level of arguments.
    shape: Option<&'a Cell<Shape>>,
}

impl ToValue<'_> {
    fn inner(self) -> Result<ToValue<'static>, ValueError> {
        let depth = self.depth.checked_sub(1).ok_or(ValueError::TooDeep)?;
        Ok(ToValue { depth, shape: None })
    }

    fn note(self, shape: Shape) {
        if let Some(cell) = self.shape {
            cell.set(shape);
        }
    }

    fn items(self, variant: Option<&'static str>, len: Option<usize>) -> Result<Items, ValueError> {
        let inner = if variant.is_some() {
            self.inner()?.inner()?
        } else {
            self.inner()?
        };
        Ok(Items {
            variant,
            items: Vec::with_capacity(len.unwrap_or(0).min(RESERVED)),
            inner,
        })
    }

    fn pairs(self, variant: Option<&'static str>, len: Option<usize>) -> Result<Pairs, ValueError> {
        let inner = if variant.is_some() {
            self.inner()?.inner()?
        } else {
            self.inner()?
        };
        let pairs = Vec::with_capacity(len.unwrap_or(0).min(RESERVED));
        Ok(Pairs {
            variant,
            pairs,
            key: String::new(),
            inner,
        })
    }
}

/// Most elements to make room for before they are seen: the hint of a type may be wrong.
const RESERVED: usize = 256;

impl ser::Serializer for ToValue<'_> {
    type Ok = Value;
    type Error = ValueError;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Pairs;
    type SerializeStruct = Pairs;
    type SerializeStructVariant = Pairs;

    fn serialize_bool(self, v: bool) -> Result<Value, ValueError> {
        Ok(Value::Bool(v))
    }

    fn serialize_i8(self, v: i8) -> Result<Value, ValueError> {
        Ok(Value::Int(v.into()))
    }

    fn serialize_i16(self, v: i16) -> Result<Value, ValueError> {
        Ok(Value::Int(v.into()))
    }

    fn serialize_i32(self, v: i32) -> Result<Value, ValueError> {
        Ok(Value::Int(v.into()))
    }

    fn serialize_i64(self, v: i64) -> Result<Value, ValueError> {
        Ok(Value::Int(v))
    }

    fn serialize_u8(self, v: u8) -> Result<Value, ValueError> {
        Ok(Value::Int(v.into()))
    }

    fn serialize_u16(self, v: u16) -> Result<Value, ValueError> {
        Ok(Value::Int(v.into()))
    }

    fn serialize_u32(self, v: u32) -> Result<Value, ValueError> {
        Ok(Value::Int(v.into()))
    }

    fn serialize_u64(self, v: u64) -> Result<Value, ValueError> {
        Ok(Value::from(v))
    }

    fn serialize_f32(self, v: f32) -> Result<Value, ValueError> {
        // Through the shortest decimal: 0.1 stays 0.1 and does not become 0.10000000149011612.
        Ok(Value::Float(v.to_string().parse().unwrap_or(f64::from(v))))
    }

    fn serialize_f64(self, v: f64) -> Result<Value, ValueError> {
        Ok(Value::Float(v))
    }

    fn serialize_char(self, v: char) -> Result<Value, ValueError> {
        Ok(Value::Str(v.into()))
    }

    fn serialize_str(self, v: &str) -> Result<Value, ValueError> {
        Ok(Value::Str(v.to_owned()))
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<Value, ValueError> {
        Ok(Value::Bin(Bytes::copy_from_slice(v)))
    }

    fn serialize_none(self) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, ValueError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, ValueError> {
        self.note(Shape::None);
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Value, ValueError> {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Value, ValueError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, ValueError> {
        Ok(tagged(Some(variant), value.serialize(self.inner()?)?))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Items, ValueError> {
        self.items(None, len)
    }

    fn serialize_tuple(self, len: usize) -> Result<Items, ValueError> {
        self.note(Shape::Spread);
        self.items(None, Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Items, ValueError> {
        self.note(Shape::Spread);
        self.items(None, Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Items, ValueError> {
        self.items(Some(variant), Some(len))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Pairs, ValueError> {
        self.pairs(None, len)
    }

    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Pairs, ValueError> {
        self.pairs(None, Some(len))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Pairs, ValueError> {
        self.pairs(Some(variant), Some(len))
    }
}

/// The value itself, or under the name of its enum variant.
fn tagged(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        Some(variant) => Value::Map(vec![(variant.to_owned(), value)]),
        None => value,
    }
}

/// The elements of a list or tuple while they are collected.
pub(super) struct Items {
    variant: Option<&'static str>,
    items: Vec<Value>,
    inner: ToValue<'static>,
}

impl Items {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        self.items.push(value.serialize(self.inner)?);
        Ok(())
    }

    fn finish(self) -> Value {
        tagged(self.variant, Value::Array(self.items))
    }
}

/// The same collecting under each of serde's names for it.
macro_rules! collects {
    ($type:ty, $($trait:ident::$add:ident($($key:ident: $key_type:ty)?)),+) => {
        $(impl ser::$trait for $type {
            type Ok = Value;
            type Error = ValueError;

            fn $add<T: Serialize + ?Sized>(&mut self, $($key: $key_type,)? value: &T) -> Result<(), ValueError> {
                self.push($($key,)? value)
            }

            fn end(self) -> Result<Value, ValueError> {
                Ok(self.finish())
            }
        })+
    };
}

collects!(
    Items,
    SerializeSeq::serialize_element(),
    SerializeTuple::serialize_element(),
    SerializeTupleStruct::serialize_field(),
    SerializeTupleVariant::serialize_field()
);

/// The pairs of a map or struct while they are collected.
pub(super) struct Pairs {
    variant: Option<&'static str>,
    pairs: Vec<(String, Value)>,
    /// The key whose value comes next.
    key: String,
    inner: ToValue<'static>,
}

impl Pairs {
    fn push<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), ValueError> {
        self.pairs
            .push((key.to_owned(), value.serialize(self.inner)?));
        Ok(())
    }

    fn finish(self) -> Value {
        tagged(self.variant, Value::Map(without_duplicates(self.pairs)))
    }
}

collects!(
    Pairs,
    SerializeStruct::serialize_field(key: &'static str),
    SerializeStructVariant::serialize_field(key: &'static str)
);

impl ser::SerializeMap for Pairs {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ValueError> {
        self.key = match key.serialize(ToValue {
            depth: 0,
            shape: None,
        }) {
            Ok(Value::Str(text)) => text,
            Ok(Value::Int(number)) => number.to_string(),
            Ok(Value::Float(number)) => number.to_string(),
            Ok(Value::Bool(bool)) => bool.to_string(),
            _ => return Err(ValueError::Key),
        };
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        let value = value.serialize(self.inner)?;
        self.pairs.push((std::mem::take(&mut self.key), value));
        Ok(())
    }

    fn end(self) -> Result<Value, ValueError> {
        Ok(self.finish())
    }
}
