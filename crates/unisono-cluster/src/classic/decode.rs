//! Bytes to broadcast.

use bytes::Bytes;
use unisono_proto::Value;

use super::DecodeError;
use crate::broadcast::{Broadcast, Extension, Flags};
use crate::limits::MAX_BUS_MESSAGE_BYTES;
use crate::msgpack::{Reader, Token};

/// Key `s` and the marker of an unsigned 64-bit integer: what stands before the sequence number at the end of our messages.
pub(super) const SEQ_MARK: [u8; 3] = [0xa1, b's', 0xcf];

/// First byte of an array of four: a message with an extension.
const ARRAY_OF_FOUR: u8 = 0x94;

/// A decoded message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Who published it, one per namespace and process; empty when it was no string.
    pub uid: String,
    /// Its namespace, `/` when it named none.
    pub nsp: String,
    /// What it says.
    pub broadcast: Broadcast,
}

/// Decodes a broadcast of the classic adapter.
///
/// Lenient where Node.js is (key order, unknown keys, nil or missing options, numbers as room names, lossy strings), strict where Node.js
/// breaks. Dates become ISO strings, as a client would see them.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
    if bytes.len() > MAX_BUS_MESSAGE_BYTES {
        return Err(DecodeError::TooLarge);
    }
    let mut reader = Reader::new(bytes);
    let Token::Array(len @ 3..) = reader.token()? else {
        return Err(DecodeError::Envelope);
    };
    let uid = uid(&mut reader)?;
    let (args, nsp) = packet(&mut reader)?;
    let mut broadcast = Broadcast {
        args,
        ..Broadcast::default()
    };
    options(&mut reader, &mut broadcast)?;
    if len > 3 {
        broadcast.extension = extension(&mut reader)?;
    }
    (4..len).try_for_each(|_| reader.skip(1))?;
    if !reader.is_at_end() {
        return Err(DecodeError::TrailingBytes);
    }
    Ok(Message {
        uid,
        nsp,
        broadcast,
    })
}

/// The uid, if the message begins as ours and Node's do, without looking further.
pub(crate) fn peek_uid(bytes: &[u8]) -> Option<&str> {
    let (&[envelope, head], rest) = bytes.split_first_chunk()?;
    let (0x93..=ARRAY_OF_FOUR, 0xa0..=0xbf) = (envelope, head) else {
        return None;
    };
    std::str::from_utf8(rest.get(..usize::from(head - 0xa0))?).ok()
}

/// The sequence number, if the message is one of a unisono node.
pub(crate) fn peek_seq(bytes: &[u8]) -> Option<u64> {
    let (rest, seq) = bytes.split_last_chunk::<8>()?;
    (rest.first() == Some(&ARRAY_OF_FOUR) && rest.ends_with(&SEQ_MARK))
        .then(|| u64::from_be_bytes(*seq))
}

fn uid(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    match reader.token()? {
        Token::Str(uid) => Ok(uid.into_owned()),
        other => reader.value_of(other, 1).map(|_| String::new()),
    }
}

fn packet(reader: &mut Reader<'_>) -> Result<(Vec<Value>, String), DecodeError> {
    let Token::Map(len) = reader.token()? else {
        return Err(DecodeError::Packet);
    };
    let (mut args, mut nsp, mut is_event) = (None, None, false);
    for _ in 0..len {
        match &*reader.key()? {
            "type" => is_event = matches!(number(reader)?, Some(2.0)),
            "data" => args = data(reader)?,
            "nsp" => match reader.token()? {
                Token::Str(name) => nsp = Some(name.into_owned()),
                _ => return Err(DecodeError::Namespace),
            },
            _ => reader.skip(1)?,
        }
    }
    if !is_event {
        return Err(DecodeError::PacketType);
    }
    Ok((
        args.ok_or(DecodeError::Data)?,
        nsp.unwrap_or_else(|| "/".to_owned()),
    ))
}

fn data(reader: &mut Reader<'_>) -> Result<Option<Vec<Value>>, DecodeError> {
    let Value::Array(args) = reader.value(1)? else {
        return Ok(None);
    };
    let named = matches!(
        args.first(),
        Some(Value::Str(_) | Value::Int(_) | Value::Float(_))
    );
    Ok(named.then_some(args))
}

