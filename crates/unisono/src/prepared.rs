//! A broadcast that tells of a commit, encoded before the commit and published by it.
//!
//! The store checks, writes, counts the revision and publishes in one atomic step, so the order of commits is the order of
//! deliveries. It only has to put the revision's four bytes between the prepared segments.

use bytes::Bytes;
use serde::Serialize;
use unisono_cluster::{Broadcast as Message, Extension, Flags, Template};

use crate::error::EmitError;
use crate::socket::event_args;
use crate::space::Space;
use unisono_proto::Value;

/// The key under which a prepared broadcast carries its revision.
pub const REVISION_KEY: &str = "revision";

/// An ordered broadcast that lacks only its revision; made by [`Space::prepare`].
#[derive(Clone)]
pub struct Prepared {
    space: Space,
    message: Message,
    /// Absent without a bus.
    template: Option<Template>,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared")
            .field("event", &self.message.args.first())
            .finish_non_exhaustive()
    }
}

impl Prepared {
    pub(crate) fn new<T: Serialize + ?Sized>(
        space: Space,
        rooms: &[&str],
        event: &str,
        data: &T,
        note: Option<Bytes>,
    ) -> Result<Self, EmitError> {
        let args = event_args(event, data)?;
        if !matches!(args.last(), Some(Value::Map(_))) {
            return Err(EmitError::NotAMap);
        }
        let rooms = rooms.iter().map(|&room| room.to_owned()).collect();
        let extension = Some(Extension {
            ordered: true,
            note,
            ..Extension::default()
        });
        let mut message = Message {
            args,
            rooms,
            except: Vec::new(),
            flags: Flags::default(),
            extension,
        };
        let template = match &space.0.port {
            Some(port) => Some(
                port.template(&mut message, REVISION_KEY)
                    .map_err(|e| EmitError::Cluster(e.to_string()))?,
            ),
            None => None,
        };
        Ok(Self {
            space,
            message,
            template,
        })
    }

    /// The encoded message: publish `segments` joined by the revision as four big-endian bytes on `channel`. `None` without a bus.
    pub fn template(&self) -> Option<&Template> {
        self.template.as_ref()
    }

    /// Announces that a commit is about to publish this. Call it *before* the commit: the message may come back before the
    /// store's answer does.
    pub fn expect(&self) -> Expectation {
        let seq = match (&self.space.0.port, &self.template) {
            (Some(port), Some(template)) if port.expect(template.clone()) => Some(template.seq),
            _ => None,
        };
        Expectation {
            prepared: self.clone(),
            seq,
        }
    }

    /// Delivers to the members of this node only, in order; for a commit that no other node can hear of.
    pub fn deliver_locally(&self, revision: u32) {
        self.space
            .0
            .deliver_in_order(self.with_revision(revision), true);
    }

    /// Publishes through the bus; for a store that is not the bus itself. Without a bus, or if it does not take the message, it is
    /// delivered here.
    pub fn publish(&self, revision: u32) {
        let expectation = self.expect();
        let published = match (&self.space.0.port, &self.template, expectation.seq) {
            (Some(port), Some(template), Some(_)) => {
                port.publish_bytes(&template.channel, template.fill(revision))
            }
            _ => false,
        };
        if published {
            expectation.committed(revision);
        } else {
            expectation.cancel();
            self.deliver_locally(revision);
        }
    }

    fn with_revision(&self, revision: u32) -> Message {
        let mut message = self.message.clone();
        if let Some(extension) = &mut message.extension {
            extension.revision = Some(revision);
        }
        if let Some(Value::Map(entries)) = message.args.last_mut() {
            entries.push((REVISION_KEY.to_owned(), Value::Int(revision.into())));
        }
        message
    }
}

/// A commit under way, whose message is expected back. Dropped without an answer, the message is still delivered when it comes back,
/// and forgotten when it does not.
#[derive(Debug)]
#[must_use = "tell how the commit ended"]
pub struct Expectation {
    prepared: Prepared,
    seq: Option<u64>,
}

impl Expectation {
    /// The commit succeeded. If its message does not come back in time, it is delivered here all the same.
    pub fn committed(self, revision: u32) {
        match (&self.prepared.space.0.port, self.seq) {
            (Some(port), Some(seq)) => port.set_revision(seq, revision),
            // Nobody awaits it: it would be taken for delivered when it comes back.
            _ => self.prepared.deliver_locally(revision),
        }
    }

    /// The commit did not happen, or nobody knows. `false`: its message has come back already, so it did happen.
    pub fn cancel(self) -> bool {
        match (&self.prepared.space.0.port, self.seq) {
            (Some(port), Some(seq)) => port.cancel(seq),
            _ => true,
        }
    }
}
