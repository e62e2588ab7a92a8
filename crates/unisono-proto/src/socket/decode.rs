//! Messages to packets. Everything that stock servers close a connection for is an error here too.

use bytes::Bytes;

use super::{BadName, Packet, check_name};
use crate::Value;
use crate::limits::{Limits, MAX_ACK_ID, MAX_CONNECT_LEN};
use crate::value::{JsonError, fill_placeholders, parse_with_placeholders};

/// Why a message is not a packet. The connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// An empty message: not even a type.
    #[error("an empty packet")]
    Empty,
    /// The first character is not a packet type.
    #[error("an unknown packet type")]
    UnknownType,
    /// The number of attachments of a binary packet is missing, zero or not digits followed by `-`.
    #[error("an illegal number of attachments")]
    Attachments,
    /// More attachments than the limit.
    #[error("too many attachments")]
    TooManyAttachments,
    /// A namespace longer than the limit.
    #[error("a namespace that is too long")]
    NamespaceTooLong,
    /// A CONNECT longer than [`MAX_CONNECT_LEN`].
    #[error("credentials of more than {MAX_CONNECT_LEN} bytes")]
    ConnectTooLong,
    /// An ack id above [`MAX_ACK_ID`].
    #[error("an ack id beyond 2^53")]
    AckId,
    /// The payload is not JSON, or breaks a bound.
    #[error("a payload that cannot be read: {0}")]
    Json(#[from] JsonError),
    /// The payload does not fit the type: an event needs an array that begins with a text or number.
    #[error("a payload that does not fit the packet type")]
    Payload,
    /// An event with one of [`RESERVED_EVENTS`](super::RESERVED_EVENTS) as its name.
    #[error("a reserved event name")]
    ReservedEvent,
    /// A text while attachments were expected.
    #[error("a text where an attachment was expected")]
    UnexpectedText,
    /// A binary message while none was expected.
    #[error("a binary message that no packet announced")]
    UnexpectedBinary,
}

/// Takes the messages of one connection, gives its packets. It holds memory only while attachments are awaited.
///
/// After an error the connection is to be closed; a decoder that is used further has dropped what it held.
#[derive(Debug, Default)]
pub struct Decoder {
    limits: Limits,
    pending: Option<Box<Pending>>,
}

/// A binary packet whose attachments are arriving.
#[derive(Debug)]
struct Pending {
    /// `None` for an ack without an id, which nobody waits for; its attachments are not kept.
    packet: Option<Packet>,
    missing: usize,
    attachments: Vec<Bytes>,
    bytes: usize,
}

impl Decoder {
    /// A decoder with these limits.
    pub fn new(limits: Limits) -> Decoder {
        Decoder {
            limits,
            pending: None,
        }
    }

    /// Bytes held while attachments are awaited: of the packet's text and of the attachments so far.
    pub fn pending_bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.bytes)
    }

    /// The namespace of the packet whose attachments are awaited.
    pub(crate) fn pending_nsp(&self) -> Option<&str> {
        let packet = self.pending.as_ref()?.packet.as_ref()?;
        Some(packet.nsp())
    }

    /// Takes a text message. `None`: attachments must follow, or the packet means nothing (an ack without an id).
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn text(&mut self, text: &str) -> Result<Option<Packet>, DecodeError> {
        if self.pending.take().is_some() {
            return Err(DecodeError::UnexpectedText);
        }
        let head = Head::parse(text, self.limits)?;
        let expected = head.attachments;
        let packet = head.packet()?;
        if expected == 0 {
            return Ok(packet);
        }
        let attachments = Vec::with_capacity(expected);
        self.pending = Some(Box::new(Pending {
            packet,
            missing: expected,
            attachments,
            bytes: text.len(),
        }));
        Ok(None)
    }

    /// Takes a binary message: the next attachment. Gives the packet with the last one.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedBinary`].
    pub fn binary(&mut self, data: Bytes) -> Result<Option<Packet>, DecodeError> {
        let mut pending = self.pending.take().ok_or(DecodeError::UnexpectedBinary)?;
        pending.missing -= 1;
        if pending.packet.is_some() {
            pending.bytes += data.len();
            pending.attachments.push(data);
        }
        if pending.missing > 0 {
            self.pending = Some(pending);
            return Ok(None);
        }
        let mut packet = pending.packet;
        if let Some(Packet::Event { args, .. } | Packet::Ack { args, .. }) = &mut packet {
            args.iter_mut()
                .for_each(|arg| fill_placeholders(arg, &pending.attachments));
        }
        Ok(packet)
    }
}

