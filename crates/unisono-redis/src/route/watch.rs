//! Looking, while a link is up, whether its server is still the right one.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, sleep};
use unisono_cluster::Adapter;

use super::judgement::{ClusterView, Move, Reason};
use super::sentinel::{Sentinels, role};
use super::{Route, nodes, within};
use crate::cluster::{self, Cluster};
use crate::config::{Address, Topology};
use crate::connect::{Role, attempt_options};
use crate::failure::Failure;
use crate::limits::{CONFIRM_AFTER, RETURN_AFTER, WATCH_EVERY};
use crate::trial;

/// A link, as far as it matters for whether it should be somewhere else.
pub(crate) struct Here {
    pub(crate) address: Address,
    /// Asks the server itself, and is not opened anew each time.
    pub(crate) connection: MultiplexedConnection,
    /// Is told by the way what has changed.
    pub(crate) cluster: Option<Arc<Cluster>>,
    /// Of the link: another server must let us use it before this one is left for no better reason than that the others are there.
    pub(crate) probe_channel: Option<String>,
}

impl Route {
    /// Ends, with the reason, when the link should be somewhere else; a single server never does. What cannot be found out is no reason:
    /// whether the server is there, the link's probes say.
    pub(crate) async fn until_elsewhere(self, here: Here) -> Failure {
        match self.config.topology.clone() {
            Topology::Single => std::future::pending().await,
            Topology::Sentinel { master } => self.until_left_by_sentinels(here, &master).await,
            Topology::Cluster => self.until_left_by_cluster(here).await,
        }
    }

    async fn until_left_by_sentinels(self, mut here: Here, master: &str) -> Failure {
        let deadline = self.patience.ask();
        let mut sentinels = Sentinels::new(&self.config, master, deadline);
        let mut suspicion = None;
        loop {
            pause(suspicion.is_some()).await;
            let (mut view, _) = sentinels.look().await;
            let asking = role(&self.config, &here.address, &mut here.connection);
            if let Ok(role) = within(deadline, &here.address, asking).await {
                view.take_role(here.address.clone(), role == "master");
            }
            let wish = view.leave(&here.address);
            if let Some(wish) = &wish
                && (wish.reason == Reason::Demoted || suspicion == Some(wish.reason))
            {
                return why(&here.address, wish, "the sentinels");
            }
            suspicion = wish.map(|wish| wish.reason);
        }
    }

    async fn until_left_by_cluster(mut self, mut here: Here) -> Failure {
        // Of the sharded adapter each channel has its own place.
        let must_meet = self.config.adapter == Adapter::Classic;
        let mut may_return = Instant::now() + RETURN_AFTER;
        let (mut suspicion, mut is_mute) = (None, false);
        loop {
            pause(suspicion.is_some()).await;
            let is_time = must_meet && Instant::now() >= may_return;
            let wish = match self.look_at_cluster(&mut here, is_time).await {
                Ok(wish) => wish,
                // A link's probes say whether the server is there. An emitter has none, and goes by what the server says of the others.
                Err(failure) if is_mute && here.probe_channel.is_none() => return failure,
                Err(failure) => {
                    (suspicion, is_mute) = (None, !failure.is_refusal);
                    continue;
                }
            };
            is_mute = false;
            if is_time {
                may_return = Instant::now() + RETURN_AFTER;
            }
            let is_sure = match &wish {
                None => false,
                Some(wish) => match wish.reason {
                    Reason::Demoted => true,
                    // Wherever it is to go: of a large cluster others are asked each time.
                    Reason::LeftBehind => suspicion == Some(wish.reason),
                    Reason::Meeting => is_time && self.lets_us_in(&here, wish).await,
                },
            };
            suspicion = match wish {
                Some(wish) if is_sure => return why(&here.address, &wish, "the cluster"),
                wish => wish
                    .map(|wish| wish.reason)
                    .filter(|reason| *reason == Reason::LeftBehind),
            };
        }
    }

    /// Asks the others only where the server's own word gives a reason to, or it is time to look for the meeting place.
    ///
    /// # Errors
    /// The server has not said anything.
    async fn look_at_cluster(
        &mut self,
        here: &mut Here,
        is_time: bool,
    ) -> Result<Option<Move>, Failure> {
        let deadline = self.patience.ask();
        let asking = cluster::survey(&self.config, &here.address, &mut here.connection);
        let own = within(deadline, &here.address, asking).await?;
        self.learn(&own.slots);
        if let Some(cluster) = &here.cluster {
            cluster.learn(own.slots.clone());
        }
        let serves = own.is_healthy && own.is_master(&here.address);
        let mut view = ClusterView::default();
        view.take(here.address.clone(), Some(own));
        if view.is_meeting_place(&here.address) || (serves && !is_time) {
            return Ok(None);
        }
        let mut others = self.next_nodes();
        others.retain(|node| *node != here.address);
        let is_struck = |node: &Address| self.is_struck(node);
        nodes::look(&self.config, others, deadline, is_struck, &mut view).await;
        Ok(view.leave(&here.address, is_struck))
    }

    /// Whether a link would come up where it is to go. If not, it is left alone for a while.
    async fn lets_us_in(&self, here: &Here, wish: &Move) -> bool {
        let (Some(channel), Some(to)) = (&here.probe_channel, &wish.to) else {
            return true;
        };
        let trying = async {
            let mut connection = self
                .config
                .connect(to, Role::Server, &attempt_options())
                .await?;
            trial::attempt(&mut connection, &self.config, "try", channel).await
        };
        let outcome = within(self.deadline(), to, trying).await;
        if let Err(failure) = &outcome {
            tracing::debug!(node = %to, error = failure.text, "all meet where this link cannot be");
            self.strikes().strike(to, Instant::now());
        }
        outcome.is_ok()
    }
}

/// Jittered, so that links do not ask in step.
async fn pause(is_suspicious: bool) {
    let every = if is_suspicious {
        CONFIRM_AFTER
    } else {
        WATCH_EVERY
    };
    sleep(every.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
}

fn why(here: &Address, wish: &Move, who: &str) -> Failure {
    let to = match &wish.to {
        Some(to) => format!("{who} would have it at {to}"),
        None => format!("{who} have no other yet"),
    };
    Failure::new(match wish.reason {
        Reason::Demoted => format!("{here} is no master any more; {to}"),
        Reason::LeftBehind => format!("{here} was left behind; {to}"),
        Reason::Meeting => format!("{here} was a place to wait at; {to}"),
    })
}
