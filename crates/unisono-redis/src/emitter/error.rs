//! What can go wrong for whoever emits.

use unisono_cluster::EncodeError;
use unisono_proto::value::ValueError;

use crate::commander::CommandError;

/// Why something is not published, or not known to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitterError {
    /// The payload cannot be expressed as Socket.IO arguments. Nothing was sent.
    #[error("the payload cannot be serialised")]
    Value(#[from] ValueError),
    /// The event's name is one that Socket.IO, or its pods, keep for themselves. Nothing was sent.
    #[error("`{0}` is reserved by Socket.IO; choose another event name")]
    Reserved(String),
    /// It breaks a rule of the bus: too large, too deep, too many attachments or rooms. Nothing was sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Redis is away or slow, or refuses.
    #[error(transparent)]
    Redis(#[from] CommandError),
}

impl EmitterError {
    /// True when the message may be published all the same. When not, it may be emitted again without anybody getting it twice.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::Redis(error) if error.is_outcome_unknown())
    }

    /// True when trying again cannot help: the message itself is wrong.
    pub fn is_misuse(&self) -> bool {
        !matches!(self, Self::Redis(_))
    }
}
