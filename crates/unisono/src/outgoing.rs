//! One message on its way out: encoded once, shared by reference by every recipient.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use unisono_proto::Value;
use unisono_proto::engine::{self, PayloadEncoding, Revision, Sid, v3};
use unisono_proto::socket::{self, EncodeError, Encoded, Packet};
use unisono_proto::ws::{self, CloseCode, Opcode};

use crate::dialect::Dialect;
use crate::slow::Spare;

/// A message as bytes of WebSocket frames. Server frames are not masked (RFC 6455, section 5.1), so every recipient gets the
/// same bytes. What other clients get (long-polling, byte strings in another dialect) is derived from them when the first needs it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    frames: Bytes,
    /// Where the payload of the first frame lies: `frames[start..end]`.
    first: (u8, usize),
    /// Absent in a message that is text alone, which is the same in every dialect.
    attachments: Option<Box<Attachments>>,
    record: OnceLock<String>,
    kind: Kind,
    spare: Spare,
}

/// The byte strings of a message.
#[derive(Debug)]
struct Attachments {
    /// Their places in the frames.
    ranges: Vec<(usize, usize)>,
    /// The frames as sessions in other dialects get them; see [`Attachments::frames`].
    others: [OnceLock<Bytes>; 3],
}

/// How a message is treated when the recipient cannot take it at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Queued.
    Reliable,
    /// Dropped when the recipient's transport is not ready for it.
    Volatile,
    /// The transport's own: packets of Engine.IO, control frames of the WebSocket.
    Control,
}

impl Outgoing {
    /// An event for a namespace; `args` starts with its name.
    pub(crate) fn event(
        nsp: &str,
        id: Option<u64>,
        args: &[Value],
        kind: Kind,
        spare: Spare,
    ) -> Result<Arc<Self>, EncodeError> {
        let message = Self::message(&socket::encode_event(nsp, id, args)?, kind);
        Ok(Arc::new(Self { spare, ..message }))
    }

    /// Any other Socket.IO packet.
    pub(crate) fn packet(packet: &Packet) -> Result<Arc<Self>, EncodeError> {
        Ok(Arc::new(Self::message(
            &socket::encode(packet)?,
            Kind::Reliable,
        )))
    }

    /// The answer that lets a client into a namespace.
    pub(crate) fn connected(nsp: &str, sid: Option<Sid>) -> Result<Arc<Self>, EncodeError> {
        let encoded = socket::encode_connected(nsp, sid)?;
        Ok(Arc::new(Self::message(&encoded, Kind::Reliable)))
    }

    /// An Engine.IO packet without a message: ping, noop, close.
    pub(crate) fn control(packet: &engine::Packet<'_>) -> Arc<Self> {
        let mut text = String::new();
        engine::encode_record(packet, &mut text);
        Arc::new(Self::frame(&[&text], Kind::Control))
    }

    /// A raw Engine.IO text frame in pieces, such as the open packet.
    pub(crate) fn raw(pieces: &[&str]) -> Arc<Self> {
        Arc::new(Self::frame(pieces, Kind::Control))
    }

    /// A text of plain Engine.IO.
    pub(crate) fn plain_text(text: &str) -> Arc<Self> {
        Arc::new(Self::frame(&["4", text], Kind::Reliable))
    }

    /// Bytes of plain Engine.IO: an attachment without a text before it.
    pub(crate) fn plain_bytes(bytes: &[u8]) -> Arc<Self> {
        let mut frames = Vec::with_capacity(bytes.len() + ws::header_len(bytes.len()));
        ws::encode(Opcode::Binary, bytes, &mut frames);
        let end = frames.len();
        let message = Self::frames_only(frames, Kind::Reliable);
        Arc::new(Self {
            first: (0, 0),
            attachments: Some(Box::new(Attachments {
                ranges: vec![(end - bytes.len(), end)],
                others: Default::default(),
            })),
            ..message
        })
    }

    /// A WebSocket PONG (RFC 6455, section 5.5.3).
    pub(crate) fn pong(payload: &[u8]) -> Arc<Self> {
        let mut frames = Vec::with_capacity(payload.len() + 2);
        ws::encode(Opcode::Pong, payload, &mut frames);
        Arc::new(Self::frames_only(frames, Kind::Control))
    }

