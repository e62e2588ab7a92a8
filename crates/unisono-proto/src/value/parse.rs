//! JSON text as a value. As strict as `JSON.parse`, with bounds: nesting and number of values are limited, and
//! lone surrogates (which JavaScript may send as `\ud83d`) become U+FFFD instead of an error.

use bytes::Bytes;

use super::{Value, without_duplicates};
use crate::limits::{MAX_JSON_DEPTH, MAX_JSON_VALUES};

/// Why a text is not taken as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON; the byte offset of the first byte that does not fit.
    #[error("not JSON from byte {at} on")]
    Syntax {
        /// Offset into the text, its length where the text is too short.
        at: usize,
    },
    /// Nested deeper than [`MAX_JSON_DEPTH`].
    #[error("nested deeper than {MAX_JSON_DEPTH} levels")]
    TooDeep,
    /// More than [`MAX_JSON_VALUES`] values.
    #[error("more than {MAX_JSON_VALUES} values")]
    TooManyValues,
    /// A placeholder whose number is missing, not an index of an attachment, or was used before.
    #[error("a placeholder that fits no attachment")]
    Placeholder,
}

/// Reads `text` as one JSON value. If there are attachments, each `{"_placeholder":true,"num":i}` becomes the
/// `i`th; without any, such a map is an ordinary map.
///
/// # Errors
/// See [`JsonError`].
pub fn from_json(text: &str, attachments: &[Bytes]) -> Result<Value, JsonError> {
    let mut parsed = parse_with_placeholders(text, attachments.len())?;
    fill_placeholders(&mut parsed.0, attachments);
    Ok(parsed.0)
}

/// The same without placeholders, for text whose own levels stand around what may be nested: at most `depth` levels, which costs the stack
/// as many calls.
///
/// # Errors
/// See [`JsonError`].
pub fn from_json_within(text: &str, depth: usize) -> Result<Value, JsonError> {
    Ok(parse(text, 0, depth)?.0)
}

/// A value whose byte strings are, until [`fill_placeholders`], the little-endian indices of their attachments.
#[derive(Debug)]
pub(crate) struct Parsed(pub(crate) Value);

/// Reads `text`, checking placeholders against `attachments`, the number of attachments that will follow.
pub(crate) fn parse_with_placeholders(text: &str, attachments: usize) -> Result<Parsed, JsonError> {
    parse(text, attachments, MAX_JSON_DEPTH)
}

fn parse(text: &str, attachments: usize, depth: usize) -> Result<Parsed, JsonError> {
    let mut parser = Parser {
        text,
        bytes: text.as_bytes(),
        at: 0,
        values: 0,
        used: vec![false; attachments],
    };
    let value = parser.value(depth)?;
    parser.space();
    if parser.at < parser.bytes.len() {
        return Err(parser.syntax());
    }
    Ok(Parsed(value))
}

