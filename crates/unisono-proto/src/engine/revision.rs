//! The two revisions of the protocol that clients speak.

/// A revision of Engine.IO. A session keeps the one that it was opened with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Revision {
    /// Revision 3, of Socket.IO 2 clients: the client pings, polling payloads are made of lengths, binary data has a type byte.
    V3,
    /// Revision 4, of Socket.IO 3 and 4 clients.
    #[default]
    V4,
}

impl Revision {
    /// The number that stands behind `EIO=` on the wire.
    pub fn number(self) -> u8 {
        match self {
            Revision::V3 => 3,
            Revision::V4 => 4,
        }
    }
}
