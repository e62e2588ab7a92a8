//! Acknowledgements, both ways.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;
use unisono_proto::Value;
use unisono_proto::value::to_args;

use crate::error::EmitError;
use crate::socket::Socket;

/// Answers that one socket may owe at a time: each costs memory until it comes or its time is over.
const MAX_PENDING: usize = 1024;

/// Answers the client's event. Dropping it answers nothing.
#[derive(Debug)]
pub struct Ack {
    socket: Socket,
    id: Option<u64>,
}

impl Ack {
    pub(crate) fn new(socket: Socket, id: Option<u64>) -> Self {
        Self { socket, id }
    }

    /// Whether the client waits for an answer.
    pub fn is_wanted(&self) -> bool {
        self.id.is_some()
    }

    /// Answers. A tuple becomes several arguments. Does nothing when the client wants no answer.
    ///
    /// # Errors
    /// `answer` cannot be written as a Socket.IO packet.
    pub fn send<T: Serialize + ?Sized>(self, answer: &T) -> Result<(), EmitError> {
        let Some(id) = self.id else { return Ok(()) };
        self.socket.send_ack(id, to_args(answer)?)
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
    inner: Mutex<Option<Box<Pending>>>,
}

#[derive(Debug, Default)]
struct Pending {
    next: u64,
    waiting: HashMap<u64, oneshot::Sender<Vec<Value>>>,
}

impl PendingAcks {
    /// A std mutex: held for one look-up, never across an await.
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Box<Pending>>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn expect(&self) -> Result<(u64, oneshot::Receiver<Vec<Value>>), AckError> {
        let mut guard = self.lock();
        let pending = guard.get_or_insert_default();
        if pending.waiting.len() >= MAX_PENDING {
            return Err(AckError::TooMany);
        }
        let id = pending.next;
        pending.next += 1;
        let (sender, receiver) = oneshot::channel();
        pending.waiting.insert(id, sender);
        Ok((id, receiver))
    }

    /// Answers nobody asked for, or asked for too long ago, are ignored.
    pub(crate) fn resolve(&self, id: u64, args: Vec<Value>) {
        let sender = self
            .lock()
            .as_mut()
            .and_then(|pending| pending.waiting.remove(&id));
        if let Some(sender) = sender {
            // The asker may have gone in between.
            let _ = sender.send(args);
        }
    }

    pub(crate) fn forget(&self, id: u64) {
        if let Some(pending) = self.lock().as_mut() {
            pending.waiting.remove(&id);
        }
    }

    pub(crate) fn fail_all(&self) {
        *self.lock() = None;
    }
}

/// Waits for an answer; the entry is gone afterwards however the wait ends, also when the caller drops this future.
pub(crate) async fn wait(
    socket: Arc<crate::socket::SocketInner>,
    id: u64,
    receiver: oneshot::Receiver<Vec<Value>>,
    timeout: Duration,
) -> Result<Vec<Value>, AckError> {
    struct Forget(Arc<crate::socket::SocketInner>, u64);
    impl Drop for Forget {
        fn drop(&mut self) {
            self.0.acks.forget(self.1);
        }
    }
    let _forget = Forget(socket, id);
    match tokio::time::timeout(timeout, receiver).await {
        Ok(Ok(args)) => Ok(args),
        Ok(Err(_)) => Err(AckError::Disconnected),
        Err(_) => Err(AckError::Timeout),
    }
}
