//! The bounds of everything a peer may make this crate hold, count or nest. Each is a named constant that
//! says why it has that value; the few that applications tune are gathered in [`Limits`].

/// Largest message a peer may send, in bytes: 1,000,000, the `maxHttpBufferSize` of Node's server, which is
/// also the `maxPayload` that stock clients are told in the open packet.
pub const MAX_PAYLOAD: usize = 1_000_000;

/// Most binary attachments of one packet. Stock parsers refuse an eleventh and drop the connection, so a packet
/// with more must never be sent either.
pub const MAX_ATTACHMENTS: usize = 10;

/// Attachments of one packet may together be this many times as large as a single message: Node bounds only each, so ten of the largest
/// would be held for as long as the last is missing.
pub const MAX_PENDING_PAYLOADS: usize = 4;

/// Deepest nesting of arrays and maps in one value. Human-made payloads stay below ten; at 64 a recursive reader
/// or writer uses a few KiB of stack.
pub const MAX_JSON_DEPTH: usize = 64;

/// Most values in one JSON text. Half a million is more than [`MAX_PAYLOAD`] bytes can spell (a value and its
/// separator take two bytes), so it bites only where the payload limit was raised: there it keeps a text of `0,0,0,…`
/// from growing into twenty times its size.
pub const MAX_JSON_VALUES: usize = 512 * 1024;

/// Most packets in the body of one polling request. A client puts into one what it has emitted since the last: a few, or some
/// thousands after an outage. A megabyte can spell 300,000 packets of nothing, each of which costs an answer (CVE-2020-36048).
pub const MAX_PAYLOAD_PACKETS: usize = 16 * 1024;

/// Most namespaces that one connection may join. Applications use a handful; dynamic namespaces create server
/// objects by name, which is what a flood of CONNECT packets is after.
pub const MAX_NAMESPACES: usize = 100;

/// Longest namespace in bytes, slash included. It is stored per socket and repeated in front of every packet.
pub const MAX_NAMESPACE_LEN: usize = 512;

/// Longest CONNECT packet in bytes. Its credentials are kept for as long as the socket lives, and JSON may take twenty times its length in
/// memory; tokens and their like are a few KiB.
pub const MAX_CONNECT_LEN: usize = 64 * 1024;

/// Pongs (in Engine.IO 3: pings) that a client may send while it owes attachments and sends none. What it writes arrives in order, so a
/// pong says that it is not in the middle of one; a second says that it has no intention to go on.
pub const MAX_IDLE_PONGS: u8 = 2;

/// Longest query behind a namespace in bytes, which is how clients of Engine.IO 3 send their credentials: as long as servers and
/// proxies let a URL be.
pub const MAX_NAMESPACE_QUERY: usize = 8 * 1024;

/// Most frames of one fragmented WebSocket message, empty ones included. Browsers fragment at 128 KiB or more, so
/// honest messages need a few dozen; a message of millions of tiny fragments costs CPU far beyond its size.
pub const MAX_FRAGMENTS: u32 = 4096;

/// Largest payload of a WebSocket control frame (RFC 6455, section 5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// Largest acknowledgement id: 2^53, the last integer that JavaScript counts exactly.
pub const MAX_ACK_ID: u64 = 1 << 53;

/// Largest head of an HTTP answer to the client's upgrade request, in bytes: the limit servers commonly set for
/// request heads.
pub const MAX_HANDSHAKE_HEAD: usize = 16 * 1024;

/// Most header lines in that head.
pub const MAX_HANDSHAKE_HEADERS: usize = 64;

/// Most acknowledgements a client waits for at once. A caller that never takes an answer would otherwise grow the
/// table for ever.
pub const MAX_PENDING_ACKS: usize = 65_536;

/// The limits of one connection's Socket.IO layer that an application may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most attachments of one packet, [`MAX_ATTACHMENTS`] by default. Stock JavaScript peers do not take more.
    pub max_attachments: u16,
    /// Longest namespace in bytes, [`MAX_NAMESPACE_LEN`] by default.
    pub max_namespace_len: u16,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_attachments: MAX_ATTACHMENTS as u16,
            max_namespace_len: MAX_NAMESPACE_LEN as u16,
        }
    }
}
