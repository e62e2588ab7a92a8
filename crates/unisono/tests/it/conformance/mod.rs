//! What clients of Engine.IO 4 and Socket.IO 5 may rely on, asked of the conformance example as a client would ask it: over the network, and of
//! nothing else. What the library's other tests ask of a server in the same process is not asked again.

mod engine;
mod packets;
mod socket;

use crate::examples::Example;
use crate::raw::{Answer, RawSocket, request, sid_of};

/// What begins each packet of a polling payload but the first.
const SEPARATOR: char = '\u{1e}';

/// A session of the example over long-polling.
struct Session {
    port: u16,
    target: String,
    sid: String,
}

async fn start() -> Example {
    Example::start("conformance").await
}

impl Session {
    /// Of plain Engine.IO.
    async fn engine(server: &Example) -> Self {
        Self::open(server.port, "/engine.io/").await
    }

    /// Of Socket.IO; nothing is joined.
    async fn socket(server: &Example) -> Self {
        Self::open(server.port, "/socket.io/").await
    }

    async fn open(port: u16, path: &str) -> Self {
        let target = format!("{path}?EIO=4&transport=polling");
        let answer = request(port, "GET", &target, "", "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let sid = sid_of(&answer.body);
        Self {
            port,
            target: format!("{target}&sid={sid}"),
            sid,
        }
    }

    async fn request(&self, method: &str, headers: &str, body: &str) -> Answer {
        request(self.port, method, &self.target, headers, body).await
    }

    async fn get(&self) -> Answer {
        self.request("GET", "", "").await
    }

    async fn post(&self, body: &str) -> Answer {
        self.request("POST", "", body).await
    }

    /// Asserts that the server does not know the session any more.
    async fn is_gone(&self) {
        let answer = self.get().await;
        let expected = r#"{"code":1,"message":"Session ID unknown"}"#;
        assert_eq!((answer.status, &*answer.body), (400, expected));
    }

    /// A WebSocket that may take the session over.
    async fn candidate(&self) -> RawSocket {
        let target = self.target.replace("polling", "websocket");
        RawSocket::connect_to(self.port, &target).await.unwrap()
    }
}

/// A WebSocket of plain Engine.IO, its open packet read.
async fn engine_socket(server: &Example) -> RawSocket {
    open_socket(server, "/engine.io/").await
}

/// A WebSocket of Socket.IO, its open packet read; nothing is joined.
async fn socket_io(server: &Example) -> RawSocket {
    open_socket(server, "/socket.io/").await
}

async fn open_socket(server: &Example, path: &str) -> RawSocket {
    let target = format!("{path}?EIO=4&transport=websocket");
    let mut socket = RawSocket::connect_to(server.port, &target).await.unwrap();
    assert!(socket.text().await.starts_with("0{"));
    socket
}
