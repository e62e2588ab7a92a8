//! Frames to messages, in pieces of any size.

use std::borrow::Cow;

use super::{CloseCode, Error, Event, Opcode, Role, mask};
use crate::limits::{MAX_CONTROL_PAYLOAD, MAX_FRAGMENTS};

/// Longest frame header: two bytes, a 64-bit length and a masking key.
const MAX_HEADER: usize = 14;

/// Takes bytes in any pieces, gives whole messages and control frames.
///
/// Between messages it holds nothing on the heap. What is buffered grows with what has arrived, never with what a
/// header announces. After a close frame or an error everything else is ignored or refused.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    end: End,
    max_message: usize,
    partial: Option<Box<Partial>>,
}

/// Whether more is expected from the peer.
#[derive(Clone, Copy, Debug)]
enum End {
    Open,
    Closed,
    Failed(Error),
}

/// What has arrived of a frame or message that is not complete.
#[derive(Debug, Default)]
struct Partial {
    /// Bytes of an incomplete header.
    header: [u8; MAX_HEADER],
    header_len: usize,
    /// The frame whose payload is arriving.
    frame: Option<Frame>,
    /// Payload bytes of that frame that have arrived.
    received: usize,
    /// The message that is arriving: text or binary.
    message: Option<Opcode>,
    /// Frames of it that have begun.
    fragments: u32,
    data: Vec<u8>,
    /// The payload of a control frame that is arriving.
    control: Vec<u8>,
}

impl Partial {
    fn is_empty(&self) -> bool {
        self.header_len == 0 && self.frame.is_none() && self.message.is_none()
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug)]
struct Frame {
    fin: bool,
    opcode: Opcode,
    key: Option<[u8; 4]>,
    len: usize,
}

impl Frame {
    fn is_control(self) -> bool {
        matches!(self.opcode, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }

    fn unmask(self, data: &mut [u8], offset: usize) {
        if let Some(key) = self.key {
            mask::apply(data, key, offset);
        }
    }
}

/// How far the payload of a frame has come.
enum Collected {
    /// More of this frame is needed.
    Part,
    /// The frame is complete, its message is not.
    Frame,
    /// A message or control frame is complete.
    Message(Opcode, Vec<u8>),
}

impl Decoder {
    /// A decoder for this end, which takes messages of up to `max_message` bytes.
    pub fn new(role: Role, max_message: usize) -> Decoder {
        Decoder {
            role,
            end: End::Open,
            max_message,
            partial: None,
        }
    }

    /// Bytes held of incomplete frames and messages.
    pub fn buffered(&self) -> usize {
        let of =
            |partial: &Partial| partial.header_len + partial.data.len() + partial.control.len();
        self.partial.as_deref().map_or(0, of)
    }

