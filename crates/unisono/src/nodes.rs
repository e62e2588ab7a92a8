//! The other servers on the bus: who they are, whether they live, and what of theirs was lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use unisono_cluster::classic::members_channel;
use unisono_cluster::limits::MAX_NODE_NAME_BYTES;
use unisono_cluster::{Identity, Member, Membership, NodeName, Published};

use crate::bus::Bus;
use crate::server::Server;
use crate::stats::Refusal;

/// Another server of unisono on the bus, as this one sees it. Node.js pods do not announce themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// What it is called.
    pub name: NodeName,
    /// When it started, by its own clock.
    pub started: SystemTime,
    /// How long it has been known here.
    pub known_for: Duration,
    /// How long ago it was last heard: up to a second while all is well.
    pub heard_ago: Duration,
    /// Nothing was heard of it for more than three seconds: it hangs, was killed, or is cut off. It is not waited for, and forgotten after a
    /// minute.
    pub is_silent: bool,
    /// How long its messages take through the bus back to itself, to the millisecond, as it says.
    pub link_lag: Option<Duration>,
    /// Messages that it published and this node never received, in all namespaces.
    pub lost: u64,
    /// Messages of it that came after a later one, or twice.
    pub out_of_order: u64,
    /// Messages of it that came.
    pub received: u64,
}

/// Messages of another node that never came; see [`IoBuilder::on_gap`](crate::IoBuilder::on_gap).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The namespace.
    pub nsp: Arc<str>,
    /// Whose they were, if it has said its name by now.
    pub node: Option<NodeName>,
    /// How many.
    pub lost: u64,
}

pub(crate) type GapHandler = Box<dyn Fn(&Gap) + Send + Sync>;

/// What a server knows of the others.
pub(crate) struct Nodes {
    /// A std mutex: held for one message or one look, never across an await or a publish.
    membership: Mutex<Membership>,
    /// A std mutex: held to write a message and publish it, so that none is published behind the goodbye; never across an await, and by
    /// nothing that a message may set off.
    telling: Mutex<()>,
    pub(crate) channel: String,
    pub(crate) on_gap: Option<GapHandler>,
}

impl Nodes {
    /// `id` is the name under which the server asks.
    pub(crate) fn new(key: &str, id: &str, name: Option<&str>, on_gap: Option<GapHandler>) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let me = Identity {
            id: id.to_owned(),
            name: shortened(name.unwrap_or(id)).to_owned(),
            started_ms: since.unwrap_or_default().as_millis() as u64,
        };
        Self {
            membership: Mutex::new(Membership::new(me)),
            telling: Mutex::default(),
            channel: members_channel(key),
            on_gap,
        }
    }

    fn membership(&self) -> MutexGuard<'_, Membership> {
        self.membership
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn telling(&self) -> MutexGuard<'_, ()> {
        self.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this server is called.
    pub(crate) fn me(&self) -> NodeName {
        NodeName::from(self.membership().me())
    }

    /// How long this server's messages take to come back.
    pub(crate) fn lag(&self) -> Option<Duration> {
        self.membership().lag_ms().map(Duration::from_millis)
    }

    pub(crate) fn name_of(&self, id: &str) -> Option<NodeName> {
        self.membership().name_of(id).cloned()
    }

    /// What a server of this id is called; its id, if it has been forgotten.
    pub(crate) fn name_or_id(&self, id: &str) -> NodeName {
        self.name_of(id).unwrap_or_else(|| NodeName {
            name: id.into(),
            id: id.into(),
        })
    }

    pub(crate) fn set_link(&self, is_up: bool, now_ms: u64) {
        self.membership().set_link(is_up, now_ms);
    }

    /// How many servers listen to the members' channel, this one included, as far as is known here.
    fn listeners(&self) -> usize {
        let membership = self.membership();
        1 + membership.iter().filter(|member| !member.is_silent).count()
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        self.membership().iter().cloned().collect()
    }
}

/// As much of a name as may be sent.
fn shortened(name: &str) -> &str {
    let end = (0..=MAX_NODE_NAME_BYTES.min(name.len())).rev();
    let mut ends = end.filter(|&end| name.is_char_boundary(end));
    &name[..ends.next().unwrap_or(0)]
}

impl Bus {
    fn tell(&self, beat: Option<Bytes>) {
        let Some(beat) = beat else { return };
        if self.broker.publish(&self.nodes.channel, beat).is_err() {
            // Which shows in the link's counters.
            self.nodes.membership().take_back();
        }
    }

    /// Tells the broker for whom it is to keep what waits through an outage.
    fn expect_nodes(&self) {
        let Nodes { channel, .. } = &self.nodes;
        self.broker
            .expect_listeners(channel, self.nodes.listeners());
    }
}