fn options(reader: &mut Reader<'_>, broadcast: &mut Broadcast) -> Result<(), DecodeError> {
    let Token::Map(len) = reader.token()? else {
        return Err(DecodeError::Options);
    };
    for _ in 0..len {
        match &*reader.key()? {
            "rooms" => broadcast.rooms = names(reader)?,
            "except" => broadcast.except = names(reader)?,
            "flags" => broadcast.flags = flags(reader)?,
            _ => reader.skip(1)?,
        }
    }
    Ok(())
}

/// Names of rooms; JavaScript may have numbers among them, which match by their decimal text here.
fn names(reader: &mut Reader<'_>) -> Result<Vec<String>, DecodeError> {
    let len = match reader.token()? {
        Token::Null => return Ok(Vec::new()),
        // JavaScript makes an empty set of it, and emitters in other languages write it.
        Token::Str(text) if text.is_empty() => return Ok(Vec::new()),
        Token::Array(len) => len,
        _ => return Err(DecodeError::Rooms),
    };
    let mut names = Vec::with_capacity(len);
    for _ in 0..len {
        names.push(match reader.token()? {
            Token::Str(name) => name.into_owned(),
            Token::Int(number) => number.to_string(),
            Token::Float(number) => number.to_string(),
            _ => return Err(DecodeError::Rooms),
        });
    }
    Ok(names)
}

fn flags(reader: &mut Reader<'_>) -> Result<Flags, DecodeError> {
    let mut flags = Flags::default();
    let token = reader.token()?;
    let Token::Map(len) = token else {
        // Anything else has no flags that JavaScript would find.
        reader.value_of(token, 1)?;
        return Ok(flags);
    };
    for _ in 0..len {
        match &*reader.key()? {
            "volatile" => flags.volatile = truth(reader)?.unwrap_or(false),
            "compress" => flags.compress = truth(reader)?,
            "expectSingleResponse" => {
                flags.expect_single_response = truth(reader)?.unwrap_or(false);
            }
            "local" => flags.local = truth(reader)?.unwrap_or(false),
            // A cast saturates: negative and NaN become 0.
            "timeout" => flags.timeout_ms = number(reader)?.map(|ms| ms as u64),
            _ => reader.skip(1)?,
        }
    }
    Ok(flags)
}

/// The fourth element; `None` when it is not ours.
fn extension(reader: &mut Reader<'_>) -> Result<Option<Extension>, DecodeError> {
    let token = reader.token()?;
    let Token::Map(len) = token else {
        reader.value_of(token, 1)?;
        return Ok(None);
    };
    let (mut extension, mut seq) = (Extension::default(), None);
    for _ in 0..len {
        match &*reader.key()? {
            "s" => seq = unsigned(reader)?,
            "o" => extension.ordered = truth(reader)?.unwrap_or(false),
            "r" => {
                extension.revision =
                    unsigned(reader)?.and_then(|revision| u32::try_from(revision).ok());
            }
            "n" => match reader.token()? {
                Token::Bin(note) => extension.note = Some(Bytes::copy_from_slice(note)),
                other => drop(reader.value_of(other, 1)?),
            },
            _ => reader.skip(1)?,
        }
    }
    Ok(seq.map(|seq| Extension { seq, ..extension }))
}

fn truth(reader: &mut Reader<'_>) -> Result<Option<bool>, DecodeError> {
    Ok(match reader.token()? {
        Token::Bool(value) => Some(value),
        other => {
            reader.value_of(other, 1)?;
            None
        }
    })
}

fn number(reader: &mut Reader<'_>) -> Result<Option<f64>, DecodeError> {
    Ok(match reader.token()? {
        Token::Int(number) => Some(number as f64),
        Token::Float(number) => Some(number),
        other => {
            reader.value_of(other, 1)?;
            None
        }
    })
}

fn unsigned(reader: &mut Reader<'_>) -> Result<Option<u64>, DecodeError> {
    Ok(match reader.token()? {
        Token::Int(number) => u64::try_from(number).ok(),
        other => {
            reader.value_of(other, 1)?;
            None
        }
    })
}
