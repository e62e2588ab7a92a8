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

/// Longest name of a request, a node or a socket in bytes. Node.js takes 6 characters for the first two and 20 for the last; the longest
/// of ours is the id of an Engine.IO 3 client, made of its namespace (512 bytes at most) and 21 characters.
pub const MAX_NAME_BYTES: usize = 600;

/// Most requests of this node that await answers, per namespace. Each lasts a few seconds and keeps its answers for as long; a thousand
/// at a time is a program that asks in a loop without waiting.
pub const MAX_PENDING_REQUESTS: usize = 1_024;

/// Most bytes of answers that one request keeps, as they came from the bus or as values in memory, whichever is more: four of the largest
/// messages, or the sockets of fifty nodes with a thousand each. What comes beyond is ignored and counted; the nodes it came from are
/// missing.
pub const MAX_ANSWER_BYTES: usize = 4 * MAX_BUS_MESSAGE_BYTES;

/// The same for all requests of a server together, those of all its namespaces: as much as two of the largest, so that a thousand at a time
/// do not keep a thousand times as much.
pub const MAX_KEPT_BYTES: usize = 2 * MAX_ANSWER_BYTES;

/// Most rooms that sockets may be told to join or leave in one request: sixteen times as many as a socket may be in by default. Each is
/// looked at for all the sockets that are meant.
pub const MAX_CHANGED_ROOMS: usize = 16 * 1024;

/// What an answer counts against [`MAX_ANSWER_BYTES`] beside its bytes, so that tiny ones are bounded in number too (a million).
pub const ANSWER_OVERHEAD_BYTES: usize = 64;

/// How long the channel of a room is still listened to after the last member has left, in milliseconds: a client that loses its connection is
/// back by then, and somebody who goes from room to room comes by again.
pub const ROOM_LINGER_MS: u64 = 5_000;

/// Most rooms that are listened to although nobody is in them any more. Beyond, the one left first is given up at once: clients may choose
/// what they join, as often as they like.
pub const MAX_LINGERING_ROOMS: usize = 4_096;

/// How long after a node has told others to join a room it sends to that room on the channel of the namespace, in milliseconds: those who join
/// begin to listen to the room's own channel only then. What it told them may wait for the link, five seconds and then 1.2 for the others,
/// and what it sends to the room waits behind it; for Redis to let them listen another second is enough, and the rest is reserve.
pub const JOIN_SETTLES_MS: u64 = 8_000;

/// Most rooms of which that is remembered, per namespace. Beyond, everything goes on the channel of the namespace for as long: it costs
/// others a look at what is not for them, and nothing is lost.
pub const MAX_JOINED_ROOMS: usize = 4_096;

/// Most messages waiting inside a memory bus. Only a handler that publishes faster than it is served can fill it.
pub const MAX_MEMORY_QUEUE: usize = 65_536;

/// How often a server tells the others that it lives, in milliseconds. A hundred servers are a hundred messages of 100 bytes a second to
/// each, which is nothing; with less often a server that hangs would be missed later.
pub const BEAT_INTERVAL_MS: u64 = 1_000;

/// How long after the last message of a server it is no longer waited for, in milliseconds: three of its messages are missing by then, and
/// the next tenth of a second is for those that are a little late. Below the five seconds that a request has by default.
pub const SILENT_AFTER_MS: u64 = 3 * BEAT_INTERVAL_MS + 300;

/// How long a server that has fallen silent stays on the list, in milliseconds: as long as somebody who looks why needs it there.
pub const FORGET_SILENT_MS: u64 = 60_000;

/// Soonest after the last that a server tells again, in milliseconds. It does so early for whoever is new, and when many come at once they
/// share one message.
pub const BEAT_SPACING_MS: u64 = 100;

/// Most messages of a server to the others that may be on their way back at a time: as many as it sends within [`ECHO_DEADLINE_MS`] if
/// somebody new comes all the time.
pub const MAX_BEATS_OUT: usize = 32;

/// Furthest that one message may be ahead of the last of the same peer, as a number: a peer that publishes a hundred thousand a second and
/// was not heard for ten. What is further ahead was not sent by that peer, and no loss is counted on its word.
pub const MAX_SEQ_LEAP: u64 = 1 << 20;

/// Most namespaces that one message of a server tells of. Those that have more take turns, so that messages stay small.
pub const MAX_BEAT_SPACES: usize = 128;

/// Largest message of a server to the others: as many namespaces with names of a hundred characters. One that has longer names tells of
/// fewer at a time.
pub const MAX_BEAT_BYTES: usize = 16 * 1024;

/// Longest name that a user may give a server, in bytes: that of a pod on Kubernetes.
pub const MAX_NODE_NAME_BYTES: usize = 253;
