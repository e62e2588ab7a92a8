//! What a namespace knows of its like on other nodes.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};

use tokio::time::{Duration, timeout};
use unisono_cluster::{CountError, Gap, Listener, Member, PeerStats, Roll};

use super::Port;
use crate::nodes;

/// How long a request waits before it is counted again who listens. A pod that was killed costs a request this much; more often would be
/// felt by Redis where many ask.
const FIRST_RECOUNT_MS: u64 = 250;

/// Each later count of a long wait comes after twice as long, up to this: a pod of Node.js that dies costs no more than as long again as was
/// waited already. Of ours the members say by themselves when one has gone.
const RECOUNT_EVERY_MS: u64 = 4_000;

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
        if talk.recount.is_none_or(|plan| now_ms < plan.due_ms) {
            return false;
        }
        if !talk.node.is_asking() {
            talk.recount = None;
            return false;
        }
        // One at a time: whoever is at it looks here again.
        let begins = !self.is_recounting.swap(true, AcqRel);
        if begins {
            talk.recount = talk.recount.map(|plan| plan.next(now_ms));
        }
        begins
    }

    /// Counts again who listens, and ends the requests that wait for nobody else.
    pub(crate) async fn recount(&self) {
        loop {
            let counted = timeout(RECOUNT_LIMIT, self.roll()).await;
            if let Ok(Ok(roll)) = counted {
                let mut talk = self.talk();
                for answered in talk.node.handle_recount(&roll) {
                    talk.resolve(answered);
                }
            }
            self.is_recounting.store(false, Release);
            // Somebody may have wished for it meanwhile.
            if !self.begin_recount() {
                return;
            }
        }
    }

    /// Who serves the namespace beside this node.
    pub(super) async fn roll(&self) -> Result<Roll, CountError> {
        let members = self.bus.nodes.members();
        let (named, channels) = {
            let talk = self.talk();
            let members = members.iter().map(|member| member.name.id.to_string());
            let mut named: Vec<_> = members.collect();
            let is_member = |id: &String| named.contains(id);
            let mut others = talk.node.names_asked();
            others.retain(|id| !is_member(id));
            named.extend(others);
            let private = named.iter().map(|id| talk.node.channel_of(id));
            let all = std::iter::once(talk.node.request_channel());
            let channels: Vec<_> = all.chain(private).collect();
            (named, channels)
        };
        let counts = self.bus.broker.count_each(&channels).await?;
        let (all, private) = counts.split_first().ok_or(CountError)?;
        let talk = self.talk();
        let (mut known, mut absent) = (Vec::new(), Vec::new());
        for (index, (id, count)) in named.into_iter().zip(private).enumerate() {
            let is_deaf = *count == 0;
            let member = members.get(index);
            let serves = |member: &Member| {
                !member.is_silent && talk.node.is_served_by(&member.name.id, member.heard_ms)
            };
            // A member that does not listen may serve other namespaces.
            if !is_deaf || member.is_some_and(serves) {
                known.push(Listener {
                    id,
                    is_silent: member.is_some_and(|member| member.is_silent),
                    is_deaf,
                });
            } else {
                absent.push(id);
            }
        }
        let listening = known.iter().filter(|listener| !listener.is_deaf).count();
        // This one is among them: it has been subscribed for as long as the namespace is there.
        let others = all.saturating_sub(1);
        Ok(Roll {
            unknown: others.saturating_sub(listening),
            known,
            absent,
        })
    }
}

/// When to count again who listens.
#[derive(Clone, Copy)]
pub(super) struct Recount {
    due_ms: u64,
    /// How long after it the next comes.
    every_ms: u64,
}

impl Recount {
    /// That of a request that begins now; another may wait for one that is due sooner.
    pub(super) fn plan(plan: Option<Self>, now_ms: u64) -> Self {
        let due_ms = now_ms + FIRST_RECOUNT_MS;
        Self {
            due_ms: plan.map_or(due_ms, |plan| plan.due_ms.min(due_ms)),
            every_ms: FIRST_RECOUNT_MS,
        }
    }

    /// At once.
    pub(super) fn hasten(&mut self, now_ms: u64) {
        self.due_ms = now_ms;
    }

    fn next(self, now_ms: u64) -> Self {
        let every_ms = (self.every_ms * 2).min(RECOUNT_EVERY_MS);
        Self {
            due_ms: now_ms + every_ms,
            every_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_a_wait_lasts_the_rarer_it_is_counted() {
        let mut plan = Recount::plan(None, 0);
        let mut times = Vec::new();
        while plan.due_ms < 20_000 {
            times.push(plan.due_ms);
            plan = plan.next(plan.due_ms);
        }
        assert_eq!(
            times,
            [250, 750, 1_750, 3_750, 7_750, 11_750, 15_750, 19_750]
        );
        // Somebody else begins to wait, and has what is due sooner.
        plan = Recount::plan(Some(plan), 20_000);
        assert_eq!((plan.due_ms, plan.next(20_250).due_ms), (20_250, 20_750));
        plan = Recount::plan(Some(plan), 20_100);
        assert_eq!(plan.due_ms, 20_250);
    }
}
