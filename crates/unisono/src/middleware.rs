//! A namespace's middleware at work for one client that wants to join.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, ready};

use crate::error::ConnectError;
use crate::handler::{BoxFuture, Call};
use crate::socket::Socket;
use crate::stats::Refusal;

/// How far one client has come through the middleware of its namespace.
#[derive(Default)]
pub(crate) struct Admission {
    /// Which comes next.
    next: usize,
    running: Option<BoxFuture<Result<(), ConnectError>>>,
}

/// Why a client is not let in: what is counted, and what the client is told.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) error: ConnectError,
}

impl Refused {
    pub(crate) fn new(refusal: Refusal, message: &str) -> Self {
        Self {
            refusal,
            error: ConnectError::new(message),
        }
    }
}

impl Admission {
    /// Runs the middleware as far as it goes without waiting.
    pub(crate) fn poll(
        &mut self,
        socket: &Socket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Refused>> {
        // The future is dropped after a panic, so nobody sees what it left half done but its own captures.
        catch_unwind(AssertUnwindSafe(|| self.poll_all(socket, cx))).unwrap_or_else(|_| {
            tracing::error!(
                nsp = socket.namespace(),
                "a middleware panicked; its client is refused"
            );
            let refused = Refused::new(Refusal::Panic, "internal server error");
            Poll::Ready(Err(refused))
        })
    }

    fn poll_all(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        loop {
            if let Some(running) = &mut self.running {
                let outcome = ready!(running.as_mut().poll(cx));
                self.running = None;
                if let Err(error) = outcome {
                    let refusal = Refusal::Forbidden;
                    return Poll::Ready(Err(Refused { refusal, error }));
                }
            }
            let Some(middleware) = socket.space().handlers.middleware.get(self.next) else {
                return Poll::Ready(Ok(()));
            };
            self.next += 1;
            match middleware.call(Call::plain(socket)) {
                Ok(running) => self.running = Some(running),
                Err(error) => {
                    tracing::debug!(nsp = socket.namespace(), %error, "a client's auth does not fit the middleware");
                    let refused = Refused::new(Refusal::Arguments, "invalid auth");
                    return Poll::Ready(Err(refused));
                }
            }
        }
    }
}