/// A packet's text, taken apart but for its JSON.
struct Head<'a> {
    kind: u8,
    attachments: usize,
    nsp: &'a str,
    id: Option<u64>,
    json: Option<&'a str>,
}

impl<'a> Head<'a> {
    fn parse(text: &'a str, limits: Limits) -> Result<Head<'a>, DecodeError> {
        let kind = *text.as_bytes().first().ok_or(DecodeError::Empty)?;
        if !kind.is_ascii_digit() || kind > b'6' {
            return Err(DecodeError::UnknownType);
        }
        if kind == b'0' && text.len() > MAX_CONNECT_LEN {
            return Err(DecodeError::ConnectTooLong);
        }
        let rest = &text[1..];
        let (attachments, rest) = match kind {
            b'5' | b'6' => attachments(rest, limits)?,
            _ => (0, rest),
        };
        let (nsp, rest) = match rest.starts_with('/') {
            true => rest.split_once(',').unwrap_or((rest, "")),
            false => ("/", rest),
        };
        if nsp.len() > usize::from(limits.max_namespace_len) {
            return Err(DecodeError::NamespaceTooLong);
        }
        let (digits, rest) = split_digits(rest);
        let id = match digits {
            "" => None,
            digits => Some(
                digits
                    .parse()
                    .ok()
                    .filter(|id| *id <= MAX_ACK_ID)
                    .ok_or(DecodeError::AckId)?,
            ),
        };
        Ok(Head {
            kind,
            attachments,
            nsp,
            id,
            json: Some(rest).filter(|json| !json.is_empty()),
        })
    }

    /// Reads the JSON as the type demands. `None` for an ack without an id.
    fn packet(self) -> Result<Option<Packet>, DecodeError> {
        let parse = |json| parse_with_placeholders(json, self.attachments).map(|parsed| parsed.0);
        let data = self.json.map(parse).transpose()?;
        let nsp = self.nsp.to_owned();
        Ok(Some(match (self.kind, data) {
            (b'0', data @ (None | Some(Value::Map(_)))) => Packet::Connect { nsp, data },
            (b'1', None) => Packet::Disconnect { nsp },
            (b'2' | b'5', data) => Packet::Event {
                nsp,
                id: self.id,
                args: event_args(data)?,
            },
            (b'3' | b'6', data) => {
                let args = array(data)?.unwrap_or_default();
                match self.id {
                    Some(id) => Packet::Ack { nsp, id, args },
                    None => return Ok(None),
                }
            }
            (b'4', data @ (None | Some(Value::Map(_) | Value::Str(_)))) => Packet::ConnectError {
                nsp,
                data: data.unwrap_or(Value::Null),
            },
            _ => return Err(DecodeError::Payload),
        }))
    }
}

/// The number in front of the `-` of a binary packet, and what follows it.
fn attachments(text: &str, limits: Limits) -> Result<(usize, &str), DecodeError> {
    let (digits, rest) = split_digits(text);
    let rest = rest.strip_prefix('-').ok_or(DecodeError::Attachments)?;
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return Err(DecodeError::Attachments);
    }
    let count = significant
        .parse()
        .ok()
        .filter(|count| *count <= usize::from(limits.max_attachments));
    Ok((count.ok_or(DecodeError::TooManyAttachments)?, rest))
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

fn array(data: Option<Value>) -> Result<Option<Vec<Value>>, DecodeError> {
    match data {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items)),
        Some(_) => Err(DecodeError::Payload),
    }
}

fn event_args(data: Option<Value>) -> Result<Vec<Value>, DecodeError> {
    let Some(args) = array(data)? else {
        return Ok(Vec::new());
    };
    match check_name(&args) {
        Ok(()) => Ok(args),
        Err(BadName::Kind) => Err(DecodeError::Payload),
        Err(BadName::Reserved) => Err(DecodeError::ReservedEvent),
    }
}
