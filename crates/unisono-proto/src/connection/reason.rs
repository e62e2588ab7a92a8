//! Why connections end.

/// Why a connection ended, as Node's `disconnect` event names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client ended the transport.
    TransportClose,
    /// The transport failed, or the client broke its rules (too large a message, a second poll, ...).
    TransportError,
    /// No pong in time.
    PingTimeout,
    /// A packet that cannot be decoded at the Engine.IO layer.
    ParseError,
    /// The server ended the connection, among others for an invalid Socket.IO packet.
    ForcedClose,
    /// The node is going away; clients reconnect by themselves.
    ServerShuttingDown,
    /// The client left the namespace.
    ClientNamespaceDisconnect,
    /// The application disconnected the socket; clients do not reconnect by themselves.
    ServerNamespaceDisconnect,
}

impl CloseReason {
    /// Every reason, for tables of counters.
    pub const ALL: &'static [Self] = &[
        Self::TransportClose,
        Self::TransportError,
        Self::PingTimeout,
        Self::ParseError,
        Self::ForcedClose,
        Self::ServerShuttingDown,
        Self::ClientNamespaceDisconnect,
        Self::ServerNamespaceDisconnect,
    ];

    /// The text that Node's `disconnect` handler gets.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TransportClose => "transport close",
            Self::TransportError => "transport error",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ForcedClose => "forced close",
            Self::ServerShuttingDown => "server shutting down",
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
        }
    }
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
