//! The network between a client and a server, to be cut.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Read at once: a request's head, or a good part of a large message.
const BUFFER: usize = 16 << 10;

/// Passes TCP connections on to a server on this machine.
pub(crate) struct Relay {
    port: u16,
    cuts: watch::Sender<u64>,
    polls: watch::Sender<usize>,
    task: JoinHandle<()>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// Listens on a free port.
    pub(crate) async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cuts, _) = watch::channel(0);
        let (polls, _) = watch::channel(0);
        let task = tokio::spawn(accept(listener, target, cuts.clone(), polls.clone()));
        Self {
            port,
            cuts,
            polls,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits until the server owes an answer to a GET: a client that polls has something to be cut then, and the server notices.
    pub(crate) async fn polled(&self) {
        let mut polls = self.polls.subscribe();
        polls.wait_for(|polls| *polls > 0).await.unwrap();
    }

    /// Breaks every connection; new ones are passed on as before.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|count| *count += 1);
    }
}

async fn accept(
    listener: TcpListener,
    target: u16,
    cuts: watch::Sender<u64>,
    polls: watch::Sender<usize>,
) {
    while let Ok((client, _)) = listener.accept().await {
        let mut cut = cuts.subscribe();
        let poll = Poll(polls.clone(), AtomicBool::new(false));
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
                return;
            };
            tokio::select! {
                // How a connection ends is its two ends' concern.
                _ = pass_on(client, server, poll) => {}
                _ = cut.changed() => {}
            }
        });
    }
}

/// Whether a connection's last request is a GET without answer, counted among those of all connections.
struct Poll(watch::Sender<usize>, AtomicBool);

impl Poll {
    fn set(&self, open: bool) {
        let before = usize::from(self.1.swap(open, Ordering::Relaxed));
        self.0
            .send_modify(|polls| *polls = *polls + usize::from(open) - before);
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// Ends when one of the two does.
async fn pass_on(mut client: TcpStream, mut server: TcpStream, poll: Poll) -> io::Result<()> {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        ended = copy(from_client, to_server, |bytes| if bytes.starts_with(b"GET ") { poll.set(true) }) => ended,
        ended = copy(from_server, to_client, |_| poll.set(false)) => ended,
    }
}

async fn copy(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    seen: impl Fn(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
        seen(&buffer[..read]);
    }
}
