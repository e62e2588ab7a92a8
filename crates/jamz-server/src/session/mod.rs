//! Music sessions: their state, what changes it, and this pod's copies of it.

mod allowance;
mod change;
mod commit;
mod entry;
mod id;
mod keeper;
mod note;
mod replica;
mod sessions;
mod state;
mod sync;
mod view;

pub use allowance::{Allowance, NEW_SESSION_EVERY, NEW_SESSIONS};
pub use change::{Change, Guard};
pub use commit::Verdict;
pub use entry::Entry;
pub use id::{BadSessionId, MAX_SESSION_ID_BYTES, SessionId};
pub use note::{Content, Note};
pub use replica::{Applied, MAX_BUFFERED_NOTES, MAX_LEAP, Noted, Replica};
pub use sessions::{ECHO_LIMIT, MAX_SESSIONS, Sessions, TooManySessions};
pub use state::{MAX_REVISION, Part, Register, SessionState};
pub use view::{Controller, ControllerChanged, Playback, Snapshot, playlist};