/// Puts the attachments where their indices stand.
pub(crate) fn fill_placeholders(value: &mut Value, attachments: &[Bytes]) {
    match value {
        Value::Bin(bytes) => {
            let index = <[u8; size_of::<usize>()]>::try_from(&bytes[..]);
            let index = index.ok().map(usize::from_le_bytes);
            if let Some(attachment) = index.and_then(|index| attachments.get(index)) {
                *bytes = attachment.clone();
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| fill_placeholders(item, attachments)),
        Value::Map(pairs) => pairs
            .iter_mut()
            .for_each(|(_, value)| fill_placeholders(value, attachments)),
        _ => {}
    }
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    /// Offset of the next byte.
    at: usize,
    /// Values begun so far.
    values: usize,
    /// Which attachments a placeholder has named; empty in a packet without attachments.
    used: Vec<bool>,
}

impl Parser<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.values += 1;
        if self.values > MAX_JSON_VALUES {
            return Err(JsonError::TooManyValues);
        }
        self.space();
        match self.bytes.get(self.at) {
            Some(b'"') => self.string().map(Value::Str),
            Some(b'{') => self.map(depth.checked_sub(1).ok_or(JsonError::TooDeep)?),
            Some(b'[') => self.array(depth.checked_sub(1).ok_or(JsonError::TooDeep)?),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => Err(self.syntax()),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        if self.next_is(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.next_is(b']') {
                return Ok(Value::Array(items));
            }
            self.expect(b',')?;
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut pairs = Vec::new();
        if self.next_is(b'}') {
            return Ok(Value::Map(pairs));
        }
        loop {
            self.space();
            if self.bytes.get(self.at) != Some(&b'"') {
                return Err(self.syntax());
            }
            let key = self.string()?;
            self.expect(b':')?;
            pairs.push((key, self.value(depth)?));
            if self.next_is(b'}') {
                return self.placeholder(Value::Map(without_duplicates(pairs)));
            }
            self.expect(b',')?;
        }
    }

    /// The map itself, or the mark of an attachment if it is a placeholder in a packet that has attachments.
    fn placeholder(&mut self, map: Value) -> Result<Value, JsonError> {
        if self.used.is_empty() || map.get("_placeholder") != Some(&Value::Bool(true)) {
            return Ok(map);
        }
        let index = map
            .get("num")
            .and_then(Value::as_i64)
            .and_then(|num| usize::try_from(num).ok());
        let index = index.ok_or(JsonError::Placeholder)?;
        match self.used.get_mut(index) {
            Some(used) if !*used => *used = true,
            _ => return Err(JsonError::Placeholder),
        }
        Ok(Value::Bin(Bytes::copy_from_slice(&index.to_le_bytes())))
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, JsonError> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.syntax());
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        self.at += usize::from(self.bytes[self.at] == b'-');
        let leading_zero = self.bytes.get(self.at) == Some(&b'0');
        let digits = self.digits()?;
        if leading_zero && digits > 1 {
            self.at -= digits - 1;
            return Err(self.syntax());
        }
        let mut integer = true;
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
            integer = false;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
            integer = false;
        }
        let text = &self.text[start..self.at];
        if integer && let Ok(number) = text.parse() {
            return Ok(Value::Int(number));
        }
        text.parse()
            .map(Value::Float)
            .map_err(|_| JsonError::Syntax { at: start })
    }

    /// Skips one or more digits and counts them.
    fn digits(&mut self) -> Result<usize, JsonError> {
        let count = self.bytes[self.at..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        self.at += count;
        if count == 0 {
            Err(self.syntax())
        } else {
            Ok(count)
        }
    }

    /// A string, from its opening quote to behind its closing one.
    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let start = self.at;
        self.plain();
        if self.bytes.get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(self.text[start..self.at - 1].to_owned());
        }
        let mut out = self.text[start..self.at].to_owned();
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                _ => return Err(self.syntax()),
            }
            let start = self.at;
            self.plain();
            out.push_str(&self.text[start..self.at]);
        }
    }

    /// Skips the bytes that stand for themselves in a string.
    fn plain(&mut self) {
        let stops = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(stops).unwrap_or(rest.len());
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let char = match self.bytes.get(self.at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.syntax()),
        };
        self.at += 2;
        Ok(char)
    }

    /// `\uXXXX`, or two of them that form a pair; a lone half of a pair becomes U+FFFD.
    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let unit = self.unit(self.at).ok_or_else(|| self.syntax())?;
        self.at += 6;
        if let 0xd800..0xdc00 = unit
            && let Some(low @ 0xdc00..0xe000) = self.unit(self.at)
        {
            self.at += 6;
            let pair = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            return Ok(char::from_u32(pair).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// The code unit of the `\uXXXX` that begins at `at`, if one does.
    fn unit(&self, at: usize) -> Option<u32> {
        let hex = self.bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        hex.iter().try_fold(0, |unit, byte| {
            Some(unit << 4 | char::from(*byte).to_digit(16)?)
        })
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// Skips white space and, if it comes next, `byte`.
    fn next_is(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.next_is(byte) {
            Ok(())
        } else {
            Err(self.syntax())
        }
    }

    fn syntax(&self) -> JsonError {
        JsonError::Syntax { at: self.at }
    }
}
