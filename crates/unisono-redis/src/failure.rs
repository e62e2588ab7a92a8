//! What did not work, in words that say what to do.

use redis::RedisError;
use unisono_cluster::{Adapter, Subscription};

use crate::config::ConfigError;

/// Why an attempt, or something on a link that is up, did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) text: String,
    /// Nothing changes until somebody gives a right, or corrects a setting.
    pub(crate) is_refusal: bool,
    /// There was no answer in time.
    pub(crate) is_late: bool,
}

/// What was asked of Redis when it refused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed<'a> {
    /// To let us in.
    Login,
    /// To let us in at a sentinel, which has passwords of its own.
    SentinelLogin,
    Subscribe(Adapter, &'a Subscription),
    SubscribeProbe(Adapter, &'a str),
    Publish(Adapter, &'a str),
    /// A command of the link, by the words that name the right: `role`, `pubsub|numsub`.
    Command(&'static str),
}

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            is_refusal: false,
            is_late: false,
        }
    }

    pub(crate) fn refusal(text: impl Into<String>) -> Self {
        Self {
            is_refusal: true,
            ..Self::new(text)
        }
    }

    pub(crate) fn late(text: impl Into<String>) -> Self {
        Self {
            is_late: true,
            ..Self::new(text)
        }
    }

    /// Of two reasons why something did not work, the one that somebody can do something about. Having been too late stays true.
    pub(crate) fn or(self, other: Self) -> Self {
        let is_late = self.is_late || other.is_late;
        let told = if self.is_refusal { self } else { other };
        Self { is_late, ..told }
    }

    /// What `error` means when `user` wanted to do that.
    pub(crate) fn of(error: &RedisError, user: &str, deed: Deed<'_>) -> Self {
        match refusal(error, user, deed) {
            Some(text) => Self::refusal(text),
            None => Self {
                is_late: error.is_timeout(),
                ..Self::new(error.to_string())
            },
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::refusal(error.to_string())
    }
}

/// Of a connection, rather than of something that was asked.
impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self {
            is_late: error.is_timeout(),
            ..Self::new(error.to_string())
        }
    }
}

impl From<Failure> for RedisError {
    fn from(failure: Failure) -> Self {
        (redis::ErrorKind::Io, "cannot connect", failure.text).into()
    }
}

fn refusal(error: &RedisError, user: &str, deed: Deed<'_>) -> Option<String> {
    // Getting in includes it where the URL names a database, and the client library hides the code.
    let is_select = || {
        error
            .to_string()
            .contains("permissions to run the 'select'")
    };
    if matches!(deed, Deed::Login) && is_select() {
        return Some(not_allowed(user, Deed::Command("select")));
    }
    match error.code()? {
        "NOAUTH" if matches!(deed, Deed::SentinelLogin) => Some(
            "the sentinel wants a password of its own and was given none (NOAUTH): set the sentinel password"
                .to_owned(),
        ),
        "NOAUTH" => Some(
            "Redis wants a password and was given none (NOAUTH): put it into the URL, redis://user:password@host, or into a password file"
                .to_owned(),
        ),
        "WRONGPASS" => Some(format!(
            "Redis does not take the password of user {user:?} (WRONGPASS): correct it, or let Redis know it with ACL SETUSER {user} on >PASSWORD"
        )),
        "NOPERM" => Some(not_allowed(user, deed)),
        "DENIED" => Some(format!(
            "Redis runs in protected mode and takes no connections from elsewhere: {}",
            "give it a password, or set protected-mode no"
        )),
        _ => None,
    }
}

fn not_allowed(user: &str, deed: Deed<'_>) -> String {
    let (what, rights) = rights_for(deed);
    format!(
        "Redis does not let user {user:?} {what} (NOPERM): allow it with ACL SETUSER {user} {rights}"
    )
}

