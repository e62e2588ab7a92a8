//! Whatever a client sends, the engine stands: every input that has brought a server of this kind down, and every variation of them.
//!
//! Each is a row of a table: where it comes from, what is sent, what the sender gets, which counter moves. Around each row the tests check
//! that exactly this counter has moved, that another connection of the same server is still served, and that no session, socket, probe or
//! awaited answer is left behind. `docs/hostile-inputs.md` is these tables, rendered.

mod arena;
mod attack;
mod document;
mod floods;
mod http;
mod packets;
mod process;
mod readers;
mod rfc6455;
mod times;
mod websocket;

pub(crate) use arena::{Arena, until};
pub(crate) use attack::{Attack, Got, Message};
pub(crate) use times::{Frozen, second};

/// One hostile input.
pub(crate) struct Row {
    /// The CVE, advisory or issue that it comes from, or the section of a specification; `derived` is a variation of them.
    pub(crate) id: &'static str,
    /// What the client sends.
    pub(crate) input: &'static str,
    /// What it gets.
    pub(crate) got: &'static str,
    /// The refusal that is counted, and how often; [`HARMLESS`] if none is.
    pub(crate) counted: (&'static str, u64),
    pub(crate) attack: Attack,
}

/// A row in one line.
pub(crate) const fn row(
    id: &'static str,
    input: &'static str,
    got: &'static str,
    counted: (&'static str, u64),
    attack: Attack,
) -> Row {
    Row {
        id,
        input,
        got,
        counted,
        attack,
    }
}

/// Nothing is refused.
pub(crate) const HARMLESS: (&str, u64) = ("", 0);

/// Refused by the HTTP server, before Socket.IO sees a request.
pub(crate) const BELOW: (&str, u64) = ("the HTTP server's", 0);

/// A boxed future: rows are functions.
pub(crate) type Future<T> = std::pin::Pin<Box<dyn std::future::Future<Output = T> + Send>>;
