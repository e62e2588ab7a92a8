//! Asking the other nodes, and answering them.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, timeout_at};
use unisono_cluster::{
    Answer, AnswerBody, Answered, AskError, CountError, EncodeError, RequestBody, Roll,
    SocketsAnswer,
};

use super::others::Recount;
use super::{Awaits, Outbound, Port, Refused};
use crate::error::EmitError;
use crate::space::SpaceInner;

/// Nobody waits longer for answers, whatever the application says: no time can be told that is much later, and beyond 24 days a Node.js pod
/// would not wait at all.
const MAX_WAIT: Duration = Duration::from_secs(24 * 3600);

/// When a wait of so long ends that begins now.
pub(crate) fn deadline_after(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(MAX_WAIT)
}

/// A request that is out. Dropped, however the wait ends, nothing is remembered of it.
pub(crate) struct Pending {
    space: Arc<SpaceInner>,
    id: String,
    deadline: Instant,
    /// Closed without an answer when the broker has not taken the request.
    receiver: oneshot::Receiver<Answered>,
}

impl Pending {
    /// Asks all other nodes of a namespace that has a port. `None` where it has not.
    pub(crate) fn ask(
        space: &Arc<SpaceInner>,
        body: RequestBody,
        deadline: Instant,
    ) -> Result<Option<Self>, EmitError> {
        let Some(port) = &space.port else {
            return Ok(None);
        };
        let refused = |refused| space.refused(refused);
        let (id, receiver) = port.ask(body, deadline, refused)?;
        Ok(Some(Self {
            space: space.clone(),
            id,
            deadline,
            receiver,
        }))
    }

    /// Where it is asked.
    pub(crate) fn space(&self) -> &Arc<SpaceInner> {
        &self.space
    }

    /// What the other nodes answer until the time is over. How many there are is asked meanwhile; where nobody says, it is what there is
    /// by then, and `nodes_expected` is `None`.
    pub(crate) async fn answers(mut self) -> Answered {
        let space = self.space.clone();
        let Some(port) = &space.port else {
            return Answered::default();
        };
        let counted = tokio::select! {
            biased;
            // As long as it is not known how many there are, only its time or the broker ends a request.
            ended = &mut self.receiver => return ended.unwrap_or_default(),
            counted = port.others(self.deadline) => counted,
        };
        match counted {
            Ok(roll) => self.answers_of(roll).await,
            Err(CountError) => self.end(),
        }
    }

    /// What these other nodes answer until the time is over. If the broker has not taken the request: nothing, and `nodes_expected` is
    /// `None`.
    pub(crate) async fn answers_of(mut self, roll: Roll) -> Answered {
        let nodes = roll.known.len() + roll.unknown;
        let port = self.space.port.as_ref();
        if let Some(answered) = port.and_then(|port| port.expect_nodes(&self.id, roll)) {
            return answered;
        }
        self.space.recount();
        match timeout_at(self.deadline, &mut self.receiver).await {
            Ok(answered) => answered.map_or_else(
                |_| Answered::default(),
                // Its time may have ended it before the nodes were counted.
                |answered| Answered {
                    nodes_expected: Some(nodes),
                    ..answered
                },
            ),
            Err(_) => self.end(),
        }
    }

    /// What there is by now.
    fn end(&mut self) -> Answered {
        let port = self.space.port.as_ref();
        let ended = port.and_then(|port| port.give_up(&self.id));
        // The last answer may have come just now.
        let ended = ended.or_else(|| self.receiver.try_recv().ok());
        ended.unwrap_or_default()
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
    /// Who the other nodes are, if that is known in time.
    pub(crate) async fn others(&self, deadline: Instant) -> Result<Roll, CountError> {
        let counted = timeout_at(deadline, self.roll()).await;
        counted.unwrap_or(Err(CountError))
    }

    /// How many nodes there are.
    pub(crate) async fn count(&self) -> Result<usize, CountError> {
        let channel = self.talk().node.request_channel();
        self.bus.broker.count(&channel).await
    }

    fn ask(
        &self,
        body: RequestBody,
        deadline: Instant,
        refused: impl Fn(Refused),
    ) -> Result<(String, oneshot::Receiver<Answered>), EmitError> {
        let timeout = deadline.saturating_duration_since(Instant::now());
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let mut talk = self.talk();
        let asked = talk.node.ask(body, timeout_ms, self.now_ms());
        let (id, channel, payload) = asked.map_err(|error| match error {
            AskError::TooMany => EmitError::TooManyRequests,
            other => EmitError::Cluster(other.to_string()),
        })?;
        let (sender, receiver) = oneshot::channel();
        talk.waiting.insert(id.clone(), sender);
        talk.recount = Some(Recount::plan(talk.recount, self.now_ms()));
        let outbound = Outbound {
            seq: 0,
            channel,
            payload,
            awaits: Awaits::Answers(id.clone()),
        };
        self.send(talk, outbound, refused);
        Ok((id, receiver))
    }

    fn expect_nodes(&self, id: &str, roll: Roll) -> Option<Answered> {
        let mut talk = self.talk();
        let Some(answered) = talk.node.expect_nodes(id, roll) else {
            talk.hasten_recount(self.now_ms());
            return None;
        };
        talk.waiting.remove(id);
        Some(*answered)
    }

    pub(super) fn give_up(&self, id: &str) -> Option<Answered> {
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
        let mut talk = self.talk();
        let (channel, payload) = talk.node.tell(body, self.now_ms())?;
        let outbound = Outbound {
            seq: 0,
            channel,
            payload,
            awaits: Awaits::Nothing,
        };
        self.send(talk, outbound, refused);
        Ok(())
    }

    /// Answers a request of another node. A broker that does not take the answer counts it; that node then misses this one.
    pub(crate) fn answer(&self, uid: &str, id: &str, body: AnswerBody) -> Result<(), EncodeError> {
        let channel = self.answering.channel(uid, &body);
        let id = id.to_owned();
        // It says who it is of by itself.
        let from = None;
        let payload = self.answering.encode(Answer { id, from, body })?;
        let _ = self.bus.broker.publish(&channel, payload);
        Ok(())
    }

    /// The same with sockets that are written already.
    pub(crate) fn answer_sockets(&self, uid: &str, sockets: SocketsAnswer) {
        let body = AnswerBody::Sockets(Vec::new());
        let channel = self.answering.channel(uid, &body);
        let _ = self.bus.broker.publish(&channel, sockets.finish());
    }
}
