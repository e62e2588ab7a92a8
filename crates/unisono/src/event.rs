//! Events on their way to their handlers.

use unisono_proto::Value;

use crate::ack::Awaited;
use crate::extract::{ArgumentError, FromCall};
use crate::handler::{BoxFuture, Call};
use crate::namespace::Handlers;
use crate::socket::Socket;
use crate::stats::Refusal;

/// An event of a client: its name and its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The name, then the arguments.
    pub(crate) args: Vec<Value>,
}

impl Event {
    /// An event of this name.
    pub fn new(name: &str, args: Vec<Value>) -> Self {
        let mut all = args;
        all.insert(0, name.into());
        Self { args: all }
    }

    /// The name; clients may also send a number as one, which no handler but the fallback gets.
    pub fn name(&self) -> Option<&str> {
        self.args.first().and_then(Value::as_str)
    }

    /// The arguments.
    pub fn args(&self) -> &[Value] {
        self.args.get(1..).unwrap_or_default()
    }

    /// The arguments, to be changed.
    pub fn args_mut(&mut self) -> &mut [Value] {
        self.args.get_mut(1..).unwrap_or_default()
    }
}

/// Why an event does not reach its handler.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EventError {
    message: String,
}

impl EventError {
    /// The client is told nothing; whoever wants to tell it takes an [`Ack`](crate::Ack) or emits.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

impl<S> FromCall<S> for Event {
    fn from_call(call: &mut Call<'_>, _: &S) -> Result<Self, ArgumentError> {
        let args = std::mem::take(&mut call.args);
        Ok(Self { args })
    }
}

impl<S> FromCall<S> for EventError {
    fn from_call(call: &mut Call<'_>, _: &S) -> Result<Self, ArgumentError> {
        call.error.take().ok_or(ArgumentError::NoError)
    }
}

impl Handlers {
    /// Starts what is to be done for an event whose turn has come.
    pub(crate) fn handle(
        &self,
        socket: &Socket,
        event: Event,
        ack: Option<u64>,
    ) -> Option<BoxFuture> {
        if let Some(observer) = &self.observer {
            observer(socket, &event);
        }
        if self.packet_middleware.is_empty() {
            return self.dispatch(socket, event, ack.map(Awaited::of_one));
        }
        let ack = ack.map(Awaited::of_many);
        Some(Box::pin(pass(socket.clone(), event, ack)))
    }

    fn dispatch(&self, socket: &Socket, event: Event, ack: Option<Awaited>) -> Option<BoxFuture> {
        let handler = self.event(&event.args)?;
        match handler.call(Call::event(socket, event.args, ack)) {
            Ok(future) => Some(future),
            Err(error) => self.does_not_fit(socket, &error),
        }
    }

    /// Counts what does not fit, and tells the error handler.
    pub(crate) fn does_not_fit(&self, socket: &Socket, error: &ArgumentError) -> Option<BoxFuture> {
        socket.space().counters.refuse(Refusal::Arguments);
        tracing::debug!(socket = socket.log_id(), %error, "an event does not fit its handler");
        self.tell(socket, EventError::new(error.to_string()))
    }

    fn tell(&self, socket: &Socket, error: EventError) -> Option<BoxFuture> {
        // An error handler that takes more than there is has nobody to be told.
        self.error.as_ref()?.call(Call::error(socket, error)).ok()
    }
}

/// Passes an event through the middleware, then to its handler.
async fn pass(socket: Socket, mut event: Event, ack: Option<Awaited>) {
    let handlers = socket.space().handlers.clone();
    for middleware in &handlers.packet_middleware {
        let outcome = match middleware.call(Call::event(&socket, event.args, ack.clone())) {
            Ok(running) => running.await,
            Err(error) => {
                if let Some(told) = handlers.does_not_fit(&socket, &error) {
                    told.await;
                }
                return;
            }
        };
        match outcome {
            Ok(passed) => event = passed,
            Err(error) => {
                socket.space().counters.refuse(Refusal::Event);
                if let Some(told) = handlers.tell(&socket, error) {
                    told.await;
                }
                return;
            }
        }
    }
    // A middleware may have ended it.
    if socket.is_ended() {
        return;
    }
    if let Some(handled) = handlers.dispatch(&socket, event, ack) {
        handled.await;
    }
}
