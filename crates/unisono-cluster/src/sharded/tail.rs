//! The end of our own messages, by which they are known without being decoded.

use unisono_proto::Value;

use crate::classic::body::JsonWriter;
use crate::msgpack::Writer;

/// Key `s` and the marker of an unsigned 64-bit integer: what stands before a sequence number in MessagePack.
const SEQ_MARK: [u8; 3] = [0xa1, b's', 0xcf];

/// What stands before it in JSON.
const JSON_SEQ_MARK: &str = "\"s\":";

/// Most digits of a sequence number.
const SEQ_DIGITS: usize = 20;

/// How the messages of one node end, in either spelling: with its uid and its namespace, and before those its sequence number, if there is
/// one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    json: Vec<u8>,
    msgpack: Vec<u8>,
}

impl Tail {
    pub(crate) fn new(uid: &str, nsp: &str) -> Self {
        let mut json = JsonWriter::default();
        json.out.push(',');
        let mut msgpack = Writer::with_capacity(64);
        for (key, name, end) in [("uid", uid, ","), ("nsp", nsp, "}")] {
            // Neither can fail: they are short texts.
            let _ = json.key(key);
            let _ = json.value(&Value::Str(name.to_owned()), 0);
            json.out.push_str(end);
            msgpack.str(key);
            msgpack.str(name);
        }
        Self {
            json: json.out.into_bytes(),
            msgpack: msgpack.finish().into(),
        }
    }

    pub(super) fn into_msgpack(self) -> Vec<u8> {
        self.msgpack
    }

    /// What comes before the end, if the message is of this node.
    pub(crate) fn strip<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        let tail = match payload.first() {
            Some(b'{') => &self.json,
            _ => &self.msgpack,
        };
        payload.strip_suffix(tail.as_slice())
    }
}

/// The sequence number in what comes before the end of a message of ours.
pub(crate) fn seq_of(head: &[u8]) -> Option<u64> {
    if head.first() != Some(&b'{') {
        let (rest, seq) = head.split_last_chunk::<8>()?;
        return rest.ends_with(&SEQ_MARK).then(|| u64::from_be_bytes(*seq));
    }
    let rest = head.strip_suffix(b"}")?;
    let digits = rest.iter().rev().take(SEQ_DIGITS);
    let digits = digits.take_while(|byte| byte.is_ascii_digit()).count();
    let (rest, digits) = rest.split_at(rest.len() - digits);
    if !rest.ends_with(JSON_SEQ_MARK.as_bytes()) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}
