//! The application's handlers, their types forgotten.

use std::future::Future;

use super::{CloseReason, EngineSocket, Message};
use crate::handler::BoxFuture;

/// Those that are absent have nothing to do.
#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) open: Option<Box<dyn Fn(EngineSocket) -> BoxFuture + Send + Sync>>,
    pub(crate) message: Option<Box<dyn Fn(EngineSocket, Message) -> BoxFuture + Send + Sync>>,
    pub(crate) close: Option<Box<dyn Fn(EngineSocket, CloseReason) -> BoxFuture + Send + Sync>>,
}

impl Handlers {
    pub(super) fn set_open<F, Fut>(&mut self, handler: F)
    where
        F: Fn(EngineSocket) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.open = Some(Box::new(move |socket| Box::pin(handler(socket))));
    }

    pub(super) fn set_message<F, Fut>(&mut self, handler: F)
    where
        F: Fn(EngineSocket, Message) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.message = Some(Box::new(move |socket, message| {
            Box::pin(handler(socket, message))
        }));
    }

    pub(super) fn set_close<F, Fut>(&mut self, handler: F)
    where
        F: Fn(EngineSocket, CloseReason) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.close = Some(Box::new(move |socket, reason| {
            Box::pin(handler(socket, reason))
        }));
    }
}