    /// Takes the next event from the front of `input`, unmasking it in place; `None` when all of `input` was
    /// consumed and more is needed. Call it until then.
    ///
    /// # Errors
    /// The peer broke the protocol: see [`Error::close_code`]. Every later call fails likewise.
    pub fn next<'b>(&mut self, input: &mut &'b mut [u8]) -> Result<Option<Event<'b>>, Error> {
        match self.end {
            End::Open => {}
            End::Closed => {
                *input = &mut [];
                return Ok(None);
            }
            End::Failed(error) => return Err(error),
        }
        let event = self.advance(input);
        match &event {
            Ok(Some(Event::Close(_))) => self.end = End::Closed,
            Err(error) => self.end = End::Failed(*error),
            Ok(_) => {}
        }
        if !matches!(self.end, End::Open) || self.partial.as_deref().is_some_and(Partial::is_empty)
        {
            self.partial = None;
        }
        event
    }

    /// One step per frame: each takes at least one byte of input or ends.
    fn advance<'b>(&mut self, input: &mut &'b mut [u8]) -> Result<Option<Event<'b>>, Error> {
        loop {
            let frame = match self.partial.as_deref().and_then(|partial| partial.frame) {
                Some(frame) => frame,
                None => match self.header(input)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            if self.fits(frame, input) {
                let payload = take(input, frame.len);
                frame.unmask(payload, 0);
                return event(frame.opcode, payload).map(Some);
            }
            match self.collect(frame, input) {
                Collected::Part => return Ok(None),
                Collected::Frame => {}
                Collected::Message(opcode, payload) => {
                    return owned_event(opcode, payload).map(Some);
                }
            }
        }
    }

    /// Whether the event can be borrowed from the input: a whole unfragmented frame of which nothing is kept.
    fn fits(&self, frame: Frame, input: &[u8]) -> bool {
        let begun = self
            .partial
            .as_deref()
            .is_some_and(|partial| partial.frame.is_some());
        let whole = frame.is_control() || (frame.fin && frame.opcode != Opcode::Continuation);
        whole && !begun && frame.len <= input.len()
    }

    /// The next frame's header, checked; `None` (with the bytes kept) if it is incomplete.
    fn header(&mut self, input: &mut &mut [u8]) -> Result<Option<Frame>, Error> {
        let mut bytes = [0; MAX_HEADER];
        let kept = self
            .partial
            .as_deref()
            .map_or(0, |partial| partial.header_len);
        if let Some(partial) = self.partial.as_deref() {
            bytes[..kept].copy_from_slice(&partial.header[..kept]);
        }
        let have = (kept + input.len()).min(MAX_HEADER);
        bytes[kept..have].copy_from_slice(&input[..have - kept]);
        let bytes = &bytes[..have];
        let Some((frame, len)) = self.parse(bytes)? else {
            if have > 0 {
                let partial = self.partial.get_or_insert_default();
                partial.header[..have].copy_from_slice(bytes);
                partial.header_len = have;
            }
            *input = &mut [];
            return Ok(None);
        };
        take(input, len - kept);
        if let Some(partial) = self.partial.as_deref_mut() {
            partial.header_len = 0;
        }
        Ok(Some(frame))
    }

    /// Reads and checks a header; refuses as soon as the bytes at hand allow it.
    fn parse(&self, bytes: &[u8]) -> Result<Option<(Frame, usize)>, Error> {
        let [first, second, rest @ ..] = bytes else {
            return match bytes {
                [first] => self.opcode(*first).map(|_| None),
                _ => Ok(None),
            };
        };
        let opcode = self.opcode(*first)?;
        let fin = first & 0x80 != 0;
        let masked = second & 0x80 != 0;
        if masked != (self.role == Role::Server) {
            return Err(Error::Masking);
        }
        let control = matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong);
        let short = usize::from(second & 0x7f);
        if control && (!fin || short > MAX_CONTROL_PAYLOAD) {
            return Err(Error::ControlFrame);
        }
        let (len, rest) = match short {
            126 => match rest.split_first_chunk::<2>() {
                Some((len, rest)) => (u64::from(u16::from_be_bytes(*len)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk::<8>() {
                Some((len, rest)) => (u64::from_be_bytes(*len), rest),
                None => return Ok(None),
            },
            short => (short as u64, rest),
        };
        if len >> 63 != 0 {
            return Err(Error::Length);
        }
        let held = self
            .partial
            .as_deref()
            .map_or(0, |partial| partial.data.len());
        let room = self.max_message.saturating_sub(held);
        let len = usize::try_from(len)
            .ok()
            .filter(|len| control || *len <= room)
            .ok_or(Error::TooBig)?;
        let (key, rest) = match (masked, rest.split_first_chunk::<4>()) {
            (false, _) => (None, rest),
            (true, Some((key, rest))) => (Some(*key), rest),
            (true, None) => return Ok(None),
        };
        Ok(Some((
            Frame {
                fin,
                opcode,
                key,
                len,
            },
            bytes.len() - rest.len(),
        )))
    }

    /// Checks the first byte of a header against the specification and the message in progress.
    fn opcode(&self, first: u8) -> Result<Opcode, Error> {
        if first & 0x70 != 0 {
            return Err(Error::ReservedBits);
        }
        let opcode = match first & 0x0f {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => return Ok(Opcode::Close),
            9 => return Ok(Opcode::Ping),
            10 => return Ok(Opcode::Pong),
            _ => return Err(Error::ReservedOpcode),
        };
        let (inside, fragments) = self.partial.as_deref().map_or((false, 0), |partial| {
            (partial.message.is_some(), partial.fragments)
        });
        if inside != (opcode == Opcode::Continuation) {
            return Err(Error::Fragmentation);
        }
        if fragments >= MAX_FRAGMENTS {
            return Err(Error::TooManyFragments);
        }
        Ok(opcode)
    }

    /// Keeps what has arrived of `frame`'s payload.
    fn collect(&mut self, frame: Frame, input: &mut &mut [u8]) -> Collected {
        let partial = self.partial.get_or_insert_default();
        if partial.frame.is_none() {
            partial.frame = Some(frame);
            partial.received = 0;
            if !frame.is_control() {
                partial.fragments += 1;
                partial.message.get_or_insert(frame.opcode);
            }
        }
        let buffer = if frame.is_control() {
            &mut partial.control
        } else {
            &mut partial.data
        };
        let piece = take(input, (frame.len - partial.received).min(input.len()));
        frame.unmask(piece, partial.received);
        partial.received += piece.len();
        let missing = frame.len - partial.received;
        let later = match frame.fin {
            true => missing,
            false => self.max_message.saturating_sub(buffer.len() + piece.len()),
        };
        reserve(buffer, piece.len(), later);
        buffer.extend_from_slice(piece);
        if missing > 0 {
            return Collected::Part;
        }
        partial.frame = None;
        if frame.is_control() {
            return Collected::Message(frame.opcode, std::mem::take(&mut partial.control));
        }
        if !frame.fin {
            return Collected::Frame;
        }
        partial.fragments = 0;
        let opcode = partial.message.take().unwrap_or(frame.opcode);
        Collected::Message(opcode, std::mem::take(&mut partial.data))
    }
}

/// Makes room for `piece` bytes, doubling as vectors do, but for no more than `later` bytes beyond them.
fn reserve(buffer: &mut Vec<u8>, piece: usize, later: usize) {
    if buffer.capacity() - buffer.len() >= piece {
        return;
    }
    let doubled = buffer.len().max(piece);
    buffer.reserve_exact(piece.saturating_add(later.min(doubled)));
}

/// Splits the first `len` bytes off `input`.
fn take<'b>(input: &mut &'b mut [u8], len: usize) -> &'b mut [u8] {
    let (front, rest) = std::mem::take(input).split_at_mut(len);
    *input = rest;
    front
}

