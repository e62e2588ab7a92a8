//! Names of channels.

use crate::adapter::SubscriptionMode;
use crate::broadcast::Broadcast;
use crate::classic::Target;

/// The channel that every node of the namespace listens to: `P#N#`.
pub fn main_channel(prefix: &str, nsp: &str) -> String {
    format!("{prefix}#{nsp}#")
}

/// `P#N#name#`: that of a room, or of the answers to the node that asks as `name`.
pub fn private_channel(prefix: &str, nsp: &str, name: &str) -> String {
    format!("{prefix}#{nsp}#{name}#")
}

/// The channel of a broadcast that wants no acknowledgements: that of the room, if it goes apart.
pub fn channel(prefix: &str, nsp: &str, apart: Option<&str>) -> String {
    match apart {
        Some(room) => private_channel(prefix, nsp, room),
        None => main_channel(prefix, nsp),
    }
}

/// The room whose channel a broadcast goes on that wants no acknowledgements; `None`: on the main one.
pub fn room_apart(mode: SubscriptionMode, broadcast: &Broadcast) -> Option<&str> {
    let ordered = broadcast.extension.as_ref().is_some_and(|e| e.ordered);
    match broadcast.rooms.as_slice() {
        [room] if !ordered && mode.publishes_apart(room) => Some(room),
        _ => None,
    }
}

/// Reads the name of a channel on which a message of namespace `nsp` arrived.
pub fn target_of_channel<'a>(prefix: &str, nsp: &str, channel: &'a str) -> Target<'a> {
    let rest = channel
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('#'));
    let rest = rest
        .and_then(|rest| rest.strip_prefix(nsp))
        .and_then(|rest| rest.strip_prefix('#'));
    match rest {
        Some("") => Target::Namespace,
        Some(rest) => rest.strip_suffix('#').map_or(Target::Foreign, Target::Room),
        None => Target::Foreign,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broadcast::Extension;

    #[test]
    fn one_room_has_a_channel_where_the_mode_says_so() {
        let check = |rooms: &[&str], ordered: bool, expected: [&str; 3]| {
            let broadcast = Broadcast {
                rooms: rooms.iter().map(|&room| room.to_owned()).collect(),
                extension: Some(Extension {
                    ordered,
                    ..Extension::default()
                }),
                ..Broadcast::default()
            };
            let channels = SubscriptionMode::ALL.map(|mode| {
                let apart = room_apart(mode, &broadcast);
                channel("p", "/chat", apart)
            });
            assert_eq!(channels, expected, "{rooms:?}");
        };
        let main = "p#/chat#";
        check(&[], false, [main; 3]);
        check(&["r"], false, [main, "p#/chat#r#", "p#/chat#r#"]);
        check(&["r"], true, [main; 3]);
        check(&["r", "s"], false, [main; 3]);
        check(&["a#b"], false, [main, "p#/chat#a#b#", "p#/chat#a#b#"]);
        check(&[""], false, [main, "p#/chat##", "p#/chat##"]);
        let id = "AbCdEfGhIjKlMnOpQrSt";
        check(&[id], false, [main, main, "p#/chat#AbCdEfGhIjKlMnOpQrSt#"]);
    }

    #[test]
    fn channel_names_are_read_back() {
        let check = |channel: &str, expected: Target<'_>| {
            assert_eq!(
                target_of_channel("p", "/chat", channel),
                expected,
                "{channel}"
            );
        };
        check("p#/chat#", Target::Namespace);
        check("p#/chat##", Target::Room(""));
        check("p#/chat#r#", Target::Room("r"));
        check("p#/chat#a#b#", Target::Room("a#b"));
        check("p#/chat#r", Target::Foreign);
        check("p#/chat", Target::Foreign);
        check("p#/#r#", Target::Foreign);
        check("", Target::Foreign);
    }
}
