//! What really happened, for the invariants to be held against. Nodes know nothing of it.

use std::collections::{BTreeMap, HashMap};

use unisono_cluster::{Answered, LinkState};

/// After a change of rooms a member may still get what was emitted so long before: as long as anything stays on its way.
const ON_ITS_WAY_MS: u64 = 15_000;

#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) sent: Vec<Sent>,
    pub(super) asks: Vec<Ask>,
    pub(super) asks_by_id: HashMap<String, usize>,
    /// Of each pod, when it was whole.
    calm: Vec<Vec<(u64, Option<u64>)>>,
    pub(super) healings: Vec<Healing>,
    pub(super) deafened: Vec<(usize, u64)>,
    /// When members came, went or changed their rooms.
    pub(super) moves_ms: Vec<u64>,
    pub(super) link_changes: Vec<(usize, u64, LinkState)>,
    /// Numbers that a pod was handed of another, in their order.
    pub(super) handed: BTreeMap<(usize, usize), Vec<u64>>,
}

/// What a message is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tag {
    Sent(usize),
    Ask(usize),
    Foreign,
}

/// How something is emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// To the members of the pod at once, to the others by the bus.
    LocalFirst,
    Ordered,
    /// By the store, with a revision.
    Commit,
    /// With acknowledgements.
    Acknowledged,
}

#[derive(Debug)]
pub(super) struct Sent {
    pub(super) pod: usize,
    pub(super) at_ms: u64,
    pub(super) how: How,
    /// Of the last round, when all is healed.
    pub(super) is_last: bool,
    /// Members that may get it, and whether they must.
    pub(super) to: BTreeMap<usize, bool>,
    /// Members of some rooms are left out.
    pub(super) has_exceptions: bool,
    /// How often a stranger has published it again.
    pub(super) repeats: usize,
    /// Its place in the total order.
    pub(super) order: Option<u64>,
    pub(super) revision: Option<u32>,
    pub(super) seq: Option<u64>,
    /// Of a commit: its pod heard of its outcome before it gave up waiting for the message.
    pub(super) is_known: bool,
    /// Its pod was told that the outcome is not known.
    pub(super) is_unknown: bool,
}

impl Sent {
    pub(super) fn is_ordered(&self) -> bool {
        matches!(self.how, How::Ordered | How::Commit)
    }
}

#[derive(Debug)]
pub(super) struct Ask {
    pub(super) pod: usize,
    pub(super) at_ms: u64,
    pub(super) timeout_ms: u64,
    pub(super) question: Question,
    pub(super) is_last: bool,
    pub(super) ended: Option<(u64, Answered)>,
    /// A stranger has published it, or an answer to it, again.
    pub(super) is_repeated: bool,
    /// The broadcast whose acknowledgements it asks for.
    pub(super) sent: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Sockets,
    Rooms,
    ServerSide,
    Acknowledgements,
}

/// A pod that was troubled is whole again.
#[derive(Debug)]
pub(super) struct Healing {
    pub(super) pod: usize,
    /// When the last fault was over.
    pub(super) over_ms: u64,
    pub(super) calm_ms: u64,
}

impl Record {
    pub(super) fn calm_begins(&mut self, pod: usize, now_ms: u64) {
        self.calm
            .resize_with(self.calm.len().max(pod + 1), Vec::new);
        self.calm[pod].push((now_ms, None));
    }

    pub(super) fn calm_ends(&mut self, pod: usize, now_ms: u64) {
        if let Some((_, end @ None)) = self.calm.get_mut(pod).and_then(|all| all.last_mut()) {
            *end = Some(now_ms);
        }
    }

    pub(super) fn is_calm(&self, pod: usize) -> bool {
        let last = self.calm.get(pod).and_then(|all| all.last());
        last.is_some_and(|(_, end)| end.is_none())
    }

    /// Whether the pod was whole all that time.
    pub(super) fn was_calm(&self, pod: usize, from_ms: u64, to_ms: u64) -> bool {
        let mut calm = self.calm.get(pod).into_iter().flatten();
        calm.any(|&(begin, end)| begin <= from_ms && end.is_none_or(|end| end > to_ms))
    }

    pub(super) fn link_changed(&mut self, pod: usize, now_ms: u64, state: LinkState) {
        self.link_changes.push((pod, now_ms, state));
    }

    pub(super) fn published(&mut self, tag: Tag, order: u64) {
        if let Tag::Sent(id) = tag {
            self.sent[id].order.get_or_insert(order);
        }
    }

    pub(super) fn committed(&mut self, tag: Tag, revision: u32) {
        if let Tag::Sent(id) = tag {
            self.sent[id].revision = Some(revision);
        }
    }

    pub(super) fn repeated(&mut self, tag: Tag) {
        let sent = match tag {
            Tag::Sent(id) => Some(id),
            Tag::Ask(index) => {
                self.asks[index].is_repeated = true;
                self.asks[index].sent
            }
            Tag::Foreign => None,
        };
        if let Some(id) = sent {
            self.sent[id].repeats += 1;
        }
    }

    /// A message comes to a pod, whatever that makes of it.
    pub(super) fn handed(&mut self, pod: usize, tag: Tag) {
        if let Tag::Sent(id) = tag
            && let Sent {
                pod: from,
                seq: Some(seq),
                ..
            } = self.sent[id]
            && from != pod
        {
            self.handed.entry((pod, from)).or_default().push(seq);
        }
    }

    /// A member has come, gone or changed its rooms: what is on its way may reach it or not. To be in one room more takes nothing away.
    pub(super) fn member_changed(
        &mut self,
        member: usize,
        is_join: bool,
        heard: impl Fn(usize) -> bool,
        now_ms: u64,
    ) {
        self.moves_ms.push(now_ms);
        for (id, sent) in self.sent.iter_mut().enumerate().rev() {
            if sent.at_ms + ON_ITS_WAY_MS < now_ms {
                break;
            }
            let is_promised =
                is_join && !sent.has_exceptions && sent.to.get(&member) == Some(&true);
            if !heard(id) && !is_promised {
                sent.to.insert(member, false);
            }
        }
    }
}
