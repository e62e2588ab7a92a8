//! Asking the other nodes, and answering them.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, timeout_at};
use unisono_cluster::classic::encode_answer;
use unisono_cluster::{
    Answer, AnswerBody, Answered, AskError, CountError, EncodeError, RequestBody,
};

use super::{Outbound, Port, Refused};
use crate::error::EmitError;
use crate::space::SpaceInner;

/// A request that is out. Dropped, however the wait ends, nothing is remembered of it.
pub(crate) struct Pending {
    space: Arc<SpaceInner>,
    id: String,
    deadline: Instant,
    receiver: oneshot::Receiver<Answered>,
}

impl Pending {
    /// Asks all other nodes of a namespace that has a port. `None` where it has not.
    pub(crate) fn ask(
        space: &Arc<SpaceInner>,
        body: RequestBody,
        timeout: Duration,
    ) -> Result<Option<Self>, EmitError> {
        let Some(port) = &space.port else {
            return Ok(None);
        };
        let deadline = Instant::now() + timeout;
        let refused = |refused| space.refused(refused);
        let (id, receiver) = port.ask(body, timeout, refused)?;
        Ok(Some(Self {
            space: space.clone(),
            id,
            deadline,
            receiver,
        }))
    }

    /// What so many other nodes answer until the time is over.
    pub(crate) async fn answers_of(mut self, nodes: usize) -> Option<Answered> {
        let port = self.space.port.as_ref()?;
        if let Some(answered) = port.expect_nodes(&self.id, nodes) {
            return Some(answered);
        }
        if let Ok(Ok(answered)) = timeout_at(self.deadline, &mut self.receiver).await {
            return Some(answered);
        }
        // The last answer may have come just now.
        let ended = port.give_up(&self.id);
        ended.or_else(|| self.receiver.try_recv().ok())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(port) = &self.space.port {
            port.give_up(&self.id);
        }
    }
}

impl Port {
    /// How many other nodes there are.
    pub(crate) async fn others(&self) -> Result<usize, CountError> {
        // This one is among them: it has been subscribed for as long as the namespace is there.
        self.count().await.map(|nodes| nodes.saturating_sub(1))
    }

    /// How many nodes there are.
    pub(crate) async fn count(&self) -> Result<usize, CountError> {
        let channel = self.talk().node.request_channel();
        self.bus.broker.count(&channel).await
    }

    fn ask(
        &self,
        body: RequestBody,
        timeout: Duration,
        refused: impl Fn(Refused),
    ) -> Result<(String, oneshot::Receiver<Answered>), EmitError> {
        let mut talk = self.talk();
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let asked = talk.node.ask(body, timeout_ms, self.now_ms());
        let (id, channel, payload) = asked.map_err(|error| match error {
            AskError::TooMany => EmitError::TooManyRequests,
            other => EmitError::Cluster(other.to_string()),
        })?;
        let (sender, receiver) = oneshot::channel();
        talk.waiting.insert(id.clone(), sender);
        let outbound = Outbound {
            channel,
            payload,
            ordered: None,
        };
        self.send(talk, outbound, refused);
        Ok((id, receiver))
    }

    fn expect_nodes(&self, id: &str, nodes: usize) -> Option<Answered> {
        let mut talk = self.talk();
        let answered = talk.node.expect_nodes(id, nodes)?;
        talk.waiting.remove(id);
        Some(*answered)
    }

    fn give_up(&self, id: &str) -> Option<Answered> {
        let mut talk = self.talk();
        talk.waiting.remove(id);
        talk.node.give_up(id).map(|answered| *answered)
    }

    /// Ends the requests whose time is over.
    pub(crate) fn expire_requests(&self) {
        let mut talk = self.talk();
        let now_ms = self.now_ms();
        for answered in talk.node.handle_request_timeout(now_ms) {
            talk.resolve(answered);
        }
    }

    /// Tells all other nodes something that nobody answers.
    pub(crate) fn tell(
        &self,
        body: RequestBody,
        refused: impl Fn(Refused),
    ) -> Result<(), EncodeError> {
        let talk = self.talk();
        let (channel, payload) = talk.node.tell(body)?;
        let outbound = Outbound {
            channel,
            payload,
            ordered: None,
        };
        self.send(talk, outbound, refused);
        Ok(())
    }

    /// Answers a request of another node. A broker that does not take the answer counts it; that node then misses this one.
    pub(crate) fn answer(&self, uid: &str, id: &str, body: AnswerBody) -> Result<(), EncodeError> {
        let privately = self.bus.requests.private_answers;
        let channel = self.talk().node.answer_channel(uid, &body, privately);
        let id = id.to_owned();
        let payload = encode_answer(Answer { id, body })?;
        let _ = self.bus.broker.publish(&channel, payload);
        Ok(())
    }
}
