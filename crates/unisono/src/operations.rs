//! What can be done to many sockets at once.

use std::sync::atomic::Ordering::Relaxed;

use unisono_cluster::{Members, RequestBody};

use crate::broadcast::Broadcast;
use crate::error::EmitError;
use crate::requests::{Answers, RemoteSocket};
use crate::socket::Socket;
use crate::space::{Space, SpaceInner};

/// # Operations
///
/// They apply to those whom the broadcast would reach, on all nodes, Node.js pods among them; to those on this node alone after
/// [`local`](Self::local). On this node they take effect at once; the other nodes do as they are told when they hear of it, in the order
/// of these calls and of what this node emits. A bus that is away is no error.
///
/// With the sharded adapter a room may have a channel of its own, to which a node listens only from then on when its first socket is in it.
/// What this node emits to a room reaches those whom it has told to join all the same; what other nodes emit to it in the first moments may
/// not.
impl Broadcast {
    /// The sockets. Waits for the other nodes, at most for [`requests_timeout`](crate::IoBuilder::requests_timeout).
    ///
    /// ```
    /// # async fn list(space: unisono::Space) -> Result<(), unisono::EmitError> {
    /// let sockets = space.to("lobby").fetch_sockets().await?;
    /// if !sockets.nodes.have_all_answered() {
    ///     println!("there may be more: {:?}", sockets.nodes);
    /// }
    /// for socket in sockets {
    ///     println!("{} in {:?}: {:?}", socket.id(), socket.rooms(), socket.data());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`EmitError::TooManyRequests`]. Nodes that do not answer are no error, see [`Answers::nodes`]. A socket of another node whose `auth` or
    /// data cannot travel (nested deeper than some 60 levels, or too large) comes without it. A node whose sockets take more than 16 MiB to
    /// describe, about ten thousand, leaves out the rest and counts it as `too_large`.
    pub async fn fetch_sockets(self) -> Result<Answers<RemoteSocket>, EmitError> {
        let (space, is_local, members) = self.into_members();
        let mut all: Vec<_> = RemoteSocket::local(&space.0.members(&members)).collect();
        if is_local {
            return Ok(Answers::local(all));
        }
        let others = RequestBody::Fetch { members };
        let others = space.0.ask_others(others).await?;
        let sockets = others.answers.into_iter();
        all.extend(sockets.filter_map(|socket| RemoteSocket::read(&space, socket)));
        Ok(Answers {
            answers: all,
            nodes: others.nodes,
        })
    }

    /// Puts the sockets into rooms, each into all or none.
    ///
    /// # Errors
    /// [`EmitError::Room`] if at least one socket of this node is in too many rooms; the others have joined. [`EmitError::Cluster`] for more
    /// than 16,384 rooms; nothing happens.
    pub fn sockets_join<R: AsRef<str>>(
        self,
        rooms: impl IntoIterator<Item = R>,
    ) -> Result<(), EmitError> {
        let (space, is_local, members) = self.into_members();
        let rooms = names(rooms);
        if !is_local {
            let (members, rooms) = (members.clone(), rooms.clone());
            space.0.tell_others(RequestBody::Join { members, rooms })?;
        }
        space.0.join_members(&members, &rooms)
    }

    /// Takes the sockets out of rooms.
    ///
    /// # Errors
    /// It cannot be written for the other nodes, or names more than 16,384 rooms; nothing happens.
    pub fn sockets_leave<R: AsRef<str>>(
        self,
        rooms: impl IntoIterator<Item = R>,
    ) -> Result<(), EmitError> {
        let (space, is_local, members) = self.into_members();
        let rooms = names(rooms);
        if !is_local {
            let (members, rooms) = (members.clone(), rooms.clone());
            space.0.tell_others(RequestBody::Leave { members, rooms })?;
        }
        space.0.leave_members(&members, &rooms);
        Ok(())
    }

    /// Ends the sockets with a DISCONNECT packet, and with `close` the connections under them too. Stock clients do not come back by
    /// themselves.
    ///
    /// # Errors
    /// It cannot be written for the other nodes; nothing happens.
    pub fn disconnect_sockets(self, close: bool) -> Result<(), EmitError> {
        let (space, is_local, members) = self.into_members();
        if !is_local {
            let members = members.clone();
            space
                .0
                .tell_others(RequestBody::Disconnect { members, close })?;
        }
        space.0.disconnect_members(&members, close);
        Ok(())
    }
}

fn names<R: AsRef<str>>(names: impl IntoIterator<Item = R>) -> Vec<String> {
    let names = names.into_iter();
    names.map(|name| name.as_ref().to_owned()).collect()
}

impl Space {
    /// All sockets in the namespace, on all nodes; as [`Broadcast::fetch_sockets`].
    ///
    /// # Errors
    /// As [`Broadcast::fetch_sockets`].
    pub async fn fetch_sockets(&self) -> Result<Answers<RemoteSocket>, EmitError> {
        self.broadcast().fetch_sockets().await
    }

    /// The sockets in the namespace on this node.
    pub fn local_sockets(&self) -> Vec<Socket> {
        self.0.members(&Members::default())
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
        self.next_ack_id.fetch_add(1, Relaxed)
    }
}
