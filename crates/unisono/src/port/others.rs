//! What a namespace knows of its like on other nodes.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};

use tokio::time::{Duration, timeout};
use unisono_cluster::{CountError, Gap, Listener, PeerStats, Roll};

use super::Port;
use crate::nodes;

/// How long a request waits before it is counted again who listens, and how often then. A pod that was killed costs a request this much;
/// more often would be felt by Redis where many ask.
const RECOUNT_EVERY_MS: u64 = 250;

/// A count that takes longer is given up; the next one comes soon.
const RECOUNT_LIMIT: Duration = Duration::from_secs(1);

impl Port {
    /// The number of the last message that was handed to the broker: everything up to it comes before what is published now.
    pub(crate) fn handed_over(&self) -> u64 {
        self.handed_over.load(Relaxed)
    }

    pub(crate) fn peer_stats(&self) -> Vec<PeerStats> {
        self.talk().node.peer_stats().collect()
    }

    /// The last number of a node of the server of that id.
    pub(crate) fn published_by(&self, nsp: &str, uid: &str, seq: u64, server: &str) {
        let mut talk = self.talk();
        let now_ms = self.now_ms();
        talk.node.handle_published(uid, seq, server, now_ms);
        let gaps = talk.node.take_gaps();
        drop(talk);
        self.tell_gaps(nsp, gaps);
    }

    pub(super) fn tell_gaps(&self, nsp: &str, gaps: Vec<Gap>) {
        for Gap { server, lost, .. } in gaps {
            let nodes = &self.bus.nodes;
            let node = nodes.name_of(&server);
            let name = node.as_ref().map(ToString::to_string);
            tracing::warn!(nsp, node = name, lost, "messages of another node were lost");
            if let Some(on_gap) = &nodes.on_gap {
                let nsp = Arc::from(nsp);
                on_gap(&nodes::Gap { nsp, node, lost });
            }
        }
    }

    /// A server has gone: nobody waits for it any more.
    pub(crate) fn lose_node(&self, id: &str) {
        let mut talk = self.talk();
        for answered in talk.node.handle_lost_node(id) {
            talk.resolve(answered);
        }
    }

    /// Whether it is time to count again. Then the caller does.
    pub(crate) fn begin_recount(&self) -> bool {
        let mut talk = self.talk();
        let now_ms = self.now_ms();
        if talk.recount_ms.is_none_or(|due_ms| now_ms < due_ms) {
            return false;
        }
        talk.recount_ms = talk.node.is_asking().then_some(now_ms + RECOUNT_EVERY_MS);
        talk.recount_ms.is_some() && !self.is_recounting.swap(true, AcqRel)
    }

    /// Counts again who listens, and ends the requests that wait for nobody else.
    pub(crate) async fn recount(&self) {
        let counted = timeout(RECOUNT_LIMIT, self.roll()).await;
        if let Ok(Ok(roll)) = counted {
            let mut talk = self.talk();
            for answered in talk.node.handle_recount(&roll) {
                talk.resolve(answered);
            }
        }
        self.is_recounting.store(false, Release);
    }

    /// Begins to count again, if nobody has yet: something is asked.
    pub(super) fn plan_recount(&self, recount_ms: &mut Option<u64>) {
        recount_ms.get_or_insert(self.now_ms() + RECOUNT_EVERY_MS);
    }

    /// Who listens to requests beside this node.
    pub(super) async fn roll(&self) -> Result<Roll, CountError> {
        let listed = self.bus.nodes.ids();
        let channels: Vec<_> = {
            let talk = self.talk();
            let private = listed.iter().map(|(id, _)| talk.node.channel_of(id));
            std::iter::once(talk.node.request_channel())
                .chain(private)
                .collect()
        };
        let counts = self.bus.broker.count_each(&channels).await?;
        let (all, private) = counts.split_first().ok_or(CountError)?;
        let listening = listed.into_iter().zip(private);
        let listening = listening.filter(|(_, count)| **count > 0);
        let known: Vec<_> = listening
            .map(|((id, is_silent), _)| Listener { id, is_silent })
            .collect();
        // This one is among them: it has been subscribed for as long as the namespace is there.
        let others = all.saturating_sub(1);
        Ok(Roll {
            unknown: others.saturating_sub(known.len()),
            known,
        })
    }
}
