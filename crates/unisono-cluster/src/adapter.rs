//! Which of Node.js' adapters a cluster speaks.

use std::fmt;
use std::str::FromStr;

/// The adapter of `@socket.io/redis-adapter` whose bytes and channels a cluster uses. All nodes of a cluster need the same one: those of
/// another do not hear each other.
///
/// It may be matched as a whole, and so may its modes: a broker has to know each, and a new one is to be noticed by whoever wrote one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Adapter {
    /// `createAdapter`: `PUBLISH` and `PSUBSCRIBE`; see [`classic`](crate::classic).
    #[default]
    Classic,
    /// `createShardedAdapter`: `SPUBLISH` and `SSUBSCRIBE`, from Redis 7 on; see [`sharded`](crate::sharded).
    Sharded(SubscriptionMode),
}

/// Which rooms have a channel of their own; Node's `subscriptionMode`. All nodes of a cluster need the same one: one that is `static` does
/// not hear what the others send to a single room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SubscriptionMode {
    /// None: every node hears everything of the namespace.
    Static,
    /// All but those of the sockets' own ids.
    #[default]
    Dynamic,
    /// All: for clusters in which most is sent to single sockets.
    DynamicPrivate,
}

/// A text that names no [`SubscriptionMode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a subscription mode is `static`, `dynamic` or `dynamic-private`")]
pub struct UnknownMode;

/// The length of a socket's id, by which Node.js knows it: in UTF-16 units, as JavaScript counts.
const ID_LENGTH: usize = 20;

impl Adapter {
    /// `classic` or `sharded`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Sharded(_) => "sharded",
        }
    }

    /// The command that publishes on its channels, for scripts: `PUBLISH` or `SPUBLISH`.
    pub fn publish_command(self) -> &'static str {
        match self {
            Self::Classic => "PUBLISH",
            Self::Sharded(_) => "SPUBLISH",
        }
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::Classic => Ok(()),
            Self::Sharded(mode) => write!(f, " ({mode})"),
        }
    }
}

impl SubscriptionMode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Static, Self::Dynamic, Self::DynamicPrivate];

    /// As Node spells it: `static`, `dynamic`, `dynamic-private`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Dynamic => "dynamic",
            Self::DynamicPrivate => "dynamic-private",
        }
    }

    /// Whether what is sent to this room alone goes on a channel of its own.
    pub fn publishes_apart(self, room: &str) -> bool {
        match self {
            Self::Static => false,
            Self::Dynamic => !looks_like_id(room),
            Self::DynamicPrivate => true,
        }
    }

    /// Whether a node listens to the channel of a room that it has members in. `is_id`: it is the room of the own id of one of them. Ids
    /// that do not look so to Node.js (those of Engine.IO 3 clients outside of `/`) are published apart, so they are listened to.
    pub fn listens_apart(self, room: &str, is_id: bool) -> bool {
        match self {
            Self::Static => false,
            Self::Dynamic => !is_id || !looks_like_id(room),
            Self::DynamicPrivate => true,
        }
    }
}

/// Whether Node.js takes the name of a room for the id of a socket: by its length alone.
fn looks_like_id(room: &str) -> bool {
    (ID_LENGTH..=ID_LENGTH * 3).contains(&room.len()) && room.encode_utf16().count() == ID_LENGTH
}

impl fmt::Display for SubscriptionMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SubscriptionMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        let mut all = Self::ALL.into_iter();
        all.find(|mode| mode.as_str() == text).ok_or(UnknownMode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_have_channels_by_mode_and_length() {
        let check = |room: &str, is_id, publishes: [bool; 3], listens: [bool; 3]| {
            let modes = SubscriptionMode::ALL;
            assert_eq!(modes.map(|mode| mode.publishes_apart(room)), publishes);
            let listening = modes.map(|mode| mode.listens_apart(room, is_id));
            assert_eq!(listening, listens, "{room}");
        };
        let id = "AbCdEfGhIjKlMnOpQrSt";
        check("r1", false, [false, true, true], [false, true, true]);
        check("", false, [false, true, true], [false, true, true]);
        check(id, true, [false, false, true], [false, false, true]);
        // A room that only looks like an id: listened to, as Node.js does, though nobody publishes there.
        check(id, false, [false, false, true], [false, true, true]);
        check(
            &format!("/ok#{id}"),
            true,
            [false, true, true],
            [false, true, true],
        );
        // Twenty characters for JavaScript: ten of two units, and twenty of three bytes.
        check(
            "🎵🎵🎵🎵🎵🎵🎵🎵🎵🎵",
            false,
            [false, false, true],
            [false, true, true],
        );
        check(
            &"€".repeat(20),
            false,
            [false, false, true],
            [false, true, true],
        );
        check(
            &"🎵".repeat(20),
            false,
            [false, true, true],
            [false, true, true],
        );
    }

    #[test]
    fn modes_are_spelt_as_for_node() {
        for mode in SubscriptionMode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!("Dynamic".parse::<SubscriptionMode>(), Err(UnknownMode));
        let spelt = |adapter: Adapter| (adapter.to_string(), adapter.publish_command());
        assert_eq!(spelt(Adapter::Classic), ("classic".to_owned(), "PUBLISH"));
        let sharded = Adapter::Sharded(SubscriptionMode::default());
        assert_eq!(spelt(sharded), ("sharded (dynamic)".to_owned(), "SPUBLISH"));
    }
}
