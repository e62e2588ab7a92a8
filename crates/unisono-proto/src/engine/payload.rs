//! The packets of a polling body, read one after the other, also with pauses in between.

use super::packet::{self, DecodeError, Packet, SEPARATOR};
use super::v3::{self, LENGTH_END, MAX_LENGTH_DIGITS};
use crate::limits::MAX_PAYLOAD_PACKETS;

/// How packets are joined to the body of a polling request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadEncoding {
    /// Revision 4: texts, joined by 0x1e.
    V4,
    /// Revision 3: texts, each behind its length.
    V3Text,
    /// Revision 3, `application/octet-stream`: texts and byte strings, each behind its kind and length.
    V3Binary,
}

/// Reads a body that the caller keeps. It holds a position, nothing else, and every byte is looked at a bounded number of times.
#[derive(Clone, Debug)]
pub struct PayloadDecoder {
    encoding: PayloadEncoding,
    /// Where the next record begins.
    at: usize,
    packets: usize,
    ended: bool,
}

impl PayloadDecoder {
    /// Begins with the first packet.
    pub fn new(encoding: PayloadEncoding) -> PayloadDecoder {
        PayloadDecoder {
            encoding,
            at: 0,
            packets: 0,
            ended: false,
        }
    }

    /// The next packet of `body`, which must be the same at each call. `None` behind the last packet, and behind an error. An empty
    /// body is one [`DecodeError::Empty`].
    pub fn next<'a>(&mut self, body: &'a [u8]) -> Option<Result<Packet<'a>, DecodeError>> {
        loop {
            if self.ended {
                return None;
            }
            match self.record(body.get(self.at..).unwrap_or_default()) {
                // A record of revision 3 with nothing in it means nothing, as for Node.
                Ok(None) => {}
                Ok(Some(packet)) => return Some(Ok(packet)),
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }

    fn record<'a>(&mut self, rest: &'a [u8]) -> Result<Option<Packet<'a>>, DecodeError> {
        self.packets += 1;
        if self.packets > MAX_PAYLOAD_PACKETS {
            return Err(DecodeError::TooManyPackets);
        }
        let (is_binary, start, end) = match self.encoding {
            PayloadEncoding::V4 => (false, 0, separated(rest)),
            PayloadEncoding::V3Text => {
                let (units, start) = length(rest, b':', |byte| byte.wrapping_sub(b'0'))?;
                (false, start, start + utf16_prefix(&rest[start..], units)?)
            }
            PayloadEncoding::V3Binary => {
                let kind = *rest.first().ok_or(DecodeError::Empty)?;
                let (len, start) = length(&rest[1..], LENGTH_END, |byte| byte)?;
                let start = start + 1;
                if kind > 1 || len > rest.len() - start {
                    return Err(DecodeError::Length);
                }
                (kind == 1, start, start + len)
            }
        };
        // A separator stands between two records; lengths need none.
        let is_last = end == rest.len();
        let separator = usize::from(self.encoding == PayloadEncoding::V4 && !is_last);
        self.at += end + separator;
        self.ended = is_last;
        let record = &rest[start..end];
        if record.is_empty() && self.encoding != PayloadEncoding::V4 {
            return Ok(None);
        }
        if is_binary {
            return v3::decode_binary(record.into()).map(Some);
        }
        let text = std::str::from_utf8(record).map_err(|_| DecodeError::Utf8)?;
        let packet = match self.encoding {
            PayloadEncoding::V4 => packet::decode(text),
            PayloadEncoding::V3Text | PayloadEncoding::V3Binary => v3::decode(text),
        };
        packet.map(Some)
    }
}

/// The end of the record that ends with a separator or with the body.
fn separated(rest: &[u8]) -> usize {
    let separator = |byte: &u8| *byte == SEPARATOR as u8;
    rest.iter().position(separator).unwrap_or(rest.len())
}

/// The decimal number in front of `end`, and the bytes that both take. `digit` gives a byte's value.
fn length(rest: &[u8], end: u8, digit: impl Fn(u8) -> u8) -> Result<(usize, usize), DecodeError> {
    if rest.is_empty() {
        return Err(DecodeError::Empty);
    }
    let head = &rest[..rest.len().min(MAX_LENGTH_DIGITS + 1)];
    let digits = head.iter().position(|byte| *byte == end);
    let digits = digits
        .filter(|digits| *digits > 0)
        .ok_or(DecodeError::Length)?;
    let mut value: usize = 0;
    for byte in &head[..digits] {
        let digit = Some(digit(*byte)).filter(|digit| *digit <= 9);
        let digit = digit.ok_or(DecodeError::Length)?;
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(usize::from(digit)))
            .ok_or(DecodeError::Length)?;
    }
    Ok((value, digits + 1))
}

/// The bytes at the beginning of `rest` that are exactly so many UTF-16 code units. That they are UTF-8 is for the caller to see.
fn utf16_prefix(rest: &[u8], units: usize) -> Result<usize, DecodeError> {
    // No unit is written in less than a byte.
    if units > rest.len() {
        return Err(DecodeError::Length);
    }
    let mut seen = 0;
    let mut end = 0;
    for byte in rest {
        let begins = v3::utf16_units(*byte);
        if begins > 0 && seen >= units {
            break;
        }
        seen += begins;
        end += 1;
    }
    // More, when the last unit is half of a pair.
    (seen == units).then_some(end).ok_or(DecodeError::Length)
}

/// The packets of a polling body, one after the other; ends behind the first error. An empty body is one [`DecodeError::Empty`].
#[derive(Clone, Debug)]
pub struct Payload<'a> {
    body: &'a [u8],
    decoder: PayloadDecoder,
}

impl<'a> Payload<'a> {
    /// The packets of a body of revision 4.
    pub fn new(body: &'a str) -> Payload<'a> {
        Payload::with(PayloadEncoding::V4, body.as_bytes())
    }

    /// The packets of a body in the given encoding.
    pub fn with(encoding: PayloadEncoding, body: &'a [u8]) -> Payload<'a> {
        Payload {
            body,
            decoder: PayloadDecoder::new(encoding),
        }
    }
}

impl<'a> Iterator for Payload<'a> {
    type Item = Result<Packet<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.decoder.next(self.body)
    }
}
