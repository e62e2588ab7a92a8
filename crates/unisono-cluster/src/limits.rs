//! The limits of the bus, each with its reason.

/// Largest message on the bus, in bytes. Twice the largest payload a client may send to jamz-server (8 MiB), so that whatever a client
/// may say can also cross nodes with its envelope; half of what makes Redis cut off a slow subscriber by default (32 MiB).
pub const MAX_BUS_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Deepest nesting of arrays and maps, the same as for JSON from clients. Decoding recurses once per level.
pub const MAX_DEPTH: usize = 64;

/// Most values in one message. A value takes one byte on the wire and 32 in memory or more; this keeps a hostile message of
/// [`MAX_BUS_MESSAGE_BYTES`] nils from becoming half a gigabyte, and is above what a playlist or a waveform needs.
pub const MAX_VALUES: usize = 1 << 20;

/// Most binary attachments in one event: JavaScript clients refuse more and disconnect.
pub const MAX_ATTACHMENTS: usize = 10;

/// How long an ordered message may take to come back, in milliseconds. Redis answers in one; two seconds is what a user accepts for a
/// button to react, and as long as the link itself takes to find out that it is deaf.
pub const ECHO_DEADLINE_MS: u64 = 2_000;

/// Most ordered messages awaiting their echo, per namespace. 4,096 in two seconds is far above what one node commits; beyond it
/// something is wrong and the emit is refused.
pub const MAX_PENDING_ECHOES: usize = 4_096;

/// Most other nodes whose sequence numbers are remembered, per namespace. Ten times the largest deployment we expect, since every
/// restart of a node counts as a new one.
pub const MAX_PEERS: usize = 1_024;

/// Most messages waiting inside a memory bus. Only a handler that publishes faster than it is served can fill it.
pub const MAX_MEMORY_QUEUE: usize = 65_536;
