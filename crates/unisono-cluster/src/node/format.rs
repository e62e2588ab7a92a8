//! Where the two adapters differ: names of channels, and bytes.

use bytes::Bytes;

use super::{Node, Received};
use crate::adapter::Adapter;
use crate::answering::Answering;
use crate::broadcast::Broadcast;
use crate::broker::Subscription;
use crate::classic::{
    self, Answer, EncodeError, Request, Subscriptions, Target, Template, private_response_channel,
    request_channel,
};
use crate::sharded::{self, Body};

impl Node {
    /// What to subscribe to for as long as the namespace is served. The one by which others count this node comes last: by then it hears
    /// everything else.
    pub fn subscriptions(&self) -> Vec<Subscription> {
        subscriptions(self.adapter, &self.prefix, &self.nsp, &self.asks_as)
    }

    /// The channel on which nodes ask each other. How many are subscribed to it, this one among them, is how many nodes there are.
    pub fn request_channel(&self) -> String {
        match self.adapter {
            Adapter::Classic => request_channel(&self.prefix, &self.nsp),
            Adapter::Sharded(_) => sharded::main_channel(&self.prefix, &self.nsp),
        }
    }

    /// The channel that the server of that id, and no other, is subscribed to as long as it serves this namespace.
    pub fn channel_of(&self, id: &str) -> String {
        match self.adapter {
            Adapter::Classic => private_response_channel(&self.prefix, &self.nsp, id),
            Adapter::Sharded(_) => sharded::private_channel(&self.prefix, &self.nsp, id),
        }
    }

    /// How this node answers.
    pub fn answering(&self, privately: bool) -> Answering {
        Answering::new(
            self.adapter,
            &self.prefix,
            &self.nsp,
            &self.asks_as,
            privately,
        )
    }

    /// Channel and payload of a broadcast.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn encode(&self, broadcast: &Broadcast) -> Result<(String, Bytes), EncodeError> {
        let payload = self.encode_payload(broadcast)?;
        Ok((self.channel(broadcast, self.room_apart(broadcast)), payload))
    }

    pub(super) fn encode_payload(&self, broadcast: &Broadcast) -> Result<Bytes, EncodeError> {
        match self.adapter {
            Adapter::Classic => classic::encode(&self.uid, &self.nsp, broadcast),
            Adapter::Sharded(_) => sharded::encode(&self.uid, &self.nsp, broadcast),
        }
    }

    /// The room whose channel only those listen to who have somebody in it, if a broadcast goes there. What goes elsewhere reaches all nodes,
    /// so one without it has lost something.
    pub(super) fn room_apart<'b>(&self, broadcast: &'b Broadcast) -> Option<&'b str> {
        match self.adapter {
            Adapter::Classic => None,
            Adapter::Sharded(mode) => sharded::room_apart(mode, broadcast),
        }
    }

    pub(super) fn channel(&self, broadcast: &Broadcast, apart: Option<&str>) -> String {
        match self.adapter {
            Adapter::Classic => classic::channel(&self.prefix, &self.nsp, &broadcast.rooms),
            Adapter::Sharded(_) => sharded::channel(&self.prefix, &self.nsp, apart),
        }
    }

    /// A broadcast whose revision is decided by the script that publishes it; see [`classic::encode_template`].
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn encode_template(
        &self,
        broadcast: &Broadcast,
        revision_key: &str,
    ) -> Result<Template, EncodeError> {
        let encode = match self.adapter {
            Adapter::Classic => classic::encode_template,
            Adapter::Sharded(_) => sharded::encode_template,
        };
        encode(&self.prefix, &self.uid, &self.nsp, broadcast, revision_key)
    }

    pub(super) fn encode_request(&self, request: &Request) -> Result<Bytes, EncodeError> {
        match self.adapter {
            Adapter::Classic => classic::encode_request(&self.nsp, request),
            Adapter::Sharded(_) => sharded::encode_request(&self.nsp, request),
        }
    }

    /// A message on the channels of the sharded adapter.
    pub(super) fn classify_sharded(
        &mut self,
        channel: &str,
        payload: &[u8],
        has_room: &dyn Fn(&str) -> bool,
        now_ms: u64,
    ) -> Received {
        let target = sharded::target_of_channel(&self.prefix, &self.nsp, channel);
        if target == Target::Foreign {
            return Received::Foreign;
        }
        if let Some(head) = self.tail.strip(payload) {
            return self.own(payload, sharded::seq_of(head));
        }
        if let Target::Room(room) = target
            && room != self.asks_as
            && !has_room(room)
        {
            // Somebody was here a moment ago.
            return Received::NotHere;
        }
        let message = match sharded::decode(payload) {
            Ok(message) => message,
            Err(error) => return Received::Refused(error),
        };
        if message.nsp != self.nsp {
            return Received::Foreign;
        }
        if message.uid == self.uid || message.uid == self.asks_as {
            return Received::Own;
        }
        match message.body {
            Body::Broadcast(broadcast) => {
                let seq = broadcast.extension.as_ref().map(|e| e.seq);
                self.hear(Some(&message.uid), seq, now_ms);
                let rooms = &broadcast.rooms;
                if !rooms.is_empty() && !rooms.iter().any(|room| has_room(room)) {
                    return Received::NotHere;
                }
                self.stats.delivered += 1;
                Received::Deliver(broadcast)
            }
            Body::Request(request) => Received::Request(Box::new(request)),
            Body::Answer(answer) => {
                let from = Some(message.uid);
                self.take_answer(Answer { from, ..answer }, payload)
            }
        }
    }
}

/// What a node listens to that asks as `uid`.
pub fn subscriptions(adapter: Adapter, prefix: &str, nsp: &str, uid: &str) -> Vec<Subscription> {
    match adapter {
        Adapter::Classic => Subscriptions::new(prefix, nsp, uid)
            .iter()
            .cloned()
            .collect(),
        Adapter::Sharded(_) => vec![
            Subscription::Channel(sharded::private_channel(prefix, nsp, uid)),
            Subscription::Channel(sharded::main_channel(prefix, nsp)),
        ],
    }
}

/// A broadcast that may be one of this node's own: only what came back knows its revision.
pub(super) fn decode_own(adapter: Adapter, payload: &[u8]) -> Option<Broadcast> {
    match adapter {
        Adapter::Classic => Some(classic::decode(payload).ok()?.broadcast),
        Adapter::Sharded(_) => match sharded::decode(payload).ok()?.body {
            Body::Broadcast(broadcast) => Some(broadcast),
            Body::Request(_) | Body::Answer(_) => None,
        },
    }
}
