//! What a handler is: an async function whose arguments say what it needs.

use std::future::Future;
use std::pin::Pin;

use unisono_proto::Value;
use unisono_proto::connection::CloseReason;

use crate::ack::Awaited;
use crate::event::EventError;
use crate::extract::{ArgumentError, FromCall};
use crate::socket::Socket;

pub(crate) type BoxFuture<O = ()> = Pin<Box<dyn Future<Output = O> + Send>>;

/// One call of a handler: the socket it is for, and what came with the event. Arguments take their part out of it.
#[derive(Debug)]
pub struct Call<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) args: Vec<Value>,
    pub(crate) ack: Option<Awaited>,
    pub(crate) reason: Option<CloseReason>,
    /// The rooms that the socket was in when it went.
    pub(crate) left_rooms: Vec<String>,
    pub(crate) error: Option<EventError>,
}

impl<'a> Call<'a> {
    pub(crate) fn plain(socket: &'a Socket) -> Self {
        Self {
            socket,
            args: Vec::new(),
            ack: None,
            reason: None,
            left_rooms: Vec::new(),
            error: None,
        }
    }

    pub(crate) fn event(socket: &'a Socket, args: Vec<Value>, ack: Option<Awaited>) -> Self {
        Self {
            args,
            ack,
            ..Self::plain(socket)
        }
    }

    pub(crate) fn disconnect(
        socket: &'a Socket,
        reason: CloseReason,
        left_rooms: Vec<String>,
    ) -> Self {
        Self {
            reason: Some(reason),
            left_rooms,
            ..Self::plain(socket)
        }
    }

    pub(crate) fn error(socket: &'a Socket, error: EventError) -> Self {
        Self {
            error: Some(error),
            ..Self::plain(socket)
        }
    }

    /// The socket that the event came from.
    pub fn socket(&self) -> &Socket {
        self.socket
    }

    /// The event's name.
    pub fn event_name(&self) -> Option<&str> {
        self.args.first().and_then(Value::as_str)
    }

    /// Takes all arguments out, without the event's name.
    pub fn take_arguments(&mut self) -> Vec<Value> {
        if self.args.is_empty() {
            Vec::new()
        } else {
            self.args.split_off(1)
        }
    }
}

/// An async function that handles events. Implemented for functions of up to six arguments that all implement
/// [`FromCall<S>`](FromCall); `S` is the namespace's state, `O` what the function returns.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used here in a namespace with this state",
    note = "it must be an `async fn` that returns `{O}`; its arguments are `Socket`, `Space`, `Data<T>`, `Args`, `Event`, `Ack`, `Auth<T>`, `SocketData<T>`, `State<S>`, `DisconnectReason` or `LeftRooms`"
)]
pub trait Handler<T, S, O = ()>: Clone + Send + Sync + 'static {
    /// Takes the arguments out of the call and starts.
    ///
    /// # Errors
    /// An argument does not fit what the client sent. The event is then counted and dropped; the socket stays.
    fn call(
        &self,
        call: Call<'_>,
        state: &S,
    ) -> Result<Pin<Box<dyn Future<Output = O> + Send>>, ArgumentError>;
}

macro_rules! impl_handler {
    ($($argument:ident),*) => {
        impl<F, Fut, S, O, $($argument,)*> Handler<($($argument,)*), S, O> for F
        where
            F: Fn($($argument),*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = O> + Send + 'static,
            $($argument: FromCall<S>,)*
        {
            #[allow(
                unused_mut,
                unused_variables,
                non_snake_case,
                reason = "the macro names variables after their types, and some functions have none"
            )]
            fn call(&self, mut call: Call<'_>, state: &S) -> Result<BoxFuture<O>, ArgumentError> {
                $(let $argument = $argument::from_call(&mut call, state)?;)*
                Ok(Box::pin(self($($argument),*)))
            }
        }
    };
}

impl_handler!();
impl_handler!(A);
impl_handler!(A, B);
impl_handler!(A, B, C);
impl_handler!(A, B, C, D);
impl_handler!(A, B, C, D, E);
impl_handler!(A, B, C, D, E, G);

/// A handler whose argument types and state are forgotten: what a namespace keeps.
pub(crate) trait Erased<O = ()>: Send + Sync {
    fn call(&self, call: Call<'_>) -> Result<BoxFuture<O>, ArgumentError>;
}

struct WithState<H, T, S> {
    handler: H,
    state: S,
    arguments: std::marker::PhantomData<fn(T)>,
}

impl<H, T, S, O> Erased<O> for WithState<H, T, S>
where
    H: Handler<T, S, O>,
    S: Send + Sync,
{
    fn call(&self, call: Call<'_>) -> Result<BoxFuture<O>, ArgumentError> {
        self.handler.call(call, &self.state)
    }
}

pub(crate) fn erase<H, T, S, O>(handler: H, state: S) -> Box<dyn Erased<O>>
where
    H: Handler<T, S, O>,
    S: Send + Sync + 'static,
    T: 'static,
{
    Box::new(WithState {
        handler,
        state,
        arguments: std::marker::PhantomData::<fn(T)>,
    })
}
