//! The part of the conversation in which nodes ask and answer.

use bytes::Bytes;

use super::questions::{Answered, AskError, Taken};
use super::roll::Roll;
use super::{Node, Received};
use crate::adapter::Adapter;
use crate::classic::{self, Answer, EncodeError, Request, RequestBody, RequestError};
use crate::limits::BEAT_INTERVAL_MS;

impl Node {
    /// Asks all other nodes: id of the request, channel and payload, to be published. It is over at the last answer
    /// ([`Received::Answered`]), which cannot be known before [`Node::expect_nodes`]; at the latest after `timeout_ms`.
    ///
    /// # Errors
    /// See [`AskError`]. Nothing is awaited then.
    pub fn ask(
        &mut self,
        body: RequestBody,
        timeout_ms: u64,
        now_ms: u64,
    ) -> Result<(String, String, Bytes), AskError> {
        if self.questions.is_full() {
            return Err(AskError::TooMany);
        }
        let kind = self.questions.kind_of(&body).ok_or(AskError::NoQuestion)?;
        let id = self.questions.next_id();
        let request = Request {
            uid: self.asks_as.clone(),
            id: Some(id.clone()),
            body,
        };
        let payload = self.encode_request(&request)?;
        self.questions
            .expect(kind, now_ms.saturating_add(timeout_ms));
        Ok((id, self.request_channel(), payload))
    }

    /// These other nodes are to answer, or so many of whom nothing else is known. The outcome if they all have.
    pub fn expect_nodes(&mut self, id: &str, roll: impl Into<Roll>) -> Option<Box<Answered>> {
        self.questions.set_expected(id, roll.into())
    }

    /// Whether answers are awaited.
    pub fn is_asking(&self) -> bool {
        !self.questions.is_empty()
    }

    /// Whether to count at once who listens, and to tell [`Node::handle_recount`]: somebody has answered who may be one of those that were
    /// counted without a name, and would be the last. Said once of each.
    pub fn take_wants_recount(&mut self) -> bool {
        self.questions.take_wants_recount()
    }

    /// The names of those of whom a count is to say whether they listen, beside the members: they were counted by name, or have answered and
    /// may have been counted without it, [`MAX_PEERS`](crate::limits::MAX_PEERS) of the latter at most.
    pub fn names_asked(&self) -> Vec<String> {
        let names = self.questions.names().into_iter();
        names.map(str::to_owned).collect()
    }

    /// Whether the last message of a server, which came then, said that it serves this namespace.
    pub fn is_served_by(&self, server: &str, heard_ms: u64) -> bool {
        self.peers
            .last_heard(server)
            .is_some_and(|told_ms| told_ms + BEAT_INTERVAL_MS / 2 >= heard_ms)
    }

    /// A server has said goodbye or fallen silent: nobody waits for it any more. The requests that end by that.
    pub fn handle_lost_node(&mut self, id: &str) -> Vec<Answered> {
        let ended = self.questions.lose(id);
        self.stats.requests_expired += ended.len() as u64;
        ended
    }

    /// Who listens now, counted again while answers are awaited: nobody waits any more for those who were there and are not. Others who have
    /// come meanwhile change nothing. The requests that end by that. [`Node::names_asked`] are looked for by name.
    pub fn handle_recount(&mut self, roll: &Roll) -> Vec<Answered> {
        let ended = self.questions.recount(roll);
        self.stats.requests_expired += ended.len() as u64;
        ended
    }

    /// Ends a request before its time: what there is by now, or nothing if it is over.
    pub fn give_up(&mut self, id: &str) -> Option<Box<Answered>> {
        let answered = self.questions.give_up(id)?;
        self.stats.requests_expired += 1;
        Some(answered)
    }

    /// Ends the requests whose time is over.
    pub fn handle_request_timeout(&mut self, now_ms: u64) -> Vec<Answered> {
        let expired = self.questions.expire(now_ms);
        self.stats.requests_expired += expired.len() as u64;
        expired
    }

    /// Tells all other nodes something that nobody answers: channel and payload.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn tell(&mut self, body: RequestBody, now_ms: u64) -> Result<(String, Bytes), EncodeError> {
        let request = Request {
            uid: self.asks_as.clone(),
            id: None,
            body,
        };
        let payload = self.encode_request(&request)?;
        if let (RequestBody::Join { rooms, .. }, Adapter::Sharded(_)) =
            (&request.body, self.adapter)
        {
            self.joined.note(rooms, now_ms);
        }
        Ok((self.request_channel(), payload))
    }

    /// A message on none of the channels of broadcasts.
    pub(super) fn classify_request(&mut self, channel: &str, payload: &[u8]) -> Received {
        // Cheaper than to compare with names that have to be made first: most foreign messages are of other namespaces.
        let rest = channel.strip_prefix(self.prefix.as_str());
        let rest = rest.and_then(|rest| rest.strip_prefix('-'));
        let Some((verb, rest)) = rest.and_then(|rest| rest.split_once('#')) else {
            return Received::Foreign;
        };
        let rest = rest
            .strip_prefix(self.nsp.as_str())
            .and_then(|rest| rest.strip_prefix('#'));
        let to_me = |rest: &str| rest.strip_suffix('#') == Some(&self.asks_as);
        match (verb, rest) {
            ("request", Some("")) => self.handle_request(payload),
            ("response", Some(rest)) if rest.is_empty() || to_me(rest) => {
                self.handle_answer(payload)
            }
            _ => Received::Foreign,
        }
    }

    fn handle_request(&mut self, payload: &[u8]) -> Received {
        match classic::decode_request(payload) {
            Ok(request) if request.uid == self.asks_as => Received::Own,
            Ok(request) => Received::Request(Box::new(request)),
            Err(error) => Received::Refused(error),
        }
    }

    fn handle_answer(&mut self, payload: &[u8]) -> Received {
        if !self.questions.may_be_mine(payload) {
            return Received::Answer;
        }
        let answer = match classic::decode_answer(payload) {
            Ok(answer) => answer,
            Err(RequestError::Type) => {
                self.stats.answers_refused += 1;
                return Received::Answer;
            }
            Err(error) => return Received::Refused(error),
        };
        self.take_answer(answer, payload)
    }

    /// An answer that is perhaps to a request of this node. `payload` is what it was decoded from.
    pub(super) fn take_answer(&mut self, answer: Answer, payload: &[u8]) -> Received {
        if !self.questions.is_mine(&answer.id) {
            return Received::Answer;
        }
        match self.questions.handle(answer, payload) {
            Taken::Noted => self.stats.answers += 1,
            Taken::Last(answered) => {
                self.stats.answers += 1;
                return Received::Answered(answered);
            }
            Taken::Late => self.stats.answers_late += 1,
            Taken::Refused => self.stats.answers_refused += 1,
        }
        Received::Answer
    }
}
