//! Names of channels.

use crate::broker::Subscription;
use crate::glob;

/// The channel of a broadcast: `P#N#room#` for exactly one room, `P#N#` otherwise.
///
/// Names are used as they are; a `#` inside one is legal.
pub fn channel<R: AsRef<str>>(prefix: &str, nsp: &str, rooms: &[R]) -> String {
    match rooms {
        [room] => format!("{prefix}#{nsp}#{}#", room.as_ref()),
        _ => format!("{prefix}#{nsp}#"),
    }
}

/// What the name of a channel says about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// Not a broadcast channel of this namespace.
    Foreign,
    /// No hint: decode it.
    Namespace,
    /// For members of this room only.
    Room(&'a str),
}

/// Reads the name of a channel on which a message of namespace `nsp` arrived.
pub fn target_of_channel<'a>(prefix: &str, nsp: &str, channel: &'a str) -> Target<'a> {
    let rest = channel
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('#'));
    let rest = rest
        .and_then(|rest| rest.strip_prefix(nsp))
        .and_then(|rest| rest.strip_prefix('#'));
    let Some(rest) = rest else {
        return Target::Foreign;
    };
    let mut room = rest.chars();
    room.next_back();
    match room.as_str() {
        "" => Target::Namespace,
        room => Target::Room(room),
    }
}

/// The channel on which nodes ask each other: `P-request#N#`. How many listen to it is how many nodes there are.
pub fn request_channel(prefix: &str, nsp: &str) -> String {
    format!("{prefix}-request#{nsp}#")
}

/// The channel on which requests are answered: `P-response#N#`.
pub fn response_channel(prefix: &str, nsp: &str) -> String {
    format!("{prefix}-response#{nsp}#")
}

/// The channel on which the requests of one node are answered by those nodes that are set so: `P-response#N#uid#`, where `uid` is that of the
/// request.
pub fn private_response_channel(prefix: &str, nsp: &str, uid: &str) -> String {
    format!("{prefix}-response#{nsp}#{uid}#")
}

/// What a node listens to for one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriptions {
    /// All broadcasts of the namespace; glob characters in the names are escaped.
    pub broadcasts: Subscription,
    /// What other nodes ask.
    pub requests: Subscription,
    /// What they answer, for all to hear.
    pub responses: Subscription,
    /// What they answer to this node alone.
    pub private_responses: Subscription,
}

impl Subscriptions {
    /// Those of the namespace `nsp` under the channel prefix `prefix`, of a node that asks as `uid`.
    pub fn new(prefix: &str, nsp: &str, uid: &str) -> Self {
        let pattern = format!("{}#{}#*", glob::escape(prefix), glob::escape(nsp));
        Self {
            broadcasts: Subscription::Pattern(pattern),
            requests: Subscription::Channel(request_channel(prefix, nsp)),
            responses: Subscription::Channel(response_channel(prefix, nsp)),
            private_responses: Subscription::Channel(private_response_channel(prefix, nsp, uid)),
        }
    }

    /// All of them. The one by which others count this node comes last: by then it hears everything else.
    pub fn iter(&self) -> impl Iterator<Item = &Subscription> {
        [
            &self.broadcasts,
            &self.responses,
            &self.private_responses,
            &self.requests,
        ]
        .into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_name_one_room_or_none() {
        let check = |rooms: &[&str], expected: &str| {
            assert_eq!(channel("socket.io", "/chat", rooms), expected);
        };
        check(&[], "socket.io#/chat#");
        check(&["r1"], "socket.io#/chat#r1#");
        check(&["r1", "r2"], "socket.io#/chat#");
        check(&["a#b"], "socket.io#/chat#a#b#");
        check(&[""], "socket.io#/chat##");
    }

    #[test]
    fn channel_names_are_read_back() {
        let check = |channel: &str, expected: Target<'_>| {
            assert_eq!(
                target_of_channel("socket.io", "/chat", channel),
                expected,
                "{channel}"
            );
        };
        check("socket.io#/chat#", Target::Namespace);
        check("socket.io#/chat##", Target::Namespace);
        check("socket.io#/chat#r1#", Target::Room("r1"));
        check("socket.io#/chat#a#b#", Target::Room("a#b"));
        check("socket.io#/chat##é", Target::Room("#"));
        check("socket.io#/chat", Target::Foreign);
        check("socket.io#/#r1#", Target::Foreign);
        check("socket.io-request#/chat#", Target::Foreign);
        check("", Target::Foreign);
    }

    #[test]
    fn requests_have_channels_of_their_own() {
        let channel = |name: &str| Subscription::Channel(name.to_owned());
        let all = Subscriptions::new("socket.io", "/chat", "hkw5El");
        assert_eq!(all.requests, channel("socket.io-request#/chat#"));
        assert_eq!(all.responses, channel("socket.io-response#/chat#"));
        assert_eq!(
            all.private_responses,
            channel("socket.io-response#/chat#hkw5El#")
        );
        assert_eq!(all.iter().count(), 4);
    }

    #[test]
    fn globs_in_names_are_escaped() {
        let check = |nsp: &str, expected: &str| {
            assert_eq!(
                Subscriptions::new("socket.io", nsp, "uid").broadcasts,
                Subscription::Pattern(expected.to_owned())
            );
        };
        check("/", "socket.io#/#*");
        check("/a[b]", r"socket.io#/a\[b\]#*");
        check("/x*?\\", r"socket.io#/x\*\?\\#*");
    }
}
