//! How the packets of one session are written: its revision of Engine.IO, and what its client can take.

use unisono_proto::engine::v3;
use unisono_proto::engine::{PayloadEncoding, Query, Revision};
use unisono_proto::ws::{self, Opcode};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Decided by the request that opens the session, once and for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) revision: Revision,
    /// The client takes no bytes, only base64 (`b64` in the query).
    pub(crate) base64: bool,
}

impl Dialect {
    /// `jsonp` says whether scripts are served.
    pub(crate) fn of(query: &Query<'_>, jsonp: bool) -> Self {
        Self {
            revision: query.revision(),
            // A script carries no bytes, whatever the client says.
            base64: query.b64 || (jsonp && query.j.is_some()),
        }
    }

    /// The encoding of a polling answer, with or without byte strings in it.
    pub(crate) fn answer_encoding(self, has_binary: bool) -> PayloadEncoding {
        self.body_encoding(has_binary && !self.base64)
    }

    /// The encoding of a polling body, by whether it is `application/octet-stream`.
    pub(crate) fn body_encoding(self, is_binary: bool) -> PayloadEncoding {
        match (self.revision, is_binary) {
            (Revision::V4, _) => PayloadEncoding::V4,
            (Revision::V3, false) => PayloadEncoding::V3Text,
            (Revision::V3, true) => PayloadEncoding::V3Binary,
        }
    }

    /// Appends the WebSocket frame of a binary message.
    pub(crate) fn binary_frame(self, data: &[u8], out: &mut Vec<u8>) {
        if !self.base64 && self.revision == Revision::V4 {
            ws::encode(Opcode::Binary, data, out);
            return;
        }
        let mut payload = Vec::new();
        if self.base64 {
            payload.extend_from_slice(match self.revision {
                Revision::V3 => b"b4",
                Revision::V4 => b"b",
            });
            payload.extend_from_slice(STANDARD.encode(data).as_bytes());
            ws::encode(Opcode::Text, &payload, out);
        } else {
            payload.push(v3::MESSAGE);
            payload.extend_from_slice(data);
            ws::encode(Opcode::Binary, &payload, out);
        }
    }
}
