//! A network between two programs that can be made to fail.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// Bytes that are passed on at one time.
const CHUNK_BYTES: usize = 64 << 10;

/// How a proxy treats connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Everything passes.
    Open,
    /// Everything passes, each way this much later.
    Slow(Duration),
    /// Nothing passes and nothing is closed, as if each packet were dropped. What was sent meanwhile passes when the way is open again: TCP
    /// sends it again.
    Silent,
    /// What clients send passes; what is answered waits.
    AnswersHeld,
    /// Each connection is closed at the first bytes of its client.
    HangUp,
    /// These bytes stand for the answer, once on each connection; nothing else is answered.
    Garbage(Bytes),
}

impl Way {
    fn passes_questions(&self) -> bool {
        !matches!(self, Self::Silent)
    }

    fn passes_answers(&self) -> bool {
        matches!(self, Self::Open | Self::Slow(_))
    }
}

#[derive(Clone)]
struct State {
    way: Way,
    target: u16,
    accepted: u64,
    /// Connections up to this number are closed,
    cut: u64,
    /// those up to this one are silent for ever.
    abandoned: u64,
}

impl State {
    fn way_of(&self, connection: u64) -> &Way {
        if connection <= self.abandoned {
            &Way::Silent
        } else {
            &self.way
        }
    }
}

/// A TCP proxy on the loopback interface. Dropping it closes it and its connections.
pub struct Proxy {
    port: u16,
    state: Arc<watch::Sender<State>>,
    accepting: AbortHandle,
}

impl Proxy {
    /// A proxy to that port of the loopback interface, open.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("there is a free port on the loopback interface");
        let address = listener.local_addr();
        let state = Arc::new(watch::Sender::new(State {
            way: Way::Open,
            target,
            accepted: 0,
            cut: 0,
            abandoned: 0,
        }));
        Self {
            port: address.expect("a bound listener has an address").port(),
            accepting: tokio::spawn(accept(listener, state.clone())).abort_handle(),
            state,
        }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on connections are treated so: those that are open, and those to come.
    pub fn set(&self, way: Way) {
        self.state.send_modify(|state| state.way = way);
    }

    /// New connections go to another port of the loopback interface.
    pub fn redirect(&self, target: u16) {
        self.state.send_modify(|state| state.target = target);
    }

    /// Closes the open connections.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cut = state.accepted);
    }

    /// The open connections are silent for ever, whatever becomes of the way: the other end has lost its memory of them.
    pub fn abandon(&self) {
        self.state
            .send_modify(|state| state.abandoned = state.accepted);
    }

    /// Closes those that were abandoned.
    pub fn bury(&self) {
        self.state.send_modify(|state| state.cut = state.abandoned);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, state: Arc<watch::Sender<State>>) {
    while let Ok((client, _)) = listener.accept().await {
        state.send_modify(|state| state.accepted += 1);
        let number = state.borrow().accepted;
        let mut watched = state.subscribe();
        let connection = Connection {
            number,
            state: state.subscribe(),
        };
        tokio::spawn(async move {
            tokio::select! {
                () = connection.serve(client) => {}
                _ = watched.wait_for(|state| state.cut >= number) => {}
            }
        });
    }
}

#[derive(Clone)]
struct Connection {
    number: u64,
    state: watch::Receiver<State>,
}

impl Connection {
    async fn serve(self, client: TcpStream) {
        let target = self.state.borrow().target;
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else {
            return;
        };
        let (client_reads, client_writes) = client.into_split();
        let (server_reads, server_writes) = server.into_split();
        tokio::select! {
            () = self.clone().pass_questions(client_reads, server_writes) => {}
            () = self.pass_answers(server_reads, client_writes) => {}
        }
    }

    async fn pass_questions(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let Some(way) = self.await_way(Way::passes_questions).await else {
                return;
            };
            let Ok(count @ 1..) = from.read(&mut chunk).await else {
                return;
            };
            if way == Way::HangUp {
                return;
            }
            self.delay(&way).await;
            if self.await_way(Way::passes_questions).await.is_none()
                || to.write_all(&chunk[..count]).await.is_err()
            {
                return;
            }
        }
    }

    async fn pass_answers(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let way = self.way();
            if let Way::Garbage(garbage) = &way
                && (to.write_all(garbage).await.is_err()
                    || self.await_way(|now| *now != way).await.is_none())
            {
                return;
            }
            tokio::select! {
                // Looked at first, so that nothing passes after a change.
                biased;
                changed = self.state.changed() => if changed.is_err() { return },
                read = from.read(&mut chunk) => {
                    let Ok(count @ 1..) = read else { return };
                    self.delay(&way).await;
                    if self.await_way(Way::passes_answers).await.is_none()
                        || to.write_all(&chunk[..count]).await.is_err()
                    {
                        return;
                    }
                }
            }
        }
    }

    fn way(&self) -> Way {
        self.state.borrow().way_of(self.number).clone()
    }

    /// `None` when the proxy is gone.
    async fn await_way(&mut self, wanted: impl Fn(&Way) -> bool) -> Option<Way> {
        let number = self.number;
        let state = self
            .state
            .wait_for(|state| wanted(state.way_of(number)))
            .await;
        state.ok().map(|state| state.way_of(number).clone())
    }

    async fn delay(&self, way: &Way) {
        if let Way::Slow(delay) = way {
            sleep(*delay).await;
        }
    }
}
