//! A server on a free port, with handlers that the tests talk to.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use unisono::{Ack, Args, Cors, Io, IoBuilder, Namespace, Socket, Space, Value};

/// A running server; it stops when dropped.
pub(crate) struct TestServer {
    pub(crate) io: Io,
    pub(crate) port: u16,
    task: JoinHandle<()>,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TestServer {
    /// Defaults, and the handlers of [`namespace`].
    pub(crate) async fn start() -> Self {
        Self::with(|io| io).await
    }

    /// The same with other settings.
    pub(crate) async fn with(configure: impl FnOnce(IoBuilder) -> IoBuilder) -> Self {
        let io = configure(
            Io::builder()
                .namespace(namespace("/"))
                .namespace(namespace("/custom")),
        )
        .build();
        Self::serve(io).await
    }

    /// One namespace, and defaults.
    pub(crate) async fn of<S: Clone + Send + Sync + 'static>(namespace: Namespace<S>) -> Self {
        Self::serve(Io::builder().namespace(namespace).build()).await
    }

    /// Serves what the test has built.
    pub(crate) async fn serve(io: Io) -> Self {
        Self::serve_on(0, io).await
    }

    /// The same on a port that is known to be free.
    pub(crate) async fn serve_on(port: u16, io: Io) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let service = io.service();
        let task = tokio::spawn(async move {
            unisono::serve(listener, service, std::future::pending())
                .await
                .unwrap();
        });
        Self { io, port, task }
    }

    /// Stops accepting and gives the port, which is free then.
    pub(crate) async fn stop(mut self) -> u16 {
        self.task.abort();
        let _ = (&mut self.task).await;
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn refused(&self, reason: &str) -> u64 {
        self.io
            .stats()
            .refused
            .iter()
            .find(|(name, _)| *name == reason)
            .map(|(_, n)| *n)
            .expect("a known reason")
    }
}

/// Short heartbeats and time-outs, for tests that wait for them.
pub(crate) fn quick(io: IoBuilder) -> IoBuilder {
    io.ping_interval(Duration::from_millis(300))
        .ping_timeout(Duration::from_millis(200))
        .connect_timeout(Duration::from_secs(1))
}

pub(crate) fn cors() -> Cors {
    Cors::new(["https://jamz.example"]).credentials(true)
}

/// The same handlers as the Node pod of the end-to-end tests, so that one test can talk to either.
pub(crate) fn namespace(name: &str) -> Namespace {
    Namespace::new(name)
        .on_connect(async |socket: Socket| {
            socket.emit("auth", socket.auth()).unwrap();
        })
        .on("message", async |socket: Socket, Args(args): Args| {
            socket.emit("message-back", &Spread(args)).unwrap();
        })
        .on("message-with-ack", async |Args(args): Args, ack: Ack| {
            ack.send(&Spread(args)).unwrap();
        })
        .on(
            "join",
            async |socket: Socket, Args(rooms): Args, ack: Ack| {
                for room in rooms.iter().filter_map(Value::as_str) {
                    socket.join(room).unwrap();
                }
                ack.send(&socket.rooms()).unwrap();
            },
        )
        .on(
            "leave",
            async |socket: Socket, Args(rooms): Args, ack: Ack| {
                for room in rooms.iter().filter_map(Value::as_str) {
                    socket.leave(room);
                }
                ack.send(&socket.rooms()).unwrap();
            },
        )
        .on(
            "echo",
            async |socket: Socket, Args(args): Args, ack: Ack| {
                socket.emit("echo", &Spread(args.clone())).unwrap();
                ack.send(&Spread(args)).unwrap();
            },
        )
        .on("in-room", async |space: Space, Args(args): Args| {
            let (room, event, rest) = room_event(args);
            space.to(&room).emit(&event, &Spread(rest)).unwrap();
        })
        .on("to-room", async |socket: Socket, Args(args): Args| {
            let (room, event, rest) = room_event(args);
            socket.to(&room).emit(&event, &Spread(rest)).unwrap();
        })
        .on("broadcast", async |socket: Socket, Args(mut args): Args| {
            let event = args.remove(0);
            socket
                .broadcast()
                .emit(event.as_str().unwrap(), &Spread(args))
                .unwrap();
        })
        .on("panic", async |_: Socket| panic!("a handler may panic"))
}

fn room_event(mut args: Vec<Value>) -> (String, String, Vec<Value>) {
    let rest = args.split_off(2);
    (
        args[0].as_str().unwrap().to_owned(),
        args[1].as_str().unwrap().to_owned(),
        rest,
    )
}

/// A list as several arguments, of whatever length.
pub(crate) struct Spread(pub(crate) Vec<Value>);

impl serde::Serialize for Spread {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for value in &self.0 {
            tuple.serialize_element(value)?;
        }
        tuple.end()
    }
}

#[test]
#[should_panic(expected = "there are two namespaces `/chat`")]
fn a_namespace_is_declared_once() {
    let io = Io::builder().namespace(Namespace::new("chat"));
    drop(io.namespace(Namespace::new("/chat")));
}

#[test]
#[should_panic(expected = "no client can join `/a,b`")]
fn a_namespace_that_nobody_could_join_is_refused() {
    drop(Io::builder().namespace(Namespace::new("/a,b")));
}
