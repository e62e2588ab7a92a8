//! Sessions in Redis: one hash each, changed by two scripts.
//!
//! The hash of a session is `jamz:session:<id>`, that of the default session
//! `jamz:default-session`. A channel prefix (`REDIS_KEY`) other than the default puts itself
//! in between (`jamz:<key>:session:<id>`), so that two installations can share one Redis.

use std::time::Duration;

use unisono_cluster::classic::Template;
use unisono_redis::Commander;
use unisono_redis::redis::{self, Script, Value};

use super::{Outcome, Replaced, Store, StoreFuture, Unavailable};
use crate::config::names::DEFAULT_REDIS_KEY;
use crate::session::{Change, Part, Register, SessionId, SessionState};

/// How long a session outlives its first change, if no second follows. Ids cost nothing to
/// invent; what somebody really uses is changed again within the day.
pub const NEW_SESSION_TTL: Duration = Duration::from_secs(24 * 3600);
/// How long a session outlives its last change. Without an end every session ever played
/// would stay in a Redis that evicts nothing; nobody comes back to one after 30 days.
pub const SESSION_TTL: Duration = Duration::from_secs(30 * 24 * 3600);

const COMMIT: &str = include_str!("commit.lua");
const REPLACE: &str = include_str!("replace.lua");

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
        let prefix = match key {
            DEFAULT_REDIS_KEY => "jamz:".to_owned(),
            key => format!("jamz:{key}:"),
        };
        Self {
            commander,
            prefix,
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
            .map_err(|error| Unavailable::because(error.to_string()))
    }
}

impl Store for RedisStore {
    fn load<'a>(&'a self, session: &'a SessionId) -> StoreFuture<'a, SessionState> {
        Box::pin(async move {
            let mut command = redis::cmd("HGETALL");
            command.arg(self.key(session));
            let reply = self
                .commander
                .query(&command)
                .await
                .map_err(|error| Unavailable::because(error.to_string()))?;
            state_of(flat(reply)?.into_iter())
        })
    }

    fn commit<'a>(
        &'a self,
        change: &'a Change,
        messages: &'a [Template],
    ) -> StoreFuture<'a, Outcome> {
        Box::pin(async move {
            let arguments = commit_arguments(change, messages);
            let reply = self.eval(&self.commit, &change.session, &arguments).await?;
            let mut reply = flat(reply)?.into_iter();
            match reply.next().as_deref() {
                Some(b"committed") => {
                    let revision = reply.next().and_then(|text| number(&text));
                    let revision = revision.ok_or_else(unexpected)?;
                    Ok(Outcome::Committed { revision })
                }
                Some(b"refused") => state_of(reply).map(|current| Outcome::Refused { current }),
                Some(b"behind") => state_of(reply).map(|current| Outcome::Behind { current }),
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
            let arguments = replace_arguments(expected_revision, state, messages);
            match self.eval(&self.replace, session, &arguments).await? {
                Value::Int(1) => Ok(Replaced::Done),
                Value::Int(0) => Ok(Replaced::Conflict),
                _ => Err(unexpected()),
            }
        })
    }
}

/// ARGV of `commit.lua`.
fn commit_arguments(change: &Change, messages: &[Template]) -> Vec<Vec<u8>> {
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
    push_messages(&mut arguments, messages);
    arguments
}

/// ARGV of `replace.lua`.
fn replace_arguments(
    expected_revision: u32,
    state: &SessionState,
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
    push_messages(&mut arguments, messages);
    arguments
}

fn push_messages(arguments: &mut Vec<Vec<u8>>, messages: &[Template]) {
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
/// version and are passed over.
fn state_of(mut texts: impl Iterator<Item = Vec<u8>>) -> Result<SessionState, Unavailable> {
    let mut state = SessionState::default();
    let mut json: [Option<String>; Part::ALL.len()] = Default::default();
    let mut stamps = [0; Part::ALL.len()];
    while let (Some(field), Some(value)) = (texts.next(), texts.next()) {
        if field == b"revision" {
            state.revision = number(&value).ok_or_else(unexpected)?;
        }
        for part in Part::ALL {
            if field == part.name().as_bytes() {
                let text = String::from_utf8(value.clone()).map_err(|_| unexpected())?;
                json[part as usize] = Some(text);
            } else if field == part.stamp_name().as_bytes() {
                stamps[part as usize] = number(&value).ok_or_else(unexpected)?;
            }
        }
    }
    for part in Part::ALL {
        if let Some(json) = json[part as usize].take() {
            let at = stamps[part as usize];
            state.put(part, Register { at, json });
        }
    }
    Ok(state)
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn unexpected() -> Unavailable {
    Unavailable::because(
        "Redis gave an answer of an unexpected shape; is the key used by another program?",
    )
}