/// What was to be done, and what allows it in the language of ACL rules.
fn rights_for(deed: Deed<'_>) -> (String, String) {
    match deed {
        Deed::Login | Deed::SentinelLogin => ("in".to_owned(), "on".to_owned()),
        Deed::Subscribe(_, Subscription::Pattern(name)) => (
            format!("subscribe to the pattern {name}"),
            format!("+psubscribe +punsubscribe &{name}"),
        ),
        Deed::Subscribe(adapter, Subscription::Channel(name)) => (
            format!("subscribe to the channel {name}"),
            format!("{} &{name}", subscribing(adapter)),
        ),
        // Its end is random.
        Deed::SubscribeProbe(adapter, name) => {
            let (prefix, _) = name.split_once('#').unwrap_or((name, ""));
            (
                format!("subscribe to its probe channel {name}"),
                format!("{} &{prefix}#*", subscribing(adapter)),
            )
        }
        Deed::Publish(adapter, name) => {
            let (shown, pattern) = match name.split_once('#') {
                // The rest names a room.
                Some((prefix, _)) => (format!("{prefix}#…"), format!("{prefix}#*")),
                None => (name.to_owned(), name.to_owned()),
            };
            (
                format!("publish to {shown}"),
                format!("+{} &{pattern}", adapter.publish_command().to_lowercase()),
            )
        }
        Deed::Command(words) => (
            format!("run {}", words.replace('|', " ").to_uppercase()),
            format!("+{words}"),
        ),
    }
}

fn subscribing(adapter: Adapter) -> &'static str {
    match adapter {
        Adapter::Classic => "+subscribe +unsubscribe",
        Adapter::Sharded(_) => "+ssubscribe +sunsubscribe",
    }
}

#[cfg(test)]
mod tests {
    use unisono_cluster::SubscriptionMode;

    use super::*;

    fn error(line: &str) -> RedisError {
        let reply = redis::parse_redis_value(line.as_bytes());
        let reply = reply.expect("a well-formed reply");
        reply.extract_error().expect_err("an error reply")
    }

    #[test]
    fn refusals_say_what_gives_the_right() {
        let check = |line: &str, deed, parts: &[&str]| {
            let failure = Failure::of(&error(line), "jamz", deed);
            assert!(failure.is_refusal, "{line}");
            for part in parts {
                assert!(failure.text.contains(part), "{part} in {}", failure.text);
            }
        };
        check(
            "-NOAUTH HELLO must\r\n",
            Deed::Login,
            &["put it into the URL"],
        );
        check(
            "-WRONGPASS invalid\r\n",
            Deed::Login,
            &["user \"jamz\"", "ACL SETUSER jamz on >PASSWORD"],
        );
        let pattern = Subscription::Pattern("io#/#*".into());
        let denied = "-NOPERM No permissions to access a channel\r\n";
        check(
            denied,
            Deed::Subscribe(Adapter::Classic, &pattern),
            &[
                "pattern io#/#*",
                "ACL SETUSER jamz +psubscribe +punsubscribe &io#/#*",
            ],
        );
        check(
            denied,
            Deed::SubscribeProbe(Adapter::Classic, "probe#12"),
            &["+subscribe", "&probe#*"],
        );
        check(
            denied,
            Deed::Publish(Adapter::Classic, "io#/#room of somebody#"),
            &["publish to io#…", "+publish &io#*"],
        );
        let sharded = Adapter::Sharded(SubscriptionMode::Dynamic);
        check(
            denied,
            Deed::SubscribeProbe(sharded, "probe#12"),
            &["+ssubscribe +sunsubscribe &probe#*"],
        );
        check(
            denied,
            Deed::Publish(sharded, "io#/#"),
            &["+spublish &io#*"],
        );
        check(
            denied,
            Deed::Command("pubsub|numsub"),
            &["run PUBSUB NUMSUB", "+pubsub|numsub"],
        );
    }

    #[test]
    fn everything_else_is_no_refusal() {
        let failure = Failure::of(&error("-LOADING it loads\r\n"), "jamz", Deed::Login);
        assert!(!failure.is_refusal);
    }
}
