//! The task that accepts connections.
//!
//! It is one of the runtime's own, not the caller's: what `block_on` runs, as `main` does mostly, is not on a worker thread, and each connection would have to be
//! handed from one thread to another, with two wake-ups.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// After a failed accept, such as for want of descriptors: trying again at once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Between two log lines about that: it may last, and each attempt would have one.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(5);

/// Connections that may wait to be accepted. All clients of a server that went away come back at once: of those beyond this the kernel drops the first
/// packet, and they try again after a second (of 1,000 at once 56 did so with the 128 that sockets get by default). Linux takes no more than
/// `net.core.somaxconn`, which is as much.
const BACKLOG: i32 = 4096;

/// Accepts until dropped. The listener is closed then, at once.
pub(super) struct Accepting {
    door: Door,
    task: JoinHandle<()>,
}

impl Accepting {
    /// Gives each connection to `open`.
    pub(super) fn begin(
        listener: TcpListener,
        mut open: impl FnMut(TcpStream, SocketAddr) + Send + 'static,
    ) -> Self {
        // A listener may be told anew how many may wait; one that refuses goes on as it was.
        let _ = SockRef::from(&listener).listen(BACKLOG);
        let door = Door(Arc::new(Mutex::new(Some(listener))));
        let opening = door.clone();
        let task = tokio::spawn(async move {
            let mut complaints = Complaints::default();
            while let Some(accepted) = poll_fn(|cx| opening.poll_accept(cx)).await {
                match accepted {
                    Ok((stream, peer)) => {
                        // A message must not wait for the acknowledgement of the one before it. Not left to the listener: whoever connected before that had the
                        // option has not. If it fails, delivery is slower, not wrong.
                        let _ = stream.set_nodelay(true);
                        open(stream, peer);
                    }
                    Err(error) => {
                        complaints.add(&error, Instant::now());
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        });
        Self { door, task }
    }

    /// Never ends by itself.
    ///
    /// # Panics
    /// When opening a connection has.
    pub(super) async fn go_on(&mut self) {
        if let Err(error) = (&mut self.task).await
            && error.is_panic()
        {
            resume_unwind(error.into_panic());
        }
        // Cancelled: the runtime is shutting down.
        std::future::pending::<()>().await;
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.door.close();
        self.task.abort();
    }
}

/// What the log is told of failed attempts.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    /// Failures since, of which the log does not know.
    untold: u64,
}

impl Complaints {
    fn add(&mut self, error: &io::Error, now: Instant) {
        if self.last.is_some_and(|last| now - last < COMPLAINT_PAUSE) {
            self.untold += 1;
            return;
        }
        let failed_before = std::mem::take(&mut self.untold);
        self.last = Some(now);
        tracing::warn!(%error, failed_before, "cannot accept a connection; check the limit of open files");
    }
}

/// The listener, until it is closed.
#[derive(Clone)]
struct Door(Arc<Mutex<Option<TcpListener>>>);

impl Door {
    /// A std mutex: held for one attempt, and to close it.
    fn listener(&self) -> MutexGuard<'_, Option<TcpListener>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` once it is closed.
    fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<(TcpStream, SocketAddr)>>> {
        match &*self.listener() {
            Some(listener) => listener.poll_accept(cx).map(Some),
            None => Poll::Ready(None),
        }
    }

    fn close(&self) {
        *self.listener() = None;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn connections_do_not_wait_for_acknowledgements() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _early = TcpStream::connect(address).await.unwrap();
        let (opens, mut opened) = mpsc::channel(2);
        let accepting = Accepting::begin(listener, move |stream, _| {
            opens.try_send(stream).unwrap();
        });
        let _client = TcpStream::connect(address).await.unwrap();
        for _ in 0..2 {
            assert!(opened.recv().await.unwrap().nodelay().unwrap());
        }
        drop(accepting);
        // Closed at once: the address is free.
        TcpListener::bind(address).await.unwrap();
    }
}
