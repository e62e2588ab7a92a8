//! The client's side of a WebSocket.

use super::client::{Kind, Line, Step};
use crate::wire;

/// Digits of the sequence number that every published payload begins with.
pub(super) const SEQUENCE_DIGITS: usize = 12;
const MESSAGE: &[u8] = br#"42["msg",""#;
/// A payload of which so much is missing is not read but discarded.
const DISCARD_FROM: usize = 4 * 1024;
/// While large payloads come, this much is read of each: the head of the frame, and the sequence number.
const HEAD_READ: usize = 256;

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    /// The upgrade request is sent.
    Upgrading,
    /// The WebSocket is open, what it is for has not happened yet.
    Open,
    /// All there.
    Ready,
}

/// What the WebSocket is for.
#[derive(Clone, Copy, PartialEq)]
enum Purpose {
    Member,
    Stranger,
    Probe,
}

pub(super) struct WebSocket {
    phase: Phase,
    purpose: Purpose,
    /// The last message was a large one: the next will be, too.
    large: bool,
    /// The message whose end is still to come, and how many bytes of it.
    coming: Option<(u64, usize)>,
}

impl WebSocket {
    pub(super) fn member() -> Self {
        Self::new(Purpose::Member)
    }

    pub(super) fn stranger() -> Self {
        Self::new(Purpose::Stranger)
    }

    pub(super) fn probe() -> Self {
        Self::new(Purpose::Probe)
    }

    fn new(purpose: Purpose) -> Self {
        Self {
            phase: Phase::Upgrading,
            purpose,
            large: false,
            coming: None,
        }
    }

    /// How much to read at a time.
    pub(super) fn read_size(&self) -> usize {
        if self.large { HEAD_READ } else { usize::MAX }
    }

    /// This many bytes of the message are still to come.
    pub(super) fn awaits(&mut self, bytes: usize) {
        if let Some((_, left)) = &mut self.coming {
            *left = bytes;
        }
    }

    /// How many bytes of a message are still to come.
    pub(super) fn awaited(&self) -> usize {
        self.coming.map_or(0, |(_, left)| left)
    }

    /// The message is complete.
    pub(super) fn arrived(&mut self, notice: impl FnOnce(Kind)) {
        if let Some((sequence, _)) = self.coming.take() {
            notice(Kind::Message(sequence));
        }
    }

    /// Takes whole responses and frames from the front of `input`: how many bytes, and what to do next.
    pub(super) fn consume(
        &mut self,
        input: &mut [u8],
        line: &mut Line,
        notice: &mut dyn FnMut(Kind),
    ) -> (usize, Step) {
        let mut used = 0;
        if self.phase == Phase::Upgrading {
            let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
                return (0, Step::Read);
            };
            if !input.starts_with(b"HTTP/1.1 101") {
                return (0, Step::End);
            }
            self.phase = Phase::Open;
            used = end + 4;
            if self.purpose == Purpose::Probe && !say(line, b"2probe") {
                return (used, Step::End);
            }
        }
        loop {
            let frame = match wire::next_frame(&mut input[used..]) {
                Ok(Some(frame)) => frame,
                Ok(None) => return self.skip(&input[used..], used),
                Err(wire::FrameTooLong) => return (used, Step::End),
            };
            used += frame.length;
            if frame.opcode == wire::CLOSE || !self.on_text(frame.payload, line, notice) {
                return (used, Step::End);
            }
        }
    }

    /// A large message whose sequence number is here need not be read to its end.
    fn skip(&mut self, input: &[u8], used: usize) -> (usize, Step) {
        if let Ok(Some(head)) = wire::frame_head(input) {
            let here = &input[head.length..];
            let missing = head.payload - here.len();
            self.large = head.payload >= DISCARD_FROM;
            if missing >= DISCARD_FROM
                && let Some(sequence) = sequence_of(here)
            {
                self.coming = Some((sequence, missing));
                return (used + input.len(), Step::Read);
            }
        }
        (used, Step::Read)
    }

    fn on_text(&mut self, text: &[u8], line: &mut Line, notice: &mut dyn FnMut(Kind)) -> bool {
        if let Some(sequence) = sequence_of(text) {
            notice(Kind::Message(sequence));
            return true;
        }
        match (text, self.purpose) {
            ([b'0', ..], Purpose::Member) => say(line, b"40"),
            ([b'0', ..], Purpose::Stranger) | (b"3probe", Purpose::Probe) => {
                self.phase = Phase::Ready;
                notice(Kind::Ready);
                true
            }
            ([b'2'], _) => say(line, b"3"),
            ([b'4', b'0', ..], _) if self.phase == Phase::Open => {
                self.phase = Phase::Ready;
                notice(Kind::Ready);
                true
            }
            ([b'4', b'4', ..], _) => false,
            _ => true,
        }
    }
}

fn say(line: &mut Line, text: &[u8]) -> bool {
    let mut frame = Vec::with_capacity(text.len() + 14);
    wire::encode_client(text, &mut frame);
    line.write(&frame)
}

fn sequence_of(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(MESSAGE)?.get(..SEQUENCE_DIGITS)?;
    digits.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u64::from(digit - b'0'))
    })
}
