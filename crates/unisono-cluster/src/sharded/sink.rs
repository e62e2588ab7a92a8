//! Where a message is written: JSON or MessagePack, in one set of words.

use bytes::Bytes;
use unisono_proto::Value;
use unisono_proto::limits::MAX_JSON_DEPTH;

use crate::broadcast::{Extension, Flags};
use crate::classic::EncodeError;
use crate::classic::body::JsonWriter;
use crate::classic::encode::{self, check_size};
use crate::msgpack::Writer;

pub(super) enum Sink {
    Json(JsonWriter),
    Msgpack(Writer),
}

/// More values than a message has around those that are counted one by one.
const ENVELOPE_VALUES: usize = 32;

/// The level of an argument: the list itself is level 1, as the array of an event is for a client.
const ARGUMENT_DEPTH: usize = 2;

impl Sink {
    /// For what clients get: not more byte strings than they take.
    pub(super) fn for_clients(binary: bool) -> Self {
        Self::new(binary, |writer| writer)
    }

    /// For what stays among the nodes.
    pub(super) fn for_nodes(binary: bool) -> Self {
        Self::new(binary, Writer::for_nodes)
    }

    fn new(binary: bool, msgpack: impl FnOnce(Writer) -> Writer) -> Self {
        const INITIAL_CAPACITY: usize = 256;
        match binary {
            true => Self::Msgpack(msgpack(Writer::with_capacity(INITIAL_CAPACITY))),
            false => Self::Json(JsonWriter {
                values: ENVELOPE_VALUES,
                ..JsonWriter::default()
            }),
        }
    }

    /// Opens a map of so many pairs.
    pub(super) fn map(&mut self, len: usize) {
        match self {
            Self::Json(json) => json.out.push('{'),
            Self::Msgpack(writer) => writer.map(len),
        }
    }

    pub(super) fn end(&mut self) {
        if let Self::Json(json) = self {
            json.out.push('}');
        }
    }

    /// A key of ours: nothing in it has to be escaped.
    pub(super) fn key(&mut self, key: &str) {
        match self {
            Self::Json(json) => {
                if !json.out.ends_with('{') {
                    json.out.push(',');
                }
                json.out.push('"');
                json.out.push_str(key);
                json.out.push_str("\":");
            }
            Self::Msgpack(writer) => writer.str(key),
        }
    }

    pub(super) fn str(&mut self, key: &str, text: &str) -> Result<(), EncodeError> {
        self.key(key);
        match self {
            Self::Json(json) => json.value(&Value::Str(text.to_owned()), 0),
            Self::Msgpack(writer) => {
                writer.str(text);
                Ok(())
            }
        }
    }

    pub(super) fn int(&mut self, key: &str, number: i64) {
        self.key(key);
        match self {
            Self::Json(json) => json.out.push_str(&number.to_string()),
            Self::Msgpack(writer) => writer.int(number),
        }
    }

    pub(super) fn bool(&mut self, key: &str, value: bool) {
        self.key(key);
        match self {
            Self::Json(json) => json.out.push_str(if value { "true" } else { "false" }),
            Self::Msgpack(writer) => writer.bool(value),
        }
    }

    /// A value that may be nested as deep as an argument.
    pub(super) fn value(&mut self, key: &str, value: &Value) -> Result<(), EncodeError> {
        self.key(key);
        match self {
            Self::Json(json) => json.value(value, MAX_JSON_DEPTH),
            Self::Msgpack(writer) => writer.value(value, 1),
        }
    }

    pub(super) fn names(&mut self, key: &str, names: &[String]) -> Result<(), EncodeError> {
        self.key(key);
        self.list(names, |sink, name| match sink {
            Self::Json(json) => json.value(&Value::Str(name.clone()), 0),
            Self::Msgpack(writer) => {
                writer.str(name);
                Ok(())
            }
        })
    }

    /// The arguments of an event, with a hole for its revision in the last one where a key for it is given (MessagePack only).
    pub(super) fn args(
        &mut self,
        key: &str,
        args: &[Value],
        revision_key: Option<&str>,
    ) -> Result<(), EncodeError> {
        self.key(key);
        if let Self::Msgpack(writer) = self {
            return encode::data(writer, args, revision_key);
        }
        self.list(args, |sink, arg| match sink {
            Self::Json(json) => json.value(arg, MAX_JSON_DEPTH - 1),
            Self::Msgpack(writer) => writer.value(arg, ARGUMENT_DEPTH),
        })
    }

    fn list<T>(
        &mut self,
        items: &[T],
        write: impl Fn(&mut Self, &T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        match self {
            Self::Json(json) => {
                json.count(1)?;
                json.out.push('[');
            }
            Self::Msgpack(writer) => writer.array(items.len()),
        }
        for (index, item) in items.iter().enumerate() {
            if let Self::Json(json) = self
                && index > 0
            {
                json.out.push(',');
            }
            write(self, item)?;
        }
        if let Self::Json(json) = self {
            json.out.push(']');
        }
        Ok(())
    }

    /// Only what is set is written: some receivers take presence for truth.
    pub(super) fn flags(&mut self, flags: &Flags) {
        if let Self::Msgpack(writer) = self {
            return encode::flags(writer, flags);
        }
        self.key("flags");
        self.map(0);
        if flags.volatile {
            self.bool("volatile", true);
        }
        if let Some(compress) = flags.compress {
            self.bool("compress", compress);
        }
        if flags.expect_single_response {
            self.bool("expectSingleResponse", true);
        }
        if let Some(timeout_ms) = flags.timeout_ms {
            self.int("timeout", i64::try_from(timeout_ms).unwrap_or(i64::MAX));
        }
        self.end();
    }

    /// Our own part, its sequence number last, where [`seq_of`](super::seq_of) finds it; a note is bytes and needs MessagePack.
    pub(super) fn extension(&mut self, key: &str, extension: &Extension, revision_later: bool) {
        self.key(key);
        if let Self::Msgpack(writer) = self {
            return encode::extension(writer, extension, revision_later);
        }
        self.map(0);
        if extension.ordered {
            self.bool("o", true);
        }
        if let Some(revision) = extension.revision {
            self.int("r", revision.into());
        }
        let seq = i64::try_from(extension.seq).unwrap_or(i64::MAX);
        self.int("s", seq);
        self.end();
    }

    pub(super) fn finish(self) -> Result<Bytes, EncodeError> {
        match self {
            Self::Json(json) => {
                check_size(json.out.len())?;
                Ok(Bytes::from(json.out))
            }
            Self::Msgpack(writer) => {
                check_size(writer.len())?;
                Ok(writer.finish())
            }
        }
    }

    /// The parts before, between and behind the holes.
    pub(super) fn finish_segments(self) -> Result<Vec<Bytes>, EncodeError> {
        match self {
            Self::Json(_) => self.finish().map(|whole| vec![whole]),
            Self::Msgpack(writer) => {
                check_size(writer.len())?;
                Ok(writer.finish_segments())
            }
        }
    }
}
