//! What a client hears.

use tokio::sync::mpsc;
use unisono_proto::Value;
use unisono_proto::client::CloseReason;

/// Something that a client hears.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The server emitted an event.
    Message(Message),
    /// The server made the client leave the namespace; [`Event::Closed`] follows.
    Disconnected,
    /// The session is over. Nothing follows.
    Closed(CloseReason),
}

/// An event that the server emitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its name; a numeric one in decimal.
    pub name: String,
    /// Its arguments, without the name.
    pub args: Vec<Value>,
    /// What to answer with by [`Client::answer`](crate::Client::answer), if the server asked for an acknowledgement.
    pub ack: Option<AckId>,
}

/// Names an acknowledgement that the server waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckId(pub(crate) u64);

impl Message {
    /// Takes the name off `args`, which holds it first.
    pub(crate) fn new(mut args: Vec<Value>, ack: Option<u64>) -> Self {
        let name = if args.is_empty() {
            Value::Null
        } else {
            args.remove(0)
        };
        let name = match name {
            Value::Str(name) => name,
            Value::Int(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            _ => String::new(),
        };
        Self {
            name,
            args,
            ack: ack.map(AckId),
        }
    }

    /// The first argument, or null.
    pub fn data(&self) -> &Value {
        self.args.first().unwrap_or(&Value::Null)
    }
}

/// The events of one connection, in the order in which the server sent them.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<Event>,
}

impl Events {
    pub(crate) fn new(receiver: mpsc::Receiver<Event>) -> Self {
        Self { receiver }
    }

    /// The next event; `None` after [`Event::Closed`]. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        self.receiver.recv().await
    }

    /// The next message with this name; the others before it are skipped. `None` if the session ends first.
    /// Dropping the future loses what it has skipped.
    pub async fn message(&mut self, name: &str) -> Option<Message> {
        loop {
            match self.next().await? {
                Event::Message(message) if message.name == name => return Some(message),
                Event::Message(_) | Event::Disconnected => {}
                Event::Closed(_) => return None,
            }
        }
    }

    /// An event that has arrived already, without waiting.
    pub fn try_next(&mut self) -> Option<Event> {
        self.receiver.try_recv().ok()
    }
}
