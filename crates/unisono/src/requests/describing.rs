//! Describing sockets for other nodes.

use std::sync::Arc;

use tokio::sync::Semaphore;
use unisono_cluster::SocketsAnswer;
use unisono_proto::Value;

use super::RemoteSocket;
use crate::socket::Socket;
use crate::space::SpaceInner;
use crate::stats::Refusal;

/// Sockets that are described in less than a millisecond.
const FEW_SOCKETS: usize = 64;

/// Descriptions of a server that are under way at a time: each has a thread, and up to 16 MiB in memory.
const AT_A_TIME: usize = 1;

/// Descriptions of a server that wait for their turn or have it. Each holds a list of sockets, and one of ten thousand takes some tens of
/// milliseconds: whoever asks would not wait for the one behind the last.
const MAX_DESCRIPTIONS: usize = 32;

/// The application's part of a socket, which may be anything: where it stands.
const AUTH: &[&str] = &["handshake", "auth"];
const DATA: &[&str] = &["data"];

/// The descriptions of a server that take time.
pub(crate) struct Describing {
    places: Arc<Semaphore>,
    turns: Semaphore,
}

impl Default for Describing {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(MAX_DESCRIPTIONS)),
            turns: Semaphore::new(AT_A_TIME),
        }
    }
}

impl SpaceInner {
    /// Describes sockets: elsewhere where it takes time, because whoever calls holds up every message behind this one.
    pub(super) fn serve_fetch(self: &Arc<Self>, uid: String, id: String, sockets: Vec<Socket>) {
        if sockets.len() <= FEW_SOCKETS {
            return self.describe(&uid, &id, &sockets);
        }
        let Some(port) = &self.port else { return };
        let Ok(place) = port.bus.describing.places.clone().try_acquire_owned() else {
            self.counters.refuse(Refusal::Congestion);
            return;
        };
        let (space, bus) = (self.clone(), port.bus.clone());
        port.bus.runtime.spawn(async move {
            // Nobody closes it.
            let _turn = bus.describing.turns.acquire().await;
            let counters = space.counters.clone();
            let describe = move || space.describe(&uid, &id, &sockets);
            let described = tokio::task::spawn_blocking(describe).await;
            if described.is_err_and(|error| error.is_panic()) {
                counters.refuse(Refusal::Panic);
            }
            drop(place);
        });
    }

    fn describe(&self, uid: &str, id: &str, sockets: &[Socket]) {
        let Some(port) = &self.port else { return };
        // An id that was read can be written.
        let Ok(mut answer) = port.answering.sockets(id) else {
            return;
        };
        let mut whole = true;
        for socket in RemoteSocket::local(sockets) {
            match add(&mut answer, socket.into_value()) {
                Added::Whole => {}
                Added::Spared => whole = false,
                Added::Not => {
                    whole = false;
                    // There is hardly room for another.
                    break;
                }
            }
        }
        if !whole {
            self.counters.refuse(Refusal::TooLarge);
            tracing::debug!(nsp = &*self.name, "sockets cannot be described in full");
        }
        port.answer_sockets(uid, answer);
    }
}

#[derive(Debug, PartialEq)]
enum Added {
    Whole,
    /// Without what cannot be written.
    Spared,
    /// The answer is full.
    Not,
}

/// Adds a socket to an answer, if need be without its `auth` or `data`: one client's must not cost the other nodes the rest.
fn add(answer: &mut SocketsAnswer, mut socket: Value) -> Added {
    if answer.push(&socket).is_ok() {
        return Added::Whole;
    }
    // Either may be at fault.
    for path in [AUTH, DATA] {
        let kept = put(&mut socket, path, nothing());
        if answer.push(&socket).is_ok() {
            return Added::Spared;
        }
        // Without both at the end.
        if path == AUTH {
            put(&mut socket, path, kept);
        }
    }
    put(&mut socket, AUTH, nothing());
    match answer.push(&socket) {
        Ok(()) => Added::Spared,
        Err(_) => Added::Not,
    }
}

/// An empty object, as Node.js has there by default.
fn nothing() -> Value {
    Value::Map(Vec::new())
}

/// Puts a value there, and gives what was there.
fn put(socket: &mut Value, path: &[&str], value: Value) -> Value {
    let field = path.iter().try_fold(socket, |value, key| match value {
        Value::Map(pairs) => pairs
            .iter_mut()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value),
        _ => None,
    });
    match field {
        Some(field) => std::mem::replace(field, value),
        None => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use unisono_cluster::AnswerBody;
    use unisono_cluster::classic::{self, decode_answer};

    use super::*;

    fn socket(auth: Value, data: Value) -> Value {
        let map = |fields: [(&str, Value); 2]| {
            Value::Map(fields.map(|(key, value)| (key.to_owned(), value)).into())
        };
        map([
            ("handshake", map([("url", "/".into()), ("auth", auth)])),
            ("data", data),
        ])
    }

    #[test]
    fn what_cannot_be_written_is_left_out_and_nothing_else() {
        let deep = || (0..62).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
        let large = || Value::Str("x".repeat(17 << 20));
        let check = |auth: Value, data: Value, added: Added, expected: Option<Value>| {
            let mut answer =
                SocketsAnswer::Classic(classic::SocketsAnswer::new("r", None).unwrap());
            assert_eq!(add(&mut answer, socket(auth, data)), added);
            let answer = decode_answer(&answer.finish()).unwrap();
            let sockets = expected.into_iter().collect();
            assert_eq!(answer.body, AnswerBody::Sockets(sockets));
        };
        let one = || Value::Int(1);
        check(one(), one(), Added::Whole, Some(socket(one(), one())));
        check(deep(), one(), Added::Spared, Some(socket(nothing(), one())));
        check(one(), deep(), Added::Spared, Some(socket(one(), nothing())));
        check(
            one(),
            large(),
            Added::Spared,
            Some(socket(one(), nothing())),
        );
        check(
            deep(),
            large(),
            Added::Spared,
            Some(socket(nothing(), nothing())),
        );
    }

    #[test]
    fn an_answer_that_is_full_says_so() {
        let mut answer = SocketsAnswer::Classic(classic::SocketsAnswer::new("r", None).unwrap());
        let socket = Value::Str("x".repeat(9 << 20));
        assert_eq!(add(&mut answer, socket.clone()), Added::Whole);
        assert_eq!(add(&mut answer, socket), Added::Not);
    }
}