    /// A WebSocket CLOSE (section 5.5.1); without a code the peer sees 1005, as from Node.
    pub(crate) fn close_frame(code: Option<CloseCode>) -> Arc<Self> {
        let mut frames = Vec::with_capacity(4);
        match code {
            Some(code) => ws::encode_close(code.get(), "", &mut frames),
            None => ws::encode(Opcode::Close, &[], &mut frames),
        }
        Arc::new(Self::frames_only(frames, Kind::Control))
    }

    /// Bytes that are no frames: what HTTP has left to be written.
    pub(crate) fn bytes(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self::frames_only(bytes, Kind::Control))
    }

    /// Frames that mean nothing to long-polling.
    fn frames_only(frames: Vec<u8>, kind: Kind) -> Self {
        let end = frames.len();
        Self {
            frames: frames.into(),
            first: (0, end),
            attachments: None,
            record: OnceLock::new(),
            kind,
            spare: Spare::No,
        }
    }

    fn frame(pieces: &[&str], kind: Kind) -> Self {
        let mut frames = Vec::new();
        ws::encode_text(pieces, &mut frames);
        let end = frames.len();
        let len: usize = pieces.iter().map(|piece| piece.len()).sum();
        Self {
            first: ((end - len) as u8, end),
            frames: frames.into(),
            attachments: None,
            record: OnceLock::new(),
            kind,
            spare: Spare::No,
        }
    }

    fn message(encoded: &Encoded, kind: Kind) -> Self {
        let text_len = encoded.text.len() + 1;
        let binary_len: usize = encoded
            .attachments
            .iter()
            .map(|a| a.len() + ws::header_len(a.len()))
            .sum();
        let mut frames = Vec::with_capacity(ws::header_len(text_len) + text_len + binary_len);
        // The Engine.IO packet type stands before the Socket.IO packet in the same frame.
        ws::encode_text(&["4", &encoded.text], &mut frames);
        let end = frames.len();
        let mut ranges = Vec::with_capacity(encoded.attachments.len());
        for attachment in &encoded.attachments {
            ws::encode(Opcode::Binary, attachment, &mut frames);
            ranges.push((frames.len() - attachment.len(), frames.len()));
        }
        let attachments = (!ranges.is_empty()).then(|| {
            Box::new(Attachments {
                ranges,
                others: Default::default(),
            })
        });
        Self {
            first: ((end - text_len) as u8, end),
            frames: frames.into(),
            attachments,
            record: OnceLock::new(),
            kind,
            spare: Spare::No,
        }
    }

    /// The WebSocket frames, ready to be written.
    pub(crate) fn frames(&self, dialect: Dialect) -> &Bytes {
        match &self.attachments {
            None => &self.frames,
            Some(attachments) => attachments.frames(dialect, &self.frames, self.first.1),
        }
    }

    /// What it counts for in a queue, in whatever dialect it leaves.
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    /// The Engine.IO packets that it is made of: the text and its attachments.
    pub(crate) fn packets(&self) -> usize {
        1 + self.attachments().count()
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn spare(&self) -> Spare {
        self.spare
    }

    /// Whether a byte string is in it.
    pub(crate) fn has_binary(&self) -> bool {
        self.attachments.is_some()
    }

    /// The packet as text.
    fn text(&self) -> Cow<'_, str> {
        let (start, end) = self.first;
        String::from_utf8_lossy(&self.frames[usize::from(start)..end])
    }

    fn attachments(&self) -> impl Iterator<Item = &[u8]> {
        let attachments = self.attachments.as_deref();
        let ranges = attachments.map_or(&[][..], |attachments| &attachments.ranges);
        ranges.iter().map(|&(start, end)| &self.frames[start..end])
    }

    /// The records of a long-polling payload: the packet, then its attachments in base64, each behind a 0x1e.
    pub(crate) fn record(&self) -> &str {
        self.record.get_or_init(|| {
            let mut record = self.text().into_owned();
            for attachment in self.attachments() {
                if !record.is_empty() {
                    record.push(engine::SEPARATOR);
                }
                record.push('b');
                STANDARD.encode_string(attachment, &mut record);
            }
            record
        })
    }

    /// Appends the records of an Engine.IO 3 payload.
    pub(crate) fn push_v3_records(&self, encoding: PayloadEncoding, out: &mut Vec<u8>) {
        let text = self.text();
        if !text.is_empty() {
            v3::encode_text(&text, encoding, out);
        }
        for attachment in self.attachments() {
            v3::encode_data(attachment, encoding, out);
        }
    }
}

