//! What a handler may ask for.

use std::convert::Infallible;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use unisono_proto::Value;
use unisono_proto::connection::CloseReason;
use unisono_proto::value::{ValueError, from_args, from_value};

use crate::ack::Ack;
use crate::handler::Call;
use crate::socket::Socket;
use crate::space::Space;

/// Something a handler takes as an argument. `S` is the state of the namespace.
///
/// An application may have its own:
///
/// ```
/// use unisono::{ArgumentError, Auth, Call, Data, FromCall, Namespace, Socket, State};
///
/// /// The language that the client asked for.
/// struct Language(String);
///
/// impl<S> FromCall<S> for Language {
///     fn from_call(call: &mut Call<'_>, _: &S) -> Result<Self, ArgumentError> {
///         let header = call.socket().handshake().header("accept-language");
///         Ok(Self(header.unwrap_or("en").to_owned()))
///     }
/// }
///
/// #[derive(serde::Deserialize)]
/// struct Who {
///     name: String,
/// }
///
/// async fn greet(
///     socket: Socket,
///     State(greeting): State<&'static str>,
///     Auth(who): Auth<Who>,
///     Language(language): Language,
///     Data((times, suffix)): Data<(u8, Option<String>)>,
/// ) {
///     let text = format!("{greeting} {}{}", who.name, suffix.unwrap_or_default());
///     socket.emit("greeting", &(text, language, times)).ok();
/// }
///
/// # drop(
/// Namespace::with_state("/", "hello").on("greet", greet)
/// # );
/// ```
pub trait FromCall<S>: Sized {
    /// Takes it out of the call.
    ///
    /// # Errors
    /// What the client sent does not fit.
    fn from_call(call: &mut Call<'_>, state: &S) -> Result<Self, ArgumentError>;
}

/// An event's arguments do not fit its handler.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// The arguments cannot be read as the handler's type.
    #[error("the arguments are not what the handler expects: {0}")]
    Data(#[from] ValueError),
    /// Nobody has attached a value of that type to the socket.
    #[error("no value of this type is attached to the socket: {0}")]
    NoSocketData(&'static str),
    /// An argument that only a disconnect handler can have.
    #[error("only a disconnect handler may take a DisconnectReason or LeftRooms")]
    NoReason,
    /// An argument that only an error handler can have.
    #[error("only an error handler may take an EventError")]
    NoError,
}

impl From<Infallible> for ArgumentError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// The event's arguments, read as `T`: a tuple takes one argument for each element, anything else the first argument. A missing argument
/// reads as null, so `Data<Option<T>>` takes an event with or without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<T>(pub T);

/// All of the event's arguments, as they came.
#[derive(Clone, Debug, PartialEq)]
pub struct Args(pub Vec<Value>);

/// The `auth` object that the client sent with CONNECT, read as `T`; null if it sent none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth<T>(pub T);

/// The value of this type that was attached to the socket with [`Socket::set_data`]. Without one the handler is not called, which is
/// counted as an event that does not fit.
#[derive(Debug)]
pub struct SocketData<T>(pub Arc<T>);

/// The namespace's state, given to [`Namespace::with_state`](crate::Namespace::with_state).
#[derive(Clone, Copy, Debug)]
pub struct State<S>(pub S);

/// Why a socket is gone; only for disconnect handlers.
pub type DisconnectReason = CloseReason;

/// The rooms that the socket was in when it went, its own id first; only for disconnect handlers. It is in none any more when they run.
///
/// ```
/// use unisono::{LeftRooms, Namespace, Socket, Space};
///
/// async fn gone(socket: Socket, space: Space, LeftRooms(rooms): LeftRooms) {
///     for room in rooms {
///         space.to(&room).emit("left", socket.id()).ok();
///     }
/// }
///
/// # drop(
/// Namespace::new("/").on_disconnect(gone)
/// # );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftRooms(pub Vec<String>);

impl<S> FromCall<S> for Socket {
    fn from_call(call: &mut Call<'_>, _: &S) -> Result<Self, ArgumentError> {
        Ok(call.socket.clone())
    }
}

impl<S> FromCall<S> for Space {
    fn from_call(call: &mut Call<'_>, _: &S) -> Result<Self, ArgumentError> {
        Ok(Self(call.socket.space().clone()))
    }
}

impl<S: Clone> FromCall<S> for State<S> {
    fn from_call(_: &mut Call<'_>, state: &S) -> Result<Self, ArgumentError> {
        Ok(Self(state.clone()))
    }
}

impl<S, T: DeserializeOwned> FromCall<S> for Data<T> {
    fn from_call(call: &mut Call<'_>, _: &S) -> Result<Self, ArgumentError> {
        Ok(Self(from_args(call.take_arguments())?))
    }
}

impl<S> FromCall<S> for Args {
    fn from_call(call: &mut Call<'_>, _: &S) -> Result<Self, ArgumentError> {
        Ok(Self(call.take_arguments()))
    }
}

impl<S, T: DeserializeOwned> FromCall<S> for Auth<T> {
    fn from_call(call: &mut Call<'_>, _: &S) -> Result<Self, ArgumentError> {
        Ok(Self(from_value(call.socket.auth().clone())?))
    }
}

impl<S, T: Send + Sync + 'static> FromCall<S> for SocketData<T> {
    fn from_call(call: &mut Call<'_>, _: &S) -> Result<Self, ArgumentError> {
        let missing = ArgumentError::NoSocketData(std::any::type_name::<T>());
        call.socket.data().map(Self).ok_or(missing)
    }
}

impl<S> FromCall<S> for Ack {
    fn from_call(call: &mut Call<'_>, _: &S) -> Result<Self, ArgumentError> {
        Ok(Self::new(call.socket.clone(), call.ack.take()))
    }
}

impl<S> FromCall<S> for DisconnectReason {
    fn from_call(call: &mut Call<'_>, _: &S) -> Result<Self, ArgumentError> {
        call.reason.ok_or(ArgumentError::NoReason)
    }
}

impl<S> FromCall<S> for LeftRooms {
    fn from_call(call: &mut Call<'_>, _: &S) -> Result<Self, ArgumentError> {
        match call.reason {
            Some(_) => Ok(Self(std::mem::take(&mut call.left_rooms))),
            None => Err(ArgumentError::NoReason),
        }
    }
}
