//! The wire of Socket.IO, without any IO: bytes to packets to events of one connection, and back.
//!
//! ```text
//! bytes  <->  ws       WebSocket frames and the opening handshake (RFC 6455)
//!        <->  engine   Engine.IO 4 and 3: session ids, packets, polling payloads, who is let in
//!        <->  socket   Socket.IO 5: packets of namespaces, with binary attachments
//!        <->  value    what events carry: JSON and byte strings, from and to any serde type
//! ```
//!
//! [`connection`] and [`client`] are the two sides of a session, as state machines on top of these layers. [`limits`]
//! names the bound of everything that a peer can make this crate hold or count.
//!
//! The crate never touches a socket, a clock, a thread, a lock or a source of randomness: time and random bytes are
//! arguments. Whatever a peer sends gives an event or an error, never a panic, and never an allocation by a length that
//! is only announced. Encoders append to buffers of the caller; decoders borrow from them where they can.
//!
//! An event that a browser sends over WebSocket, from its bytes to its arguments:
//!
//! ```
//! use unisono_proto::{Value, engine, limits, socket, ws};
//!
//! let mut bytes = Vec::new();
//! ws::encode_masked(ws::Opcode::Text, br#"42["move",{"x":1}]"#, [1, 2, 3, 4], &mut bytes);
//!
//! let mut frames = ws::Decoder::new(ws::Role::Server, limits::MAX_PAYLOAD);
//! let mut packets = socket::Decoder::new(limits::Limits::default());
//! let mut input = &mut bytes[..];
//! while let Some(event) = frames.next(&mut input)? {
//!     let ws::Event::Text(text) = event else { continue };
//!     let engine::Packet::Message(message) = engine::decode(&text)? else { continue };
//!     let Some(socket::Packet::Event { nsp, args, .. }) = packets.text(&message)? else { continue };
//!     assert_eq!((nsp.as_str(), args[0].as_str()), ("/", Some("move")));
//!     assert_eq!(args[1].get("x"), Some(&Value::Int(1)));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod client;
pub mod connection;
pub mod engine;
pub mod limits;
pub mod socket;
pub mod value;
pub mod ws;

pub use self::value::Value;
