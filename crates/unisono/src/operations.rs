//! What can be done to many sockets at once.

use unisono_proto::Value;

use crate::broadcast::Broadcast;
use crate::conn::Handshake;
use crate::error::EmitError;
use crate::socket::Socket;
use crate::space::{Space, SpaceInner};

/// A socket as it was when it was fetched.
#[derive(Clone, Debug)]
pub struct RemoteSocket {
    socket: Socket,
    rooms: Vec<String>,
    data: Value,
}

impl RemoteSocket {
    fn new(socket: Socket) -> Self {
        Self {
            rooms: socket.rooms(),
            data: socket.shared(),
            socket,
        }
    }

    /// The Socket.IO id, which is also a room: whatever can be done to rooms can be done to this socket.
    pub fn id(&self) -> &str {
        self.socket.id()
    }

    /// The request that opened its connection.
    pub fn handshake(&self) -> &Handshake {
        self.socket.handshake()
    }

    /// The `auth` object that its client sent.
    pub fn auth(&self) -> &Value {
        self.socket.auth()
    }

    /// Its rooms, its own id first.
    pub fn rooms(&self) -> &[String] {
        &self.rooms
    }

    /// What was shared of it with [`Socket::share`]; null if nothing was.
    pub fn data(&self) -> &Value {
        &self.data
    }
}

/// # Operations
///
/// They apply to those whom the broadcast would reach, on this node. With a broker there may be more on other nodes, which cannot be asked:
/// say [`local`](Self::local), or it is an error and nothing happens.
impl Broadcast {
    /// The sockets.
    ///
    /// ```
    /// # async fn list(space: unisono::Space) -> Result<(), unisono::EmitError> {
    /// for socket in space.to("lobby").local().fetch_sockets().await? {
    ///     println!("{} in {:?}: {:?}", socket.id(), socket.rooms(), socket.data());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`EmitError::OtherNodes`].
    #[expect(
        clippy::unused_async,
        reason = "answers of other nodes have to be waited for"
    )]
    pub async fn fetch_sockets(self) -> Result<Vec<RemoteSocket>, EmitError> {
        let sockets = self.here()?;
        Ok(sockets.into_iter().map(RemoteSocket::new).collect())
    }

    /// Puts the sockets into rooms, each into all or none.
    ///
    /// # Errors
    /// [`EmitError::OtherNodes`], or [`EmitError::Room`] if at least one is in too many rooms; the others have joined.
    pub fn sockets_join<R: AsRef<str>>(
        self,
        rooms: impl IntoIterator<Item = R>,
    ) -> Result<(), EmitError> {
        let rooms: Vec<R> = rooms.into_iter().collect();
        let mut all = Ok(());
        for socket in self.here()? {
            if let Err(error) = socket.join_all(&rooms) {
                all = Err(error.into());
            }
        }
        all
    }

    /// Takes the sockets out of rooms.
    ///
    /// # Errors
    /// [`EmitError::OtherNodes`].
    pub fn sockets_leave<R: AsRef<str>>(
        self,
        rooms: impl IntoIterator<Item = R>,
    ) -> Result<(), EmitError> {
        let rooms: Vec<R> = rooms.into_iter().collect();
        for socket in self.here()? {
            rooms.iter().for_each(|room| socket.leave(room.as_ref()));
        }
        Ok(())
    }

    /// Ends the sockets with a DISCONNECT packet, and with `close` the connections under them too. Stock clients do not come back by
    /// themselves.
    ///
    /// # Errors
    /// [`EmitError::OtherNodes`].
    pub fn disconnect_sockets(self, close: bool) -> Result<(), EmitError> {
        for socket in self.here()? {
            match close {
                true => socket.disconnect_and_close(),
                false => socket.disconnect(),
            }
        }
        Ok(())
    }

    fn here(&self) -> Result<Vec<Socket>, EmitError> {
        self.must_be_here()?;
        let mut sockets = Vec::new();
        let space = &self.space.0;
        space.rooms().select(&self.rooms, &self.except, |resident| {
            sockets.push(Socket(resident.socket.clone()));
        });
        Ok(sockets)
    }
}

impl Space {
    /// All sockets in the namespace; as [`Broadcast::fetch_sockets`].
    ///
    /// # Errors
    /// [`EmitError::OtherNodes`].
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, EmitError> {
        self.broadcast().fetch_sockets().await
    }

    /// The sockets in the namespace on this node.
    pub fn local_sockets(&self) -> Vec<Socket> {
        let mut sockets = Vec::new();
        self.0.rooms().select::<&str, &str>(&[], &[], |resident| {
            sockets.push(Socket(resident.socket.clone()));
        });
        sockets
    }

    /// The rooms with a member or a watcher on this node, without those of the sockets' own ids.
    pub fn local_room_names(&self) -> Vec<String> {
        self.0.rooms().room_names().map(str::to_owned).collect()
    }
}

impl SpaceInner {
    /// An id for an event that wants answers: no other event of this namespace on this node has it, so that one encoding serves all
    /// recipients.
    pub(crate) fn next_ack(&self) -> u64 {
        self.next_ack_id
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
}
