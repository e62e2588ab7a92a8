//! Socket.IO as a tower service: beside other routes, on the same port.

mod address;
mod answer;
mod body;
mod cookie;
mod entry;
mod handover;
mod handshake;
mod hooks;
mod opening;
mod polling;
mod request;
mod switch;
mod websocket;

use std::convert::Infallible;
use std::future::{Ready, poll_fn, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf;
use http::{Request, Response, StatusCode};
use hyper::body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::server::Server;
pub use body::{AnswerBody, ResponseBody};
pub use cookie::{Cookie, CookieError, SameSite};
pub(crate) use handover::{Handover, Life};
pub(crate) use hooks::Hooks;
pub use hooks::{HandshakeRequest, ResponseContext};
pub(crate) use opening::Opening;
pub(crate) use switch::Switch;

/// The peer's address as a request extension. [`serve`](crate::serve()) sets it; other HTTP servers may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub std::net::SocketAddr);

/// Puts Socket.IO in front of another service; made by [`Io::layer`](crate::Io::layer), and by
/// [`Engine::layer`](crate::engine::Engine::layer) for plain Engine.IO.
///
/// ```no_run
/// use axum::{Router, extract::State, routing::post};
/// use unisono::{Io, Namespace, Space};
///
/// /// A route emits like any handler.
/// async fn announce(State(space): State<Space>, text: String) {
///     space.emit("announcement", &text).ok();
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let io = Io::builder().namespace(Namespace::new("/")).build();
/// let space = io.of("/").expect("it was added above");
/// let app = Router::new()
///     .route("/announce", post(announce))
///     .with_state(space)
///     .layer(io.layer());
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// axum::serve(listener, app).await
/// # }
/// ```
#[derive(Clone)]
pub struct SocketIoLayer {
    server: Arc<Server>,
}

impl SocketIoLayer {
    pub(crate) fn new(server: Arc<Server>) -> Self {
        Self { server }
    }
}

impl<S> Layer<S> for SocketIoLayer {
    type Service = SocketIoService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SocketIoService::new(self.server.clone(), inner)
    }
}

/// Answers requests under the path, passes all others on.
#[derive(Clone)]
pub struct SocketIoService<S> {
    server: Arc<Server>,
    inner: S,
}

impl<S> SocketIoService<S> {
    pub(crate) fn new(server: Arc<Server>, inner: S) -> Self {
        Self { server, inner }
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for SocketIoService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    ResBody: Send + 'static,
    ReqBody: Body + Send + Unpin + 'static,
    ReqBody::Data: Buf + Send,
    ReqBody::Error: std::error::Error + Send + Sync + 'static,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Self::Response, S::Error>>;

    /// Always: what is inside is waited for by those who want it. A layer there that lets in a few at a time is not held by polls that wait.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        if self.server.config.holds(request.uri().path()) {
            return Box::pin(request::handle(self.server.clone(), request));
        }
        let mut inner = self.inner.clone();
        Box::pin(async move {
            poll_fn(|cx| inner.poll_ready(cx)).await?;
            Ok(inner.call(request).await?.map(ResponseBody::inner))
        })
    }
}

/// Answers everything with 404.
#[derive(Clone, Copy, Debug)]
pub struct NotFound;

impl<B> Service<Request<B>> for NotFound {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(answer::empty(StatusCode::NOT_FOUND)))
    }
}
