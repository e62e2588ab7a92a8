//! Broadcast to bytes.

use bytes::Bytes;
use unisono_proto::Value;

use super::{EncodeError, channel};
use crate::broadcast::{Broadcast, Extension, Flags};
use crate::limits::MAX_BUS_MESSAGE_BYTES;
use crate::msgpack::Writer;

/// Packet type of an event; 5 (with attachments) never goes on the bus, receivers derive it.
pub(crate) const EVENT: i64 = 2;

/// Room for an envelope and a small event, so that most messages are written without growing the buffer.
const INITIAL_CAPACITY: usize = 256;

/// Encodes a broadcast as the Node.js adapter does, with our extension as fourth element if there is one.
///
/// # Errors
/// See [`EncodeError`].
pub fn encode(uid: &str, nsp: &str, broadcast: &Broadcast) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::with_capacity(INITIAL_CAPACITY);
    envelope(&mut writer, uid, nsp, broadcast, None)?;
    Ok(writer.finish())
}

/// A message whose revision is decided by whoever publishes it: a script that commits a change and tells of it in one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Where to publish.
    pub channel: String,
    /// Its sequence number, by which the echo is recognised.
    pub seq: u64,
    /// The message is these, joined by the revision as four bytes, big endian.
    pub segments: Vec<Bytes>,
}

impl Template {
    /// The message for that revision.
    pub fn fill(&self, revision: u32) -> Bytes {
        let revision = revision.to_be_bytes();
        let segments: Vec<&[u8]> = self.segments.iter().map(|segment| &**segment).collect();
        Bytes::from(segments.join(&revision[..]))
    }
}

/// Encodes a broadcast whose revision is not known yet.
///
/// The last argument must be a map: the revision becomes its last pair, named `revision_key` (a pair of that name it has already is left
/// out), and also the `revision` of the extension.
///
/// # Errors
/// See [`EncodeError`].
pub fn encode_template(
    prefix: &str,
    uid: &str,
    nsp: &str,
    broadcast: &Broadcast,
    revision_key: &str,
) -> Result<Template, EncodeError> {
    let seq = broadcast
        .extension
        .as_ref()
        .ok_or(EncodeError::NoSequence)?
        .seq;
    let mut writer = Writer::with_capacity(INITIAL_CAPACITY);
    envelope(&mut writer, uid, nsp, broadcast, Some(revision_key))?;
    let channel = channel(prefix, nsp, &broadcast.rooms);
    Ok(Template {
        channel,
        seq,
        segments: writer.finish_segments(),
    })
}

/// With a `revision_key`, leaves holes where the revision goes.
fn envelope(
    writer: &mut Writer,
    uid: &str,
    nsp: &str,
    broadcast: &Broadcast,
    revision_key: Option<&str>,
) -> Result<(), EncodeError> {
    check(broadcast)?;
    writer.array(if broadcast.extension.is_some() { 4 } else { 3 });
    writer.str(uid);
    packet(writer, nsp, &broadcast.args, revision_key)?;
    options(writer, broadcast);
    if let Some(extension) = &broadcast.extension {
        self::extension(writer, extension, revision_key.is_some());
    }
    check_size(writer.len())
}

pub(crate) fn check_size(bytes: usize) -> Result<(), EncodeError> {
    if bytes > MAX_BUS_MESSAGE_BYTES {
        return Err(EncodeError::TooLarge { bytes });
    }
    Ok(())
}

/// Whether it may be published at all.
pub(crate) fn check(broadcast: &Broadcast) -> Result<(), EncodeError> {
    if !matches!(
        broadcast.args.first(),
        Some(Value::Str(_) | Value::Int(_) | Value::Float(_))
    ) {
        return Err(EncodeError::NoEvent);
    }
    if broadcast.flags.local {
        return Err(EncodeError::Local);
    }
    Ok(())
}

/// `{"type": 2, "data": […], "nsp": N}`.
pub(super) fn packet(
    writer: &mut Writer,
    nsp: &str,
    args: &[Value],
    revision_key: Option<&str>,
) -> Result<(), EncodeError> {
    writer.map(3);
    writer.str("type");
    writer.int(EVENT);
    writer.str("data");
    data(writer, args, revision_key)?;
    writer.str("nsp");
    writer.str(nsp);
    Ok(())
}

/// `{"rooms": […], "except": […], "flags": {…}}`.
pub(crate) fn options(writer: &mut Writer, broadcast: &Broadcast) {
    writer.map(3);
    names(writer, "rooms", &broadcast.rooms);
    names(writer, "except", &broadcast.except);
    flags(writer, &broadcast.flags);
}

pub(crate) fn data(
    writer: &mut Writer,
    args: &[Value],
    revision_key: Option<&str>,
) -> Result<(), EncodeError> {
    // The list itself is level 1, as the array of an event is for a client.
    const ARGUMENT_DEPTH: usize = 2;
    writer.array(args.len());
    let Some(revision_key) = revision_key else {
        return args
            .iter()
            .try_for_each(|arg| writer.value(arg, ARGUMENT_DEPTH));
    };
    let Some((Value::Map(pairs), before)) = args.split_last() else {
        return Err(EncodeError::NoMap);
    };
    before
        .iter()
        .try_for_each(|arg| writer.value(arg, ARGUMENT_DEPTH))?;
    let kept = || pairs.iter().filter(|(key, _)| key != revision_key);
    writer.map(kept().count() + 1);
    kept().try_for_each(|pair| writer.pair(pair, ARGUMENT_DEPTH + 1))?;
    writer.str(revision_key);
    writer.uint32_hole();
    Ok(())
}

fn names(writer: &mut Writer, key: &str, names: &[String]) {
    writer.str(key);
    writer.array(names.len());
    names.iter().for_each(|name| writer.str(name));
}

/// Only what is set is written: some receivers take presence for truth.
pub(crate) fn flags(writer: &mut Writer, flags: &Flags) {
    let bools = [
        ("volatile", flags.volatile.then_some(true)),
        ("compress", flags.compress),
        (
            "expectSingleResponse",
            flags.expect_single_response.then_some(true),
        ),
    ];
    let present = bools.iter().filter(|(_, value)| value.is_some()).count();
    writer.str("flags");
    writer.map(present + usize::from(flags.timeout_ms.is_some()));
    for (key, value) in bools {
        if let Some(value) = value {
            writer.str(key);
            writer.bool(value);
        }
    }
    if let Some(timeout_ms) = flags.timeout_ms {
        writer.str("timeout");
        writer.int(i64::try_from(timeout_ms).unwrap_or(i64::MAX));
    }
}

pub(crate) fn extension(writer: &mut Writer, extension: &Extension, revision_later: bool) {
    let revision = revision_later || extension.revision.is_some();
    writer.map(
        1 + usize::from(extension.ordered)
            + usize::from(revision)
            + usize::from(extension.note.is_some()),
    );
    if extension.ordered {
        writer.str("o");
        writer.bool(true);
    }
    if revision_later {
        writer.str("r");
        writer.uint32_hole();
    } else if let Some(revision) = extension.revision {
        writer.str("r");
        writer.uint32(revision);
    }
    if let Some(note) = &extension.note {
        writer.str("n");
        writer.bin(note);
    }
    // Last and of fixed size, for `peek_seq`.
    writer.raw(&super::decode::SEQ_MARK);
    writer.raw(&extension.seq.to_be_bytes());
}
