//! Packets to messages.

use bytes::Bytes;

use super::{BadName, Packet, check_name};
use crate::Value;
use crate::engine::Sid;
use crate::limits::{MAX_ATTACHMENTS, MAX_JSON_DEPTH};
use crate::value::{WriteError, Writer, push_integer};

/// A packet as it travels: one text message, then each attachment as a binary message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The text, without the Engine.IO type.
    pub text: String,
    /// The attachments, in order.
    pub attachments: Vec<Bytes>,
}

/// Why a packet cannot be sent. The caller's data is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// More byte strings than [`MAX_ATTACHMENTS`], at which stock clients disconnect.
    #[error("more than {MAX_ATTACHMENTS} byte strings in one packet; join some of them")]
    TooManyAttachments,
    /// A byte string in a connect or connect error packet, which have no binary form.
    #[error("connect packets cannot hold byte strings")]
    Binary,
    /// A namespace that does not begin with `/` or holds a comma, so that receivers would read another one.
    #[error("a namespace begins with `/` and has no comma")]
    Namespace,
    /// An event whose first argument, its name, is not a text or a finite number: stock clients disconnect.
    #[error("the first argument of an event is its name: a text or a number")]
    Name,
    /// An event with one of [`RESERVED_EVENTS`](super::RESERVED_EVENTS) as its name: stock clients disconnect.
    #[error("this event name is reserved by Socket.IO; choose another")]
    ReservedName,
    /// The data cannot be written.
    #[error(transparent)]
    Value(#[from] WriteError),
}

/// Encodes any packet.
///
/// # Errors
/// See [`EncodeError`].
pub fn encode(packet: &Packet) -> Result<Encoded, EncodeError> {
    match packet {
        Packet::Connect { nsp, data } => plain('0', nsp, data.as_ref()),
        Packet::Disconnect { nsp } => plain('1', nsp, None),
        Packet::Event { nsp, id, args } => encode_event(nsp, *id, args),
        Packet::Ack { nsp, id, args } => encode_ack(nsp, *id, args),
        Packet::ConnectError { nsp, data } => {
            plain('4', nsp, Some(data).filter(|data| !data.is_null()))
        }
    }
}

/// Encodes the answer that lets a client into a namespace; `sid` is its id there, which clients of Engine.IO 3 are not told.
///
/// # Errors
/// [`EncodeError::Namespace`].
pub fn encode_connected(nsp: &str, sid: Option<Sid>) -> Result<Encoded, EncodeError> {
    let mut text = head('0', nsp)?;
    if let Some(sid) = sid {
        // None of its characters needs an escape.
        text.extend(["{\"sid\":\"", sid.as_str(), "\"}"]);
    }
    Ok(Encoded {
        text,
        attachments: Vec::new(),
    })
}

/// Encodes an event; `args` begins with its name.
///
/// # Errors
/// See [`EncodeError`].
pub fn encode_event(nsp: &str, id: Option<u64>, args: &[Value]) -> Result<Encoded, EncodeError> {
    match check_name(args) {
        Ok(()) => with_args(['2', '5'], nsp, id, args),
        Err(BadName::Kind) => Err(EncodeError::Name),
        Err(BadName::Reserved) => Err(EncodeError::ReservedName),
    }
}

/// Encodes the answer to the event with this id.
///
/// # Errors
/// See [`EncodeError`].
pub fn encode_ack(nsp: &str, id: u64, args: &[Value]) -> Result<Encoded, EncodeError> {
    with_args(['3', '6'], nsp, Some(id), args)
}

/// Room for the text of an ordinary event, so that it is not reallocated while it grows.
const ORDINARY_TEXT: usize = 128;

fn with_args(
    types: [char; 2],
    nsp: &str,
    id: Option<u64>,
    args: &[Value],
) -> Result<Encoded, EncodeError> {
    let [text_type, binary_type] = types;
    let mut text = head(text_type, nsp)?;
    if let Some(id) = id {
        push_integer(i64::try_from(id).unwrap_or(i64::MAX), &mut text);
    }
    let mut attachments = Vec::new();
    let mut writer = Writer::new(&mut text, &mut attachments);
    writer.array(args, MAX_JSON_DEPTH)?;
    writer.finish()?;
    if attachments.len() > MAX_ATTACHMENTS {
        return Err(EncodeError::TooManyAttachments);
    }
    if !attachments.is_empty() {
        text.replace_range(..1, &format!("{binary_type}{}-", attachments.len()));
    }
    Ok(Encoded { text, attachments })
}

fn plain(kind: char, nsp: &str, data: Option<&Value>) -> Result<Encoded, EncodeError> {
    let mut text = head(kind, nsp)?;
    let mut attachments = Vec::new();
    if let Some(data) = data {
        Writer::new(&mut text, &mut attachments).value(data, MAX_JSON_DEPTH)?;
    }
    if !attachments.is_empty() {
        return Err(EncodeError::Binary);
    }
    Ok(Encoded { text, attachments })
}

fn head(kind: char, nsp: &str) -> Result<String, EncodeError> {
    if !nsp.starts_with('/') || nsp.contains(',') {
        return Err(EncodeError::Namespace);
    }
    let mut text = String::with_capacity(ORDINARY_TEXT);
    text.push(kind);
    if nsp != "/" {
        text.push_str(nsp);
        text.push(',');
    }
    Ok(text)
}
