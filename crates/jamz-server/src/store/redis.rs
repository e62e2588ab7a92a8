//! Sessions in Redis: one hash each, changed by two scripts.
//!
//! The hash of a session is `jamz:session:<id>`, that of the default session
//! `jamz:default-session`; [`keys`](super::keys) says when they are called otherwise. A channel prefix (`REDIS_KEY`) other than the default puts itself
//! in between (`jamz:<key>:session:<id>`), so that two installations can share one Redis.

use std::time::Duration;

use unisono_cluster::classic::Template;
use unisono_redis::redis::{self, Script, Value};
use unisono_redis::{CommandError, Commander};

use super::keys::key_prefix;
use super::{Outcome, Replaced, Store, StoreFuture, Unavailable};
use crate::session::{Change, MAX_REVISION, Part, Register, SessionId, SessionState};

/// How long a session outlives its first change, if no second follows. Ids cost nothing to
/// invent; what somebody really uses is changed again within the day.
pub const NEW_SESSION_TTL: Duration = Duration::from_secs(24 * 3600);
/// How long a session outlives its last change. Without an end every session ever played
/// would stay in a Redis that evicts nothing; nobody comes back to one after 30 days.
pub const SESSION_TTL: Duration = Duration::from_secs(30 * 24 * 3600);

const COMMIT: &str = concat!(include_str!("read.lua"), include_str!("commit.lua"));
const REPLACE: &str = concat!(include_str!("read.lua"), include_str!("replace.lua"));
/// Most digits of a stamp, as in `read.lua`: milliseconds for the next 30,000 years, and exact
/// in the numbers of Lua.
const STAMP_DIGITS: usize = 15;
/// Most digits of a revision, as in `read.lua`.
const REVISION_DIGITS: usize = 10;

/// Sessions in Redis.
pub struct RedisStore {
    commander: Commander,
    prefix: String,
    commit: Script,
    replace: Script,
}

impl RedisStore {
    /// A store that sends its commands through `commander`, for pods with the channel
    /// prefix `key`.
    pub fn new(commander: Commander, key: &str) -> Self {
        Self {
            prefix: key_prefix(commander.config(), key),
            commander,
            commit: Script::new(COMMIT),
            replace: Script::new(REPLACE),
        }
    }

    fn key(&self, session: &SessionId) -> String {
        let prefix = &self.prefix;
        match session.as_deref() {
            Some(id) => format!("{prefix}session:{id}"),
            None => format!("{prefix}default-session"),
        }
    }

    /// The command by which the scripts publish.
    fn publish(&self) -> &'static str {
        self.commander.adapter().publish_command()
    }

    async fn eval(
        &self,
        script: &Script,
        session: &SessionId,
        arguments: &[Vec<u8>],
    ) -> Result<Value, Unavailable> {
        let key = self.key(session);
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        self.commander
            .eval(script, &[&key], &arguments)
            .await
            .map_err(|error| unavailable(&error))
    }
}

impl Store for RedisStore {
    fn load<'a>(&'a self, session: &'a SessionId) -> StoreFuture<'a, SessionState> {
        Box::pin(async move {
            let mut command = redis::cmd("HGETALL");
            command.arg(self.key(session));
            match self.commander.query(&command).await {
                Ok(reply) => Ok(state_of(flat(reply)?.into_iter())),
                // Somebody else's key where the session was: the session is lost.
                Err(error) if error.code() == Some("WRONGTYPE") => Ok(SessionState::default()),
                Err(error) => Err(unavailable(&error)),
            }
        })
    }

    fn commit<'a>(
        &'a self,
        change: &'a Change,
        messages: &'a [Template],
    ) -> StoreFuture<'a, Outcome> {
        Box::pin(async move {
            let arguments = commit_arguments(change, self.publish(), messages);
            let reply = self.eval(&self.commit, &change.session, &arguments).await?;
            let mut reply = flat(reply)?.into_iter();
            match reply.next().as_deref() {
                Some(b"committed") => {
                    let revision = reply.next().and_then(|text| number(&text));
                    let revision = revision.ok_or_else(unexpected)?;
                    Ok(Outcome::Committed { revision })
                }
                Some(b"refused") => Ok(Outcome::Refused {
                    current: state_of(reply),
                }),
                Some(b"behind") => Ok(Outcome::Behind {
                    current: state_of(reply),
                }),
                _ => Err(unexpected()),
            }
        })
    }

    fn replace<'a>(
        &'a self,
        session: &'a SessionId,
        expected_revision: u32,
        state: &'a SessionState,
        messages: &'a [Template],
    ) -> StoreFuture<'a, Replaced> {
        Box::pin(async move {
            let publish = self.publish();
            let arguments = replace_arguments(expected_revision, state, publish, messages);
            match self.eval(&self.replace, session, &arguments).await? {
                Value::Int(1) => Ok(Replaced::Done),
                Value::Int(0) => Ok(Replaced::Conflict),
                _ => Err(unexpected()),
            }
        })
    }
}

