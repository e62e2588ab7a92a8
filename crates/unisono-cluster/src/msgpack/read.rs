//! Reading whatever a peer sent.

use std::borrow::Cow;

use bytes::Bytes;
use rmp::Marker;
use unisono_proto::Value;

use super::date;
use crate::classic::DecodeError;
use crate::limits::{MAX_ATTACHMENTS, MAX_DEPTH, MAX_VALUES};

/// Extension type of a timestamp.
const EXT_TIMESTAMP: i8 = -1;
/// Elements reserved before any has been read: a peer's word for a length costs no more than this at each level.
const RESERVED: usize = 256;

/// Extension type under which old versions of `notepack` sent `undefined`, dates and array buffers.
const EXT_LEGACY: i8 = 0;

/// One step of reading: a scalar, or the head of a container whose elements follow.
#[derive(Debug)]
pub(crate) enum Token<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Cow<'a, str>),
    Bin(&'a [u8]),
    /// Number of elements that follow.
    Array(usize),
    /// Number of pairs that follow.
    Map(usize),
    Ext(i8, &'a [u8]),
}

/// Takes one message apart from its start.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// How many more values this message may have.
    budget: usize,
    attachments: usize,
    max_attachments: usize,
    max_depth: usize,
    /// Whether what is nested too deep is null instead of an error.
    prunes: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            budget: MAX_VALUES,
            attachments: 0,
            max_attachments: MAX_ATTACHMENTS,
            max_depth: MAX_DEPTH,
            prunes: false,
        }
    }

    /// For a message that is read as one value: so many levels of its own stand around what may be nested, and what in it must not have
    /// too many byte strings is looked at later.
    pub(crate) fn whole(self, levels: usize) -> Self {
        Self {
            max_attachments: usize::MAX,
            max_depth: MAX_DEPTH + levels,
            ..self
        }
    }

    /// One that reads null for what is nested too deep.
    pub(crate) fn pruning(bytes: &'a [u8]) -> Self {
        Self {
            prunes: true,
            ..Self::new(bytes)
        }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn token(&mut self) -> Result<Token<'a>, DecodeError> {
        self.budget = self
            .budget
            .checked_sub(1)
            .ok_or(DecodeError::TooManyValues)?;
        let [marker] = self.fixed::<1>()?;
        Ok(match Marker::from_u8(marker) {
            Marker::Null => Token::Null,
            Marker::True => Token::Bool(true),
            Marker::False => Token::Bool(false),
            Marker::FixPos(value) => Token::Int(value.into()),
            Marker::FixNeg(value) => Token::Int(value.into()),
            Marker::U8 => Token::Int(u8::from_be_bytes(self.fixed()?).into()),
            Marker::U16 => Token::Int(u16::from_be_bytes(self.fixed()?).into()),
            Marker::U32 => Token::Int(u32::from_be_bytes(self.fixed()?).into()),
            Marker::U64 => unsigned(u64::from_be_bytes(self.fixed()?)),
            Marker::I8 => Token::Int(i8::from_be_bytes(self.fixed()?).into()),
            Marker::I16 => Token::Int(i16::from_be_bytes(self.fixed()?).into()),
            Marker::I32 => Token::Int(i32::from_be_bytes(self.fixed()?).into()),
            Marker::I64 => Token::Int(i64::from_be_bytes(self.fixed()?)),
            Marker::F32 => Token::Float(f32::from_be_bytes(self.fixed()?).into()),
            Marker::F64 => Token::Float(f64::from_be_bytes(self.fixed()?)),
            Marker::FixStr(len) => self.str(len.into())?,
            Marker::Str8 => self.length8().and_then(|len| self.str(len))?,
            Marker::Str16 => self.length16().and_then(|len| self.str(len))?,
            Marker::Str32 => self.length32().and_then(|len| self.str(len))?,
            Marker::Bin8 => self.length8().and_then(|len| self.bin(len))?,
            Marker::Bin16 => self.length16().and_then(|len| self.bin(len))?,
            Marker::Bin32 => self.length32().and_then(|len| self.bin(len))?,
            Marker::FixArray(len) => Token::Array(self.elements(len.into(), 1)?),
            Marker::Array16 => self
                .length16()
                .and_then(|len| self.elements(len, 1))
                .map(Token::Array)?,
            Marker::Array32 => self
                .length32()
                .and_then(|len| self.elements(len, 1))
                .map(Token::Array)?,
            Marker::FixMap(len) => Token::Map(self.elements(len.into(), 2)?),
            Marker::Map16 => self
                .length16()
                .and_then(|len| self.elements(len, 2))
                .map(Token::Map)?,
            Marker::Map32 => self
                .length32()
                .and_then(|len| self.elements(len, 2))
                .map(Token::Map)?,
            Marker::FixExt1 => self.ext(1)?,
            Marker::FixExt2 => self.ext(2)?,
            Marker::FixExt4 => self.ext(4)?,
            Marker::FixExt8 => self.ext(8)?,
            Marker::FixExt16 => self.ext(16)?,
            Marker::Ext8 => self.length8().and_then(|len| self.ext(len))?,
            Marker::Ext16 => self.length16().and_then(|len| self.ext(len))?,
            Marker::Ext32 => self.length32().and_then(|len| self.ext(len))?,
            Marker::Reserved => return Err(DecodeError::ReservedMarker),
        })
    }

    /// A whole value. `depth` is its level: 1 for the outermost.
    pub(crate) fn value(&mut self, depth: usize) -> Result<Value, DecodeError> {
        let token = self.token()?;
        self.value_of(token, depth)
    }

    /// The rest of the value that began with `token`.
    pub(crate) fn value_of(
        &mut self,
        token: Token<'a>,
        depth: usize,
    ) -> Result<Value, DecodeError> {
        Ok(match token {
            Token::Null => Value::Null,
            Token::Bool(value) => Value::Bool(value),
            Token::Int(value) => Value::Int(value),
            Token::Float(value) => Value::Float(value),
            Token::Str(text) => Value::Str(text.into_owned()),
            Token::Bin(bytes) => self.attachment(bytes)?,
            Token::Ext(kind, bytes) => self.ext_value(kind, bytes)?,
            Token::Array(len) if self.prunes && depth > self.max_depth => self.prune(len)?,
            Token::Map(len) if self.prunes && depth > self.max_depth => self.prune(len * 2)?,
            Token::Array(len) => {
                self.check_depth(depth)?;
                let mut items = Vec::with_capacity(len.min(RESERVED));
                for _ in 0..len {
                    items.push(self.value(depth + 1)?);
                }
                Value::Array(items)
            }
            Token::Map(len) => {
                self.check_depth(depth)?;
                let mut pairs = Vec::with_capacity(len.min(RESERVED));
                for _ in 0..len {
                    pairs.push((self.key()?.into_owned(), self.value(depth + 1)?));
                }
                Value::Map(pairs)
            }
        })
    }

    /// Reads over so many values, however deep they are, under the bound of all values: one step for each.
    fn prune(&mut self, mut values: usize) -> Result<Value, DecodeError> {
        while let Some(rest) = values.checked_sub(1) {
            values = rest
                + match self.token()? {
                    Token::Array(len) => len,
                    Token::Map(len) => len * 2,
                    _ => 0,
                };
        }
        Ok(Value::Null)
    }

    /// Reads over a value of no interest, under the same limits.
    pub(crate) fn skip(&mut self, depth: usize) -> Result<(), DecodeError> {
        let values = match self.token()? {
            Token::Array(len) => len,
            Token::Map(len) => len * 2,
            _ => return Ok(()),
        };
        self.check_depth(depth)?;
        (0..values).try_for_each(|_| self.skip(depth + 1))
    }

    /// A map key as JavaScript would see it: scalars become their text.
    pub(crate) fn key(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        match self.token()? {
            Token::Str(text) => Ok(text),
            Token::Int(value) => Ok(Cow::Owned(value.to_string())),
            Token::Float(value) => Ok(Cow::Owned(value.to_string())),
            Token::Bool(value) => Ok(Cow::Borrowed(if value { "true" } else { "false" })),
            Token::Null => Ok(Cow::Borrowed("null")),
            _ => Err(DecodeError::MapKey),
        }
    }

    fn check_depth(&self, depth: usize) -> Result<(), DecodeError> {
        if depth > self.max_depth {
            Err(DecodeError::TooDeep)
        } else {
            Ok(())
        }
    }

    fn attachment(&mut self, bytes: &[u8]) -> Result<Value, DecodeError> {
        self.attachments += 1;
        if self.attachments > self.max_attachments {
            return Err(DecodeError::TooManyAttachments);
        }
        Ok(Value::Bin(Bytes::copy_from_slice(bytes)))
    }

    /// What a JavaScript client would finally see of an extension: dates as ISO strings, unknown ones as `[type, bytes]`.
    fn ext_value(&mut self, kind: i8, bytes: &[u8]) -> Result<Value, DecodeError> {
        if kind == EXT_TIMESTAMP
            && let Some((seconds, nanos)) = timestamp(bytes)
        {
            return Ok(date::iso_string(seconds, nanos).map_or(Value::Null, Value::Str));
        }
        if kind == EXT_LEGACY {
            return match *bytes {
                [_] => Ok(Value::Null),
                [a, b, c, d, e, f, g, h] => {
                    let ms = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
                    let nanos = ms.rem_euclid(1_000) as u32 * 1_000_000;
                    Ok(date::iso_string(ms.div_euclid(1_000), nanos)
                        .map_or(Value::Null, Value::Str))
                }
                _ => self.attachment(bytes),
            };
        }
        Ok(Value::Array(vec![
            Value::Int(kind.into()),
            self.attachment(bytes)?,
        ]))
    }

    fn str(&mut self, len: usize) -> Result<Token<'a>, DecodeError> {
        Ok(Token::Str(String::from_utf8_lossy(self.take(len)?)))
    }

    fn bin(&mut self, len: usize) -> Result<Token<'a>, DecodeError> {
        Ok(Token::Bin(self.take(len)?))
    }

    fn ext(&mut self, len: usize) -> Result<Token<'a>, DecodeError> {
        let kind = i8::from_be_bytes(self.fixed()?);
        Ok(Token::Ext(kind, self.take(len)?))
    }

    /// Checks that a container of `len` elements can be there at all: each of its values takes at least one byte and one of the budget.
    fn elements(&self, len: usize, values_per_element: usize) -> Result<usize, DecodeError> {
        let values = len.saturating_mul(values_per_element);
        if values > self.rest.len() {
            return Err(DecodeError::Truncated);
        }
        if values > self.budget {
            return Err(DecodeError::TooManyValues);
        }
        Ok(len)
    }

    fn length8(&mut self) -> Result<usize, DecodeError> {
        Ok(u8::from_be_bytes(self.fixed()?).into())
    }

    fn length16(&mut self) -> Result<usize, DecodeError> {
        Ok(u16::from_be_bytes(self.fixed()?).into())
    }

    fn length32(&mut self) -> Result<usize, DecodeError> {
        Ok(u32::from_be_bytes(self.fixed()?) as usize)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }
}

fn unsigned(value: u64) -> Token<'static> {
    i64::try_from(value).map_or(Token::Float(value as f64), Token::Int)
}

/// Seconds and nanoseconds of the three timestamp forms of the MessagePack specification.
fn timestamp(bytes: &[u8]) -> Option<(i64, u32)> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some((u32::from_be_bytes(bytes).into(), 0));
    }
    if let Ok(bytes) = <[u8; 8]>::try_from(bytes) {
        let packed = u64::from_be_bytes(bytes);
        return Some(((packed & 0x3_ffff_ffff) as i64, (packed >> 34) as u32));
    }
    let (nanos, seconds) = bytes.split_first_chunk::<4>()?;
    let seconds = <[u8; 8]>::try_from(seconds).ok()?;
    Some((i64::from_be_bytes(seconds), u32::from_be_bytes(*nanos)))
}
