//! What servers of unisono tell each other about themselves.

use bytes::Bytes;
use unisono_proto::Value;

use super::body::{self, Fields};
use super::{DecodeError, EncodeError, RequestError};
use crate::limits::{MAX_BEAT_BYTES, MAX_BEAT_SPACES, MAX_NAME_BYTES, MAX_NODE_NAME_BYTES};

/// The channel on which servers announce themselves: `P-members`. Node.js pods do not listen to it, and whoever does is not counted as one.
pub fn members_channel(prefix: &str) -> String {
    format!("{prefix}-members")
}

/// Who a server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The name under which it asks, made anew at each start: one that has been restarted is another.
    pub id: String,
    /// What people call it; not unique.
    pub name: String,
    /// When it started, in milliseconds since the Unix epoch by its own clock.
    pub started_ms: u64,
}

/// One message of a server to all others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// Whose it is.
    pub from: Identity,
    /// Counts its messages.
    pub number: u64,
    /// How long its messages take to come back to itself, in milliseconds, if it knows.
    pub lag_ms: Option<u64>,
    /// It goes: nobody is to wait for it any more.
    pub leaving: bool,
    /// What it has published so far.
    pub published: Vec<Published>,
}

/// How much a node has published in its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// The namespace.
    pub nsp: String,
    /// The name of the node's messages.
    pub uid: String,
    /// The number of the last of them.
    pub seq: u64,
}

/// Encodes what a server tells: `{"id", "name", "since", "n", "seqs": [[nsp, uid, seq], …]}`, `lag` if it is known, and `bye` if it goes.
///
/// # Errors
/// See [`EncodeError`]; [`EncodeError::TooLarge`] beyond [`MAX_BEAT_BYTES`].
pub fn encode_beat(beat: &Beat) -> Result<Bytes, EncodeError> {
    let seqs = beat.published.iter().map(|one| {
        let (nsp, uid) = (one.nsp.as_str().into(), one.uid.as_str().into());
        Value::Array(vec![nsp, uid, Value::from(one.seq)])
    });
    let mut fields = vec![
        ("id", Value::from(beat.from.id.as_str())),
        ("name", beat.from.name.as_str().into()),
        ("since", beat.from.started_ms.into()),
        ("n", beat.number.into()),
        ("seqs", Value::Array(seqs.collect())),
    ];
    fields.extend(beat.lag_ms.map(|lag_ms| ("lag", lag_ms.into())));
    fields.extend(beat.leaving.then_some(("bye", true.into())));
    let bytes = body::msgpack(&fields)?;
    if bytes.len() > MAX_BEAT_BYTES {
        let bytes = bytes.len();
        return Err(EncodeError::TooLarge { bytes });
    }
    Ok(bytes)
}

/// Decodes what a server tells. Keys that are not known are ignored.
///
/// # Errors
/// See [`RequestError`].
pub fn decode_beat(bytes: &[u8]) -> Result<Beat, RequestError> {
    if bytes.len() > MAX_BEAT_BYTES {
        return Err(DecodeError::TooLarge.into());
    }
    let mut fields = Fields::read(bytes)?;
    let id = fields.name("id")?.filter(|id| !id.is_empty());
    let id = id.ok_or(RequestError::Field("id"))?;
    let name = fields.name("name")?.filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| id.clone());
    if name.len() > MAX_NODE_NAME_BYTES.max(id.len()) {
        return Err(RequestError::Name);
    }
    let unsigned = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    let published = fields.array("seqs").unwrap_or_default().into_iter();
    Ok(Beat {
        from: Identity {
            name,
            started_ms: unsigned(fields.number("since")).unwrap_or(0),
            id,
        },
        number: unsigned(fields.number("n")).unwrap_or(0),
        lag_ms: unsigned(fields.number("lag")),
        leaving: fields.truth("bye").unwrap_or(false),
        published: published
            .take(MAX_BEAT_SPACES)
            .filter_map(read_published)
            .collect(),
    })
}

/// `None` for what is no such thing.
fn read_published(value: Value) -> Option<Published> {
    let Value::Array(items) = value else {
        return None;
    };
    let Ok([Value::Str(nsp), Value::Str(uid), Value::Int(seq)]) = <[Value; 3]>::try_from(items)
    else {
        return None;
    };
    let fits = nsp.len() <= MAX_NAME_BYTES && uid.len() <= MAX_NAME_BYTES;
    let seq = u64::try_from(seq).ok().filter(|_| fits)?;
    Some(Published { nsp, uid, seq })
}