impl Attachments {
    /// The frames of the message in `dialect`: `text_end` bytes of text, which are the same in all, then the byte strings.
    fn frames<'a>(&'a self, dialect: Dialect, plain: &'a Bytes, text_end: usize) -> &'a Bytes {
        let other = match (dialect.revision, dialect.base64) {
            (Revision::V4, false) => return plain,
            (Revision::V4, true) => 0,
            (Revision::V3, false) => 1,
            (Revision::V3, true) => 2,
        };
        self.others[other].get_or_init(|| {
            let mut frames = plain[..text_end].to_vec();
            for &(start, end) in &self.ranges {
                dialect.binary_frame(&plain[start..end], &mut frames);
            }
            frames.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALECTS: [Dialect; 4] = [
        dialect(Revision::V4, false),
        dialect(Revision::V4, true),
        dialect(Revision::V3, false),
        dialect(Revision::V3, true),
    ];

    const fn dialect(revision: Revision, base64: bool) -> Dialect {
        Dialect { revision, base64 }
    }

    #[test]
    fn a_text_event_is_one_frame_and_one_record() {
        let out = Outgoing::event(
            "/",
            None,
            &["hi".into(), Value::Int(1)],
            Kind::Reliable,
            Spare::No,
        )
        .unwrap();
        for dialect in DIALECTS {
            assert_eq!(out.frames(dialect)[..], *b"\x81\x0a42[\"hi\",1]");
        }
        assert_eq!(out.record(), "42[\"hi\",1]");
    }

    #[test]
    fn a_binary_event_is_its_text_and_its_attachments_in_order() {
        let args = [
            "b".into(),
            Value::Bin(Bytes::from_static(&[1, 2, 3])),
            Value::Bin(Bytes::from_static(&[4])),
        ];
        let out = Outgoing::event("/", None, &args, Kind::Reliable, Spare::No).unwrap();
        for (dialect, expected) in DIALECTS.into_iter().zip([
            &b"\x82\x03\x01\x02\x03\x82\x01\x04"[..],
            b"\x81\x05bAQID\x81\x05bBA==",
            b"\x82\x04\x04\x01\x02\x03\x82\x02\x04\x04",
            b"\x81\x06b4AQID\x81\x06b4BA==",
        ]) {
            let text = &out.frames(Dialect::default())[..out.first.1];
            assert_eq!(out.frames(dialect)[..], [text, expected].concat());
        }
        assert!(out.record().starts_with("452-[\"b\","));
        assert!(out.record().ends_with("\u{1e}bAQID\u{1e}bBA=="));
    }

    #[test]
    fn bytes_alone_are_one_frame_and_one_record() {
        let out = Outgoing::plain_bytes(&[1, 2, 3]);
        assert_eq!(out.frames(Dialect::default())[..], *b"\x82\x03\x01\x02\x03");
        let mut v3 = Vec::new();
        out.push_v3_records(PayloadEncoding::V3Text, &mut v3);
        assert_eq!(v3, b"6:b4AQID");
        assert_eq!(out.record(), "bAQID");
    }

    #[test]
    fn a_long_event_has_a_long_header() {
        for len in [120, 125, 126, 65_535, 65_536, 70_000] {
            let out = Outgoing::event(
                "/",
                None,
                &["e".into(), "x".repeat(len).into()],
                Kind::Reliable,
                Spare::No,
            )
            .unwrap();
            assert!(out.record().starts_with("42[\"e\",\"xx"), "{len}");
            assert_eq!(
                out.record().len() + usize::from(out.first.0),
                out.frames(Dialect::default()).len()
            );
        }
    }
}