impl Server {
    /// Takes a message of another server, if that is what it is.
    pub(crate) fn receive_beat(&self, channel: &str, payload: &[u8]) -> bool {
        let Some(bus) = self.bus.as_ref().filter(|bus| bus.nodes.channel == channel) else {
            return false;
        };
        let now_ms = self.now_ms();
        let heard = bus.nodes.membership().handle_message(payload, now_ms);
        let beat = match heard {
            Ok(Some(beat)) => beat,
            Ok(None) => return true,
            Err(error) => {
                self.counters.refuse(Refusal::Bus);
                tracing::debug!(%error, bytes = payload.len(), "ignoring an announcement that cannot be decoded");
                return true;
            }
        };
        bus.expect_nodes();
        for Published { nsp, uid, seq } in &beat.published {
            if let Some(space) = self.space(nsp)
                && let Some(port) = &space.port
            {
                port.published_by(nsp, uid, *seq, &beat.from.id);
            }
        }
        if beat.leaving {
            self.lose_node(&NodeName::from(&beat.from), "it said goodbye");
        }
        true
    }

    /// Nobody waits for it any more.
    fn lose_node(&self, node: &NodeName, why: &'static str) {
        tracing::info!(%node, why, "another node has gone");
        for space in self.spaces() {
            if let Some(port) = &space.port {
                port.lose_node(&node.id);
            }
        }
    }

    /// Called a few times a second: notices who has fallen silent, tells the others that this server lives, and counts again who listens
    /// where answers are awaited.
    pub(crate) fn tend_nodes(&self) {
        let Some(bus) = &self.bus else { return };
        let now_ms = self.now_ms();
        let (fallen, suspicious) = {
            let mut membership = bus.nodes.membership();
            let fallen = membership.handle_timeout(now_ms);
            (fallen, membership.take_suspicion(now_ms))
        };
        for node in fallen {
            self.lose_node(&node, "nothing is heard of it");
        }
        if suspicious {
            bus.broker.suspect();
        }
        bus.expect_nodes();
        self.announce();
        for space in self.spaces() {
            space.recount();
        }
    }

    /// Tells the others that this server lives, if it is time.
    pub(crate) fn announce(&self) {
        let Some(bus) = &self.bus else { return };
        let is_due = |due_ms| due_ms <= self.now_ms();
        if bus.nodes.membership().next_beat_ms().is_some_and(is_due) {
            let _telling = bus.nodes.telling();
            let published = self.published();
            let beat = bus.nodes.membership().beat(published, self.now_ms());
            bus.tell(beat);
        }
    }

    /// Tells the others that nobody is to wait for this server any more, once.
    pub(crate) fn say_goodbye(&self) {
        let Some(bus) = &self.bus else { return };
        let _telling = bus.nodes.telling();
        let published = self.published();
        let goodbye = bus.nodes.membership().goodbye(published);
        bus.tell(goodbye);
    }

    /// What has been handed to the broker, in all namespaces.
    fn published(&self) -> Vec<Published> {
        let spaces = self.spaces();
        let published = spaces.filter_map(|space| {
            let port = space.port.as_ref()?;
            Some(Published {
                nsp: space.name.to_string(),
                uid: port.uid.clone(),
                seq: port.handed_over(),
            })
        });
        published.collect()
    }

    /// The other servers, by name.
    pub(crate) fn nodes(&self) -> Vec<NodeInfo> {
        let Some(bus) = &self.bus else {
            return Vec::new();
        };
        let now_ms = self.now_ms();
        let since = |ms: u64| Duration::from_millis(now_ms.saturating_sub(ms));
        let shown = |member: Member| NodeInfo {
            started: UNIX_EPOCH
                .checked_add(Duration::from_millis(member.started_ms))
                .unwrap_or(UNIX_EPOCH),
            known_for: since(member.since_ms),
            heard_ago: since(member.heard_ms),
            is_silent: member.is_silent,
            link_lag: member.lag_ms.map(Duration::from_millis),
            name: member.name,
            lost: 0,
            out_of_order: 0,
            received: 0,
        };
        let mut nodes: Vec<_> = bus.nodes.members().into_iter().map(shown).collect();
        nodes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for space in self.spaces() {
            for peer in space.port.iter().flat_map(|port| port.peer_stats()) {
                if let Some(node) = nodes.iter_mut().find(|node| *node.name.id == *peer.server) {
                    node.lost = node.lost.saturating_add(peer.gaps);
                    node.out_of_order += peer.out_of_order;
                    node.received += peer.received;
                }
            }
        }
        nodes
    }
}
