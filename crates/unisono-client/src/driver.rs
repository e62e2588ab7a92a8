//! The task that owns a session: commands in, events out.

use std::collections::HashMap;

use tokio::sync::{mpsc, oneshot};
use unisono_proto::Value;
use unisono_proto::client::{self as proto, CommandError};

use crate::event::{Event, Message};
use crate::session::Session;

/// Bytes waiting for the socket at which no further command is taken: callers of `emit` then wait, as long as the server reads slowly.
const MAX_UNSENT: usize = 1024 * 1024;
/// Acknowledgements awaited at which those that nobody awaits any more are looked for.
const PRUNE_ACKS_AT: usize = 64;

/// What a [`Client`](crate::Client) asks for. `args` begins with the event's name.
pub(crate) enum Command {
    Emit {
        args: Vec<Value>,
        queued: oneshot::Sender<Result<(), CommandError>>,
    },
    EmitWithAck {
        args: Vec<Value>,
        answer: oneshot::Sender<Result<Vec<Value>, CommandError>>,
    },
    Answer {
        id: u64,
        args: Vec<Value>,
        queued: oneshot::Sender<Result<(), CommandError>>,
    },
    Close,
}

pub(crate) struct Driver {
    pub(crate) session: Session,
    pub(crate) namespace: String,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) acks: HashMap<u64, oneshot::Sender<Result<Vec<Value>, CommandError>>>,
}

impl Driver {
    /// Runs until the session is over.
    pub(crate) async fn run(mut self) {
        // Apart from `self`, which the other branches change.
        let events = self.events.clone();
        while !self.session.is_over() {
            self.sort_events();
            let takes_commands = self.session.unsent() < MAX_UNSENT && !self.session.is_over();
            let has_event = !self.session.events.is_empty();
            tokio::select! {
                command = self.commands.recv(), if takes_commands => self.obey(command.unwrap_or(Command::Close)),
                room = events.reserve(), if has_event => match room {
                    Ok(room) => {
                        if let Some(event) = self.session.events.pop_front().and_then(public) {
                            room.send(event);
                        }
                    }
                    // Nobody listens any more.
                    Err(_) => self.session.events.clear(),
                },
                // Whoever does not take events stops the reading.
                () = self.session.progress(!has_event) => {}
            }
        }
        self.sort_events();
        let last = std::mem::take(&mut self.session.events);
        self.session.finish().await;
        // Whoever waits for an acknowledgement, or for the end, learns of it now, even if nobody takes the events.
        drop((self.acks, self.commands, self.events));
        for event in last.into_iter().filter_map(public) {
            if events.send(event).await.is_err() {
                return;
            }
        }
    }

    /// Gives acknowledgements to those who await them; leaves the rest to [`Events`](crate::Events).
    fn sort_events(&mut self) {
        let mut was_disconnected = false;
        let acks = &mut self.acks;
        self.session.events.retain_mut(|event| match event {
            proto::Event::Ack { id, args, .. } => {
                if let Some(waiting) = acks.remove(id) {
                    // Whoever asked may have stopped waiting.
                    let _ = waiting.send(Ok(std::mem::take(args)));
                }
                false
            }
            proto::Event::Disconnected { .. } => {
                was_disconnected = true;
                true
            }
            _ => true,
        });
        if was_disconnected && !self.session.machine.is_closed() {
            // There is no other namespace to stay for.
            self.session.machine.close();
            self.session.take_outputs();
        }
    }

    fn obey(&mut self, command: Command) {
        let machine = &mut self.session.machine;
        // A caller that has stopped waiting does not hear what became of its command.
        match command {
            Command::Emit { args, queued } => {
                let _ = queued.send(machine.emit(&self.namespace, &args));
            }
            Command::Answer { id, args, queued } => {
                let _ = queued.send(machine.ack(&self.namespace, id, &args));
            }
            Command::Close => machine.close(),
            Command::EmitWithAck { args, answer } => {
                if self.acks.len() >= PRUNE_ACKS_AT {
                    for (id, _) in self.acks.extract_if(|_, waiting| waiting.is_closed()) {
                        machine.forget_ack(&self.namespace, id);
                    }
                }
                match machine.emit_with_ack(&self.namespace, &args) {
                    Ok(id) => {
                        self.acks.insert(id, answer);
                    }
                    Err(error) => {
                        let _ = answer.send(Err(error));
                    }
                }
            }
        }
        self.session.take_outputs();
    }
}

/// The event as callers see it, if it is theirs.
fn public(event: proto::Event) -> Option<Event> {
    match event {
        proto::Event::Event { id, args, .. } => Some(Event::Message(Message::new(args, id))),
        proto::Event::Disconnected { .. } => Some(Event::Disconnected),
        proto::Event::Closed(reason) => Some(Event::Closed(reason)),
        proto::Event::Opened { .. }
        | proto::Event::Connected { .. }
        | proto::Event::ConnectError { .. }
        | proto::Event::Ack { .. } => None,
    }
}
