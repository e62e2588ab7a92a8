//! Where the state of sessions is kept between pods.
//!
//! # The contract
//!
//! **One step.** [`Store::commit`] and [`Store::replace`] check, write, move the revision on and
//! publish in one atomic step: the order of commits is the order of deliveries on the bus, and
//! what is broadcast is what is stored. Nothing is published when nothing is written.
//!
//! **Failure.** [`Unavailable`] means that the step did not answer in time. It may still happen
//! later; the registers of a session are stamped so that meeting it again changes nothing.
//!
//! **Damage.** What cannot be read as a session (a key of another type, a revision that is no
//! number up to [`MAX_REVISION`](crate::session::MAX_REVISION), a broken stamp) counts as lost:
//! it reads as a session nobody knows, and the next step that writes puts it right.
//!
//! One suite of tests runs on [`MemoryStore`] and on [`RedisStore`].

mod keys;
mod memory;
mod redis;
mod rights;

use std::future::Future;
use std::pin::Pin;

pub(crate) use keys::fits;
pub use memory::{MAX_MEMORY_SESSIONS, MemoryStore, SharedSessions};
pub use redis::{NEW_SESSION_TTL, RedisStore, SESSION_TTL};
pub use rights::{Trial, acl_rules, answers_to, try_rights};
use unisono_cluster::classic::Template;

use crate::session::{Change, SessionId, SessionState};

/// What a store answers, when it does.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unavailable>> + Send + 'a>>;

/// Where the state of sessions is kept between pods. See the [module documentation](self).
pub trait Store: Send + Sync + 'static {
    /// The state of a session; [`SessionState::is_unknown`] if there is none.
    fn load<'a>(&'a self, session: &'a SessionId) -> StoreFuture<'a, SessionState>;

    /// Applies a change if its guard holds, and publishes the messages with the new
    /// revision filled in.
    fn commit<'a>(
        &'a self,
        change: &'a Change,
        messages: &'a [Template],
    ) -> StoreFuture<'a, Outcome>;

    /// Replaces the state of a session with `state` at the revision `state` has, if the
    /// stored one still is at `expected_revision`, and publishes the messages.
    fn replace<'a>(
        &'a self,
        session: &'a SessionId,
        expected_revision: u32,
        state: &'a SessionState,
        messages: &'a [Template],
    ) -> StoreFuture<'a, Replaced>;
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Written and published.
    Committed {
        /// The new revision.
        revision: u32,
    },
    /// The guard does not hold. Nothing happened.
    Refused {
        /// The state as it is.
        current: SessionState,
    },
    /// The store is behind what the pod knows: it has lost data. Nothing happened.
    Behind {
        /// The state as it is.
        current: SessionState,
    },
}

/// What became of a replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// Written and published.
    Done,
    /// Somebody else changed the session meanwhile. Nothing happened.
    Conflict,
}

/// The store did not answer, or not in the way it should; the cause is in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session store is unavailable: {reason}")]
pub struct Unavailable {
    /// Why, without secrets.
    pub reason: String,
    /// The error code of a store that answered and refused, such as `OOM` or `NOPERM`; nothing
    /// was written then. `None` if it did not answer.
    pub code: Option<String>,
}

impl Unavailable {
    /// The store is unavailable for this reason.
    pub fn because(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            code: None,
        }
    }

    /// The store answered with the error `code`.
    pub fn refused(reason: impl std::fmt::Display, code: impl Into<String>) -> Self {
        let code = code.into();
        Self {
            reason: format!("{reason}: {code}"),
            code: Some(code),
        }
    }
}
