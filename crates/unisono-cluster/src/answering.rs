//! How a node answers requests: cheap to keep beside it, because describing many sockets takes time.

use std::sync::Arc;

use bytes::Bytes;
use unisono_proto::Value;

use crate::adapter::Adapter;
use crate::classic::{
    self, Answer, AnswerBody, EncodeError, private_response_channel, response_channel,
};
use crate::limits::MAX_NAME_BYTES;
use crate::sharded;

/// Names and bytes of the answers of one node in one namespace; made by [`Node::answering`](crate::Node::answering).
#[derive(Clone, Debug)]
pub struct Answering {
    adapter: Adapter,
    prefix: Arc<str>,
    nsp: Arc<str>,
    uid: Arc<str>,
    privately: bool,
}

/// An answer with sockets, written one after another: one that cannot be written does not spoil the rest, and no more is ever held than one
/// message may have.
#[derive(Debug)]
pub enum SocketsAnswer {
    /// As the classic adapter reads it.
    Classic(classic::SocketsAnswer),
    /// As the sharded one does.
    Sharded(sharded::SocketsAnswer),
}

impl Answering {
    pub(crate) fn new(
        adapter: Adapter,
        prefix: &str,
        nsp: &str,
        uid: &str,
        privately: bool,
    ) -> Self {
        Self {
            adapter,
            prefix: prefix.into(),
            nsp: nsp.into(),
            uid: uid.into(),
            privately,
        }
    }

    /// Where to publish an answer to a request of `uid`.
    ///
    /// In the classic adapter, `privately` is Node's `publishOnSpecificResponseChannel`: only the node that asked hears it. Answers to
    /// server-side events are for all to hear in any case. In the sharded one only the node that asked ever hears it, unless it did not say
    /// who it is.
    pub fn channel(&self, uid: &str, body: &AnswerBody) -> String {
        let has_name = (1..=MAX_NAME_BYTES).contains(&uid.len());
        match self.adapter {
            Adapter::Classic => {
                let is_for_all = matches!(body, AnswerBody::ServerSide(_));
                if self.privately && !is_for_all && has_name {
                    private_response_channel(&self.prefix, &self.nsp, uid)
                } else {
                    response_channel(&self.prefix, &self.nsp)
                }
            }
            Adapter::Sharded(_) if has_name => {
                sharded::private_channel(&self.prefix, &self.nsp, uid)
            }
            Adapter::Sharded(_) => sharded::main_channel(&self.prefix, &self.nsp),
        }
    }

    /// The bytes of an answer, which say that this node gives it.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn encode(&self, answer: Answer) -> Result<Bytes, EncodeError> {
        match self.adapter {
            Adapter::Classic => classic::encode_answer(Answer {
                from: Some(self.uid.to_string()),
                ..answer
            }),
            Adapter::Sharded(_) => sharded::encode_answer(&self.uid, &self.nsp, &answer),
        }
    }

    /// An answer to the request of that id, without sockets yet.
    ///
    /// # Errors
    /// See [`EncodeError`].
    pub fn sockets(&self, id: &str) -> Result<SocketsAnswer, EncodeError> {
        Ok(match self.adapter {
            Adapter::Classic => {
                SocketsAnswer::Classic(classic::SocketsAnswer::new(id, Some(&self.uid))?)
            }
            Adapter::Sharded(_) => {
                SocketsAnswer::Sharded(sharded::SocketsAnswer::new(&self.uid, &self.nsp, id))
            }
        })
    }
}

impl SocketsAnswer {
    /// Adds a socket.
    ///
    /// # Errors
    /// [`EncodeError::TooDeep`]; or with it the answer would be larger, or have more values, than other nodes read. It is as it was before.
    pub fn push(&mut self, socket: &Value) -> Result<(), EncodeError> {
        match self {
            Self::Classic(answer) => answer.push(socket),
            Self::Sharded(answer) => answer.push(socket),
        }
    }

    /// The whole answer.
    pub fn finish(self) -> Bytes {
        match self {
            Self::Classic(answer) => answer.finish(),
            Self::Sharded(answer) => answer.finish(),
        }
    }
}