/// ARGV of `commit.lua`.
fn commit_arguments(change: &Change, publish: &str, messages: &[Template]) -> Vec<Vec<u8>> {
    let (guard, text) = match &change.guard {
        None => (String::new(), ""),
        Some(guard) => match &guard.equals {
            Some(text) => (format!("={}", guard.part.name()), text.as_str()),
            None => (format!("!{}", guard.part.name()), ""),
        },
    };
    let mut arguments = vec![
        change.now_ms.to_string().into_bytes(),
        change.known_revision.to_string().into_bytes(),
        NEW_SESSION_TTL.as_secs().to_string().into_bytes(),
        SESSION_TTL.as_secs().to_string().into_bytes(),
        guard.into_bytes(),
        text.as_bytes().to_vec(),
        change.set.len().to_string().into_bytes(),
    ];
    for (part, json) in &change.set {
        arguments.push(part.name().into());
        arguments.push(json.as_bytes().to_vec());
    }
    push_messages(&mut arguments, publish, messages);
    arguments
}

/// ARGV of `replace.lua`.
fn replace_arguments(
    expected_revision: u32,
    state: &SessionState,
    publish: &str,
    messages: &[Template],
) -> Vec<Vec<u8>> {
    let mut fields: Vec<Vec<u8>> = vec![
        b"updated_at".to_vec(),
        state.updated_at().to_string().into_bytes(),
    ];
    for part in Part::ALL {
        if let Some(register) = state.register(part) {
            fields.push(part.name().into());
            fields.push(register.json.as_bytes().to_vec());
            fields.push(part.stamp_name().into());
            fields.push(register.at.to_string().into_bytes());
        }
    }
    let mut arguments = vec![
        expected_revision.to_string().into_bytes(),
        state.revision.to_string().into_bytes(),
        SESSION_TTL.as_secs().to_string().into_bytes(),
        (fields.len() / 2).to_string().into_bytes(),
    ];
    arguments.append(&mut fields);
    push_messages(&mut arguments, publish, messages);
    arguments
}

fn push_messages(arguments: &mut Vec<Vec<u8>>, publish: &str, messages: &[Template]) {
    arguments.push(publish.into());
    arguments.push(messages.len().to_string().into_bytes());
    for message in messages {
        arguments.push(message.channel.as_bytes().to_vec());
        arguments.push(message.segments.len().to_string().into_bytes());
        arguments.extend(message.segments.iter().map(|segment| segment.to_vec()));
    }
}

/// The texts of a flat reply, whichever way the protocol version wraps a hash.
fn flat(reply: Value) -> Result<Vec<Vec<u8>>, Unavailable> {
    let mut texts = Vec::new();
    let mut push = |value: Value| match value {
        Value::BulkString(bytes) => {
            texts.push(bytes);
            Ok(())
        }
        Value::SimpleString(text) => {
            texts.push(text.into_bytes());
            Ok(())
        }
        Value::Int(number) => {
            texts.push(number.to_string().into_bytes());
            Ok(())
        }
        _ => Err(unexpected()),
    };
    match reply {
        Value::Array(values) => values.into_iter().try_for_each(push)?,
        Value::Map(pairs) => {
            for (field, value) in pairs {
                push(field)?;
                push(value)?;
            }
        }
        _ => return Err(unexpected()),
    }
    Ok(texts)
}

/// The state in the fields and values of a session's hash. Unknown fields belong to a newer
/// version and are passed over. What `read.lua` calls unreadable reads as a session nobody
/// knows, and a part that is no text as one that was never set.
fn state_of(texts: impl Iterator<Item = Vec<u8>>) -> SessionState {
    readable(texts).unwrap_or_default()
}

fn readable(mut texts: impl Iterator<Item = Vec<u8>>) -> Option<SessionState> {
    let mut state = SessionState::default();
    let mut json: [Option<String>; Part::ALL.len()] = Default::default();
    let mut stamps = [0; Part::ALL.len()];
    while let (Some(field), Some(value)) = (texts.next(), texts.next()) {
        if field == b"revision" {
            let revision = digits(&value, REVISION_DIGITS)?;
            state.revision = u32::try_from(revision).ok()?;
            if state.revision > MAX_REVISION {
                return None;
            }
        } else if field == b"updated_at" {
            digits(&value, STAMP_DIGITS)?;
        }
        for part in Part::ALL {
            if field == part.name().as_bytes() {
                json[part as usize] = String::from_utf8(value.clone()).ok();
            } else if field == part.stamp_name().as_bytes() {
                stamps[part as usize] = digits(&value, STAMP_DIGITS)?;
            }
        }
    }
    for part in Part::ALL {
        if let Some(json) = json[part as usize].take() {
            let at = stamps[part as usize];
            state.put(part, Register { at, json });
        }
    }
    Some(state)
}

/// A number of at most `most` decimal digits and nothing else.
fn digits(text: &[u8], most: usize) -> Option<u64> {
    let plain = text.len() <= most && text.iter().all(u8::is_ascii_digit);
    plain.then(|| number(text)).flatten()
}

fn unavailable(error: &CommandError) -> Unavailable {
    match error.code() {
        // From within a script Redis 7.0 and Valkey call it `ERR`.
        Some(_) if error.is_no_permission() => Unavailable::refused(error, "NOPERM"),
        Some(code) => Unavailable::refused(error, code),
        None => Unavailable::because(error.to_string()),
    }
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn unexpected() -> Unavailable {
    Unavailable::because(
        "Redis gave an answer of an unexpected shape; is the key used by another program?",
    )
}