fn event(opcode: Opcode, payload: &mut [u8]) -> Result<Event<'_>, Error> {
    Ok(match opcode {
        Opcode::Text => Event::Text(Cow::Borrowed(
            std::str::from_utf8(payload).map_err(|_| Error::Utf8)?,
        )),
        Opcode::Binary | Opcode::Continuation => Event::Binary(Cow::Borrowed(payload)),
        Opcode::Ping => Event::Ping(Cow::Borrowed(payload)),
        Opcode::Pong => Event::Pong(Cow::Borrowed(payload)),
        Opcode::Close => Event::Close(close_code(payload)?),
    })
}

fn owned_event(opcode: Opcode, payload: Vec<u8>) -> Result<Event<'static>, Error> {
    Ok(match opcode {
        Opcode::Text => Event::Text(Cow::Owned(
            String::from_utf8(payload).map_err(|_| Error::Utf8)?,
        )),
        Opcode::Binary | Opcode::Continuation => Event::Binary(Cow::Owned(payload)),
        Opcode::Ping => Event::Ping(Cow::Owned(payload)),
        Opcode::Pong => Event::Pong(Cow::Owned(payload)),
        Opcode::Close => Event::Close(close_code(&payload)?),
    })
}

fn close_code(payload: &[u8]) -> Result<Option<CloseCode>, Error> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(Error::CloseCode)
        };
    };
    let code = CloseCode::new(u16::from_be_bytes(*code)).ok_or(Error::CloseCode)?;
    std::str::from_utf8(reason).map_err(|_| Error::Utf8)?;
    Ok(Some(code))
}
