//! Acknowledgements, both ways.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;
use unisono_proto::Value;
use unisono_proto::value::to_args;

use crate::acks::Share;
use crate::error::EmitError;
use crate::socket::Socket;

/// Answers that one socket may owe at a time: each costs memory until it comes or its time is over.
const MAX_PENDING: usize = 1024;

/// Answers the client's event. Dropping it answers nothing: the client waits until its own time-out.
///
/// ```
/// use unisono::{Ack, Data, Namespace};
///
/// async fn add(Data((a, b)): Data<(i64, i64)>, ack: Ack) {
///     ack.send(&(a + b)).ok();
/// }
///
/// # drop(
/// Namespace::new("/").on("add", add)
/// # );
/// ```
#[derive(Debug)]
pub struct Ack {
    socket: Socket,
    awaited: Option<Awaited>,
}

impl Ack {
    pub(crate) fn new(socket: Socket, awaited: Option<Awaited>) -> Self {
        Self { socket, awaited }
    }

    /// Whether the client waits for an answer. Not any more once another has answered: a packet middleware, say.
    pub fn is_wanted(&self) -> bool {
        self.awaited.as_ref().is_some_and(|a| !a.is_given())
    }

    /// Answers. A tuple becomes several arguments. Does nothing when the client wants no answer, or has one.
    ///
    /// # Errors
    /// `answer` cannot be written as a Socket.IO packet.
    pub fn send<T: Serialize + ?Sized>(self, answer: &T) -> Result<(), EmitError> {
        let Some(awaited) = self.awaited else {
            return Ok(());
        };
        let args = to_args(answer)?;
        match awaited.give() {
            Some(id) => self.socket.send_ack(id, args),
            None => Ok(()),
        }
    }
}

/// An answer that the client waits for.
#[derive(Clone, Debug)]
pub(crate) struct Awaited {
    id: u64,
    /// Whether it was given, where several may give it.
    given: Option<Arc<AtomicBool>>,
}

impl Awaited {
    /// Of one who may give it.
    pub(crate) fn of_one(id: u64) -> Self {
        Self { id, given: None }
    }

    /// Of several: the first answer counts, as in Node.
    pub(crate) fn of_many(id: u64) -> Self {
        let given = Some(Arc::default());
        Self { id, given }
    }

    fn is_given(&self) -> bool {
        self.given.as_ref().is_some_and(|given| given.load(Relaxed))
    }

    /// The id to answer under, for the first.
    fn give(self) -> Option<u64> {
        let is_late = self.given.is_some_and(|given| given.swap(true, Relaxed));
        (!is_late).then_some(self.id)
    }
}

/// Why there is no answer to an event.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// The client did not answer in time.
    #[error("operation has timed out")]
    Timeout,
    /// The socket is gone.
    #[error("the socket is disconnected")]
    Disconnected,
    /// Too many answers of this socket are outstanding.
    #[error(
        "{MAX_PENDING} answers of this socket are outstanding; wait for some before asking for more"
    )]
    TooMany,
    /// The event could not be written.
    #[error(transparent)]
    Emit(#[from] EmitError),
}

/// The answers that one socket owes. Costs nothing until the first is asked for.
#[derive(Debug, Default)]
pub(crate) struct PendingAcks {
    /// A std mutex: held for one look-up, never across an await.
    inner: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Unused,
    Used(Box<Pending>),
    /// The socket is gone: nothing is expected any more.
    Closed,
}

#[derive(Debug, Default)]
struct Pending {
    waiting: HashMap<u64, Asker>,
}

/// Who waits for an answer.
#[derive(Debug)]
pub(crate) enum Asker {
    /// One event to one socket.
    One(oneshot::Sender<Vec<Value>>),
    /// A broadcast.
    Many(Share),
}

impl PendingAcks {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on an answer under this id is for the asker.
    pub(crate) fn expect(&self, id: u64, asker: Asker) -> Result<(), AckError> {
        let mut state = self.lock();
        if matches!(*state, State::Unused) {
            *state = State::Used(Box::default());
        }
        let State::Used(pending) = &mut *state else {
            return Err(AckError::Disconnected);
        };
        if pending.waiting.len() >= MAX_PENDING {
            return Err(AckError::TooMany);
        }
        pending.waiting.insert(id, asker);
        Ok(())
    }

    /// Takes the answer's place out, if somebody still waits for it.
    fn take(&self, id: u64) -> Option<Asker> {
        match &mut *self.lock() {
            State::Used(pending) => pending.waiting.remove(&id),
            State::Unused | State::Closed => None,
        }
    }

    /// Nobody waits any more.
    pub(crate) fn forget(&self, id: u64) {
        self.take(id);
    }

    /// Answers nobody asked for, or asked for too long ago, are ignored. `bytes` is what the answer takes, on the wire or in memory.
    pub(crate) fn resolve(&self, id: u64, args: Vec<Value>, bytes: usize) {
        match self.take(id) {
            // The asker may have gone in between.
            Some(Asker::One(sender)) => drop(sender.send(args)),
            Some(Asker::Many(share)) => share.answer(args, bytes),
            None => {}
        }
    }

    /// The socket is gone: whoever waits hears so, and so does whoever asks from now on.
    pub(crate) fn close(&self) {
        *self.lock() = State::Closed;
    }
}

/// An answer that is waited for. Its place is free again when this is dropped, however the wait ends and also if it never begins.
pub(crate) struct Waiting {
    socket: Socket,
    pub(crate) id: u64,
    receiver: oneshot::Receiver<Vec<Value>>,
}

impl Waiting {
    pub(crate) fn new(socket: &Socket) -> Result<Self, AckError> {
        let id = socket.space().next_ack();
        let (sender, receiver) = oneshot::channel();
        socket.0.acks.expect(id, Asker::One(sender))?;
        let socket = socket.clone();
        socket.conn().counters.acks_pending.fetch_add(1, Relaxed);
        Ok(Self {
            socket,
            id,
            receiver,
        })
    }

    pub(crate) async fn answer(mut self, timeout: Duration) -> Result<Vec<Value>, AckError> {
        match tokio::time::timeout(timeout, &mut self.receiver).await {
            Ok(Ok(args)) => Ok(args),
            Ok(Err(_)) => Err(AckError::Disconnected),
            Err(_) => Err(AckError::Timeout),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.socket
            .conn()
            .counters
            .acks_pending
            .fetch_sub(1, Relaxed);
        self.socket.0.acks.forget(self.id);
    }
}
