//! Clients on their way into a namespace: their middleware runs, and nothing else of the connection waits for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::middleware::{Admission, Refused};
use crate::socket::{Socket, SocketInner};
use crate::stats::Refusal;

/// Those of one connection. Costs a pointer while there is nobody; there are never more than namespaces that one connection may ask for.
#[derive(Default)]
pub(super) struct Connecting(Option<Box<Waiting>>);

#[derive(Default)]
struct Waiting {
    clients: Vec<Client>,
}

struct Client {
    socket: Socket,
    admission: Admission,
    /// When to give up; set when the middleware first waits.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// A client that waits no longer.
pub(super) type Decided = (Socket, Result<(), Refused>);

impl Connecting {
    pub(super) fn push(&mut self, socket: Socket) {
        let waiting = self.0.get_or_insert_default();
        waiting.clients.reserve_exact(1);
        waiting.clients.push(Client {
            socket,
            admission: Admission::default(),
            deadline: None,
        });
    }

    /// Takes a client out; its middleware is dropped where it waits.
    pub(super) fn remove(&mut self, socket: &Weak<SocketInner>) -> Option<Socket> {
        self.remove_where(|client| client.is(socket))
    }

    /// The same by its namespace.
    pub(super) fn remove_from(&mut self, nsp: &str) -> Option<Socket> {
        self.remove_where(|client| client.namespace() == nsp)
    }

    fn remove_where(&mut self, is_it: impl Fn(&Socket) -> bool) -> Option<Socket> {
        let waiting = self.0.as_mut()?;
        let index = waiting.clients.iter().position(|c| is_it(&c.socket))?;
        let client = waiting.clients.swap_remove(index);
        self.shrink();
        Some(client.socket)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Drops the middleware of all.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    /// Runs the middleware; whoever is decided is taken out.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, limit: Duration) -> Vec<Decided> {
        let mut decided = Vec::new();
        let Some(waiting) = &mut self.0 else {
            return decided;
        };
        let mut index = 0;
        while let Some(client) = waiting.clients.get_mut(index) {
            match client.poll(cx, limit) {
                Poll::Pending => index += 1,
                Poll::Ready(outcome) => {
                    decided.push((waiting.clients.swap_remove(index).socket, outcome));
                }
            }
        }
        self.shrink();
        decided
    }

    fn shrink(&mut self) {
        if self.0.as_ref().is_some_and(|w| w.clients.is_empty()) {
            self.0 = None;
        }
    }
}

impl Client {
    fn poll(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<Result<(), Refused>> {
        let outcome = self.admission.poll(&self.socket, cx);
        if outcome.is_ready() {
            return outcome;
        }
        // The connection's own deadline ends with its first namespace; without this one a second could wait for ever.
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(limit)));
        deadline.as_mut().poll(cx).map(|()| {
            let refusal = Refusal::ConnectTimeout;
            Err(Refused::new(refusal, "not let in within the time limit"))
        })
    }
}
