//! The clients, and what each cannot do.

use serde_json::{Value, json};
use unisono_test::Conversation;

use super::scenarios::Scenario;

/// One client library.
pub(super) struct Row {
    /// As people call it.
    pub(super) name: &'static str,
    client: Client,
    /// What the library cannot do: those parts of the scenarios are left out for it.
    pub(super) gaps: &'static [Gap],
}

enum Client {
    /// Its major version.
    JavaScript(u8),
    Browser,
    Python(&'static str),
    Rust,
}

/// A part of a scenario that a library cannot play.
pub(super) struct Gap {
    pub(super) part: Part,
    /// For people: what lacks in the library.
    pub(super) reason: &'static str,
}

/// What libraries differ in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    /// Acknowledging the server's events.
    Answers,
    /// Handing events on in the order in which they came.
    Order,
    /// A message that HTTP brings in several pieces.
    Large,
    /// Coming back by itself when the connection breaks before the client's own `connect` has returned.
    EarlyBreak,
    /// Any value as `auth`, in every namespace.
    Auth,
    /// A refusal's message and its data.
    RefusalWithData,
    /// Binary beside or within other arguments, and in acknowledgements.
    BinaryAnywhere,
}

impl Part {
    pub(super) fn scenario(self) -> Scenario {
        match self {
            Self::Order | Self::Large | Self::Auth => Scenario::Events,
            Self::Answers => Scenario::Acknowledgement,
            Self::EarlyBreak => Scenario::Reconnect,
            Self::RefusalWithData => Scenario::ConnectError,
            Self::BinaryAnywhere => Scenario::Binary,
        }
    }
}

impl Row {
    pub(super) fn can(&self, part: Part) -> bool {
        !self.gaps.iter().any(|gap| gap.part == part)
    }

    /// The major version of `socket.io-client`, of the rows that are one in Node.js.
    pub(super) fn version(&self) -> Option<u8> {
        match self.client {
            Client::JavaScript(version) => Some(version),
            _ => None,
        }
    }

    /// The arguments of the event by which the server tells the `auth` that it got in the namespace `/`.
    pub(super) fn told_auth(&self, auth: &Value) -> Value {
        if self.can(Part::Auth) {
            json!([auth])
        } else {
            json!([])
        }
    }

    /// Starts the peer that runs this library's clients.
    pub(super) async fn start(&self) -> Conversation {
        match self.client {
            Client::JavaScript(_) => Conversation::clients().await,
            Client::Browser => Conversation::browser_clients().await,
            Client::Python(flavour) => Conversation::python_clients(flavour).await,
            Client::Rust => Conversation::rust_clients().await,
        }
    }
}

pub(super) const SOCKET_IO_CLIENT_4: Row = Row {
    name: "socket.io-client 4, Node.js",
    client: Client::JavaScript(4),
    gaps: &[],
};

pub(super) const SOCKET_IO_CLIENT_3: Row = Row {
    name: "socket.io-client 3, Node.js",
    client: Client::JavaScript(3),
    gaps: &[],
};

pub(super) const SOCKET_IO_CLIENT_2: Row = Row {
    name: "socket.io-client 2 (Engine.IO 3), Node.js",
    client: Client::JavaScript(2),
    gaps: &[
        Gap {
            part: Part::Auth,
            reason: "it has no `auth`; the query of a namespace other than `/` stands for it, and its values are texts.",
        },
        Gap {
            part: Part::RefusalWithData,
            reason: "it is told the data of a refusal or, without any, the message, as one value.",
        },
    ],
};

pub(super) const CHROMIUM: Row = Row {
    name: "socket.io-client 4, Chromium, other origin",
    client: Client::Browser,
    gaps: &[],
};

pub(super) const PYTHON_SYNC: Row = Row {
    name: "python-socketio 5 `Client`",
    client: Client::Python("sync"),
    gaps: &[
        Gap {
            part: Part::Order,
            reason: "the library starts a thread for each event, so its handlers run in any order.",
        },
        PYTHON_EARLY_BREAK,
    ],
};

pub(super) const PYTHON_ASYNC: Row = Row {
    name: "python-socketio 5 `AsyncClient`",
    client: Client::Python("async"),
    gaps: &[PYTHON_EARLY_BREAK],
};

const PYTHON_EARLY_BREAK: Gap = Gap {
    part: Part::EarlyBreak,
    reason: "a new connection that breaks before `connect` has returned to `_handle_reconnect` is not made again: `_handle_eio_disconnect` starts nothing while `_reconnect_task` is set.",
};

pub(super) const RUST: Row = Row {
    name: "rust_socketio 0.6 (asynchronous)",
    client: Client::Rust,
    gaps: &[
        Gap {
            part: Part::Large,
            reason: "over polling the engine (`PollingTransport::stream`) hands on each chunk of a body as it comes, and `Socket::stream` decodes it as a whole payload; a large answer comes in several.",
        },
        Gap {
            part: Part::Answers,
            reason: "handlers get no acknowledgement to answer with; only the client's own events are acknowledged here.",
        },
        Gap {
            part: Part::BinaryAnywhere,
            reason: "an event carries one binary and nothing beside it; with an acknowledgement it is sent as a packet of the wrong type.",
        },
    ],
};
