//! The service inside of layers that the application has put around it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tower_layer::Layer;
use tower_service::Service;
use unisono::{AnswerBody, Io, Namespace, RequestBody};

use crate::raw::{PATIENCE, RawSocket, get};

/// Puts its own answer in place of the one that lets a WebSocket in.
#[derive(Clone)]
struct NoWebSockets<S>(S);

impl<S, B> Service<Request<RequestBody>> for NoWebSockets<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            let mut answer = answer.await?;
            if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                *answer.status_mut() = StatusCode::FORBIDDEN;
                answer.headers_mut().clear();
            }
            Ok(answer)
        })
    }
}

async fn answer(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = vec![0; 4096];
    let count = timeout(PATIENCE, stream.read(&mut read)).await;
    String::from_utf8_lossy(&read[..count.expect("an answer").unwrap()]).into_owned()
}

#[tokio::test]
async fn may_answer_in_place_of_the_one_that_lets_a_websocket_in() {
    let io = Io::builder().namespace(Namespace::new("/")).build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = NoWebSockets(io.service());
    tokio::spawn(unisono::serve(listener, service, std::future::pending()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let handshake = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let refused = answer(&mut stream, handshake).await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    // The connection is HTTP still.
    let poll = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n";
    let opened = answer(&mut stream, poll).await;
    assert!(opened.starts_with("HTTP/1.1 200 "), "{opened}");
    let stats = io.stats();
    assert_eq!(
        (stats.connections_websocket, stats.connections_polling),
        (0, 1)
    );
}

/// Never ready.
#[derive(Clone)]
struct Full;

impl Service<Request<RequestBody>> for Full {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = std::future::Pending<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request<RequestBody>) -> Self::Future {
        unreachable!("it is never ready")
    }
}

#[tokio::test]
async fn what_is_inside_and_not_ready_holds_back_its_own_requests_alone() {
    let io = Io::builder().namespace(Namespace::new("/")).build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let service = io.layer().layer(Full);
    let serving = tokio::spawn(unisono::serve(listener, service, std::future::pending()));
    let mut other = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n";
    other.write_all(request).await.unwrap();
    let polling = get(port, "EIO=4&transport=polling").await;
    assert_eq!(polling.status, 200, "{polling:?}");
    RawSocket::enter(port).await;
    let unanswered = other.try_read(&mut [0; 1]).unwrap_err();
    assert_eq!(unanswered.kind(), std::io::ErrorKind::WouldBlock);
    serving.abort();
}
