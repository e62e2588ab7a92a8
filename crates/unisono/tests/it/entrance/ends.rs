//! How a connection ends that has not sent a whole request yet, or whose first one is not answered yet.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use unisono::{Io, Namespace};

use super::PLAIN;
use crate::hostile::until;
use crate::raw::PATIENCE;

/// A server that asks before it lets anybody in.
struct Door {
    io: Io,
    port: u16,
    /// A permit for each who may come in.
    gate: Arc<Semaphore>,
    asked: mpsc::UnboundedReceiver<()>,
    shutdown: Option<oneshot::Sender<()>>,
    serving: JoinHandle<std::io::Result<()>>,
}

/// Copies of the gate while nobody stands before it: the test's and the server's.
const AT_REST: usize = 2;

type Shutdown = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Door {
    async fn new() -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let (asks, asked) = mpsc::unbounded_channel();
        let passing = gate.clone();
        let io = Io::builder()
            .namespace(Namespace::new("/"))
            .allow_request(move |_| {
                let (passing, asks) = (passing.clone(), asks.clone());
                async move {
                    asks.send(()).unwrap();
                    passing.acquire().await.unwrap().forget();
                    Ok(())
                }
            })
            .build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (shutdown, stop) = oneshot::channel::<()>();
        let stop: Shutdown = Box::pin(async move {
            stop.await.ok();
        });
        let serving = tokio::spawn(unisono::serve(listener, io.service(), stop));
        Self {
            io,
            port,
            gate,
            asked,
            shutdown: Some(shutdown),
            serving,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    /// A client whose request waits for the application.
    async fn waiting(&mut self) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(PLAIN.as_bytes()).await.unwrap();
        timeout(PATIENCE, self.asked.recv()).await.unwrap().unwrap();
        stream
    }

    fn stop(&mut self) {
        self.shutdown.take().unwrap().send(()).unwrap();
    }

    async fn served(self) {
        let served = timeout(PATIENCE, self.serving).await;
        served.expect("an end in time").unwrap().unwrap();
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    let reading = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    let _ = reading.expect("an end in time");
    String::from_utf8_lossy(&rest).into_owned()
}

#[tokio::test]
async fn a_client_that_goes_while_it_waits_is_forgotten() {
    let mut door = Door::new().await;
    let stream = door.waiting().await;
    assert_eq!(door.io.stats().handshakes, 0);
    drop(stream);
    // Its request is dropped with it.
    until("nobody asks", || Arc::strong_count(&door.gate) == AT_REST).await;
    let mut second = door.waiting().await;
    door.gate.add_permits(1);
    let mut head = [0; 12];
    second.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    until("one is in", || door.io.stats().connections_websocket == 1).await;
    assert_eq!(door.io.stats().handshakes, 1);
}

#[tokio::test]
async fn a_client_that_only_stops_sending_is_answered_if_that_can_be_at_once() {
    let mut door = Door::new().await;
    door.gate.add_permits(1);
    let mut stream = door.waiting().await;
    stream.shutdown().await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains("0{\"sid\""), "{answer}");
}

#[tokio::test]
async fn the_shutdown_does_not_wait_for_those_who_say_nothing() {
    let mut door = Door::new().await;
    let mut silent = door.connect().await;
    // It has been accepted when somebody behind it has been served.
    let behind = door.waiting().await;
    drop(behind);
    door.stop();
    assert_eq!(rest(&mut silent).await, "");
    door.served().await;
}

#[tokio::test]
async fn the_shutdown_waits_for_those_who_have_asked() {
    let mut door = Door::new().await;
    let mut stream = door.waiting().await;
    door.stop();
    // The listener is closed.
    let port = door.port;
    let refused = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, refused).await.expect("a closed listener");
    door.gate.add_permits(1);
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    drop(stream);
    door.served().await;
}

#[tokio::test]
async fn nothing_is_left_of_those_who_were_never_let_in() {
    let mut door = Door::new().await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(door.waiting().await);
    }
    drop(streams);
    door.stop();
    let io = door.io.clone();
    door.served().await;
    assert_eq!(io.stats().handshakes, 0);
    assert_eq!(io.stats().connections_websocket, 0);
}
