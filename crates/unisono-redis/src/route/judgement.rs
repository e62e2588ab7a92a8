//! Where a link should be, by what servers say: the one judgement by which a link chooses a server, and by which it leaves one. Were these
//! two, each could undo what the other did, for ever.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::cluster::Survey;
use crate::config::Address;

/// Its owner is where all links of a cluster meet. A slot, and not a node: it has an owner whatever becomes of the nodes.
const MEETING_SLOT: u16 = 0;

/// Why a link should not stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The server says itself that it is no master. Nothing is gained by looking again.
    Demoted,
    /// The others have gone on without it.
    LeftBehind,
    /// It serves well enough, but the others meet elsewhere.
    Meeting,
}

/// Where to go, if that is known, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) to: Option<Address>,
    pub(super) reason: Reason,
}

/// What nodes of a cluster said, each of itself and of the others; `None` where there was no answer.
#[derive(Debug, Default)]
pub(super) struct ClusterView {
    answers: BTreeMap<Address, Option<Survey>>,
}

impl ClusterView {
    pub(super) fn take(&mut self, node: Address, answer: Option<Survey>) {
        self.answers.insert(node, answer);
    }

    pub(super) fn survey(&self, node: &Address) -> Option<&Survey> {
        self.answers.get(node)?.as_ref()
    }

    /// The master to be at: one that is in touch with the others, where connections of this process have not failed just now, and that says
    /// itself to own the meeting slot (of two, the one that more say it of). What comes later in this list gives way to what comes before;
    /// among equals all links take the same. Only what a node says of itself makes it a master: what others say may be old.
    pub(super) fn place(&self, is_struck: impl Fn(&Address) -> bool) -> Option<&Address> {
        let masters = self.answered().filter(|(node, own)| own.is_master(node));
        let best = masters.min_by_key(|(node, own)| {
            let claims = owns_meeting_slot(node, own);
            let votes = if claims { self.votes(node) } else { 0 };
            let (is_ill, is_struck) = (!own.is_healthy, is_struck(node));
            (is_ill, is_struck, !claims, Reverse(votes), *node)
        });
        best.map(|(node, _)| node)
    }

    /// Whether no further answer is needed to choose.
    pub(super) fn is_decisive(&self, is_struck: impl Fn(&Address) -> bool) -> bool {
        let place = self.place(&is_struck);
        place.is_some_and(|node| {
            let own = self.survey(node);
            own.is_some_and(|own| own.is_healthy && owns_meeting_slot(node, own))
                && !is_struck(node)
        })
    }

    /// Nodes whose own word is missing: those that are said to own the meeting slot, and when these have been asked all that are said to be
    /// masters.
    pub(super) fn to_ask(&self, limit: usize) -> Vec<Address> {
        let owners = self
            .answered()
            .filter_map(|(_, survey)| survey.slots.owner(MEETING_SLOT));
        let owners = self.unasked(owners, limit);
        if !owners.is_empty() {
            return owners;
        }
        let masters = self
            .answered()
            .flat_map(|(_, survey)| survey.slots.masters());
        self.unasked(masters, limit)
    }

    /// Whether, and why, a link that is `here` should not be. What cannot be found out is no reason.
    pub(super) fn leave(
        &self,
        here: &Address,
        is_struck: impl Fn(&Address) -> bool,
    ) -> Option<Move> {
        let own = self.survey(here)?;
        let to = self.place(is_struck).filter(|&to| to != here)?;
        let there = self.survey(to)?;
        let reason = if !own.is_master(here) {
            Reason::Demoted
        } else if !there.is_healthy {
            return None;
        } else if !own.is_healthy {
            Reason::LeftBehind
        } else if owns_meeting_slot(to, there) {
            Reason::Meeting
        } else {
            return None;
        };
        Some(Move {
            to: Some(to.clone()),
            reason,
        })
    }

    /// Whether `here` is where all meet, by its own word alone: then nobody else need be asked.
    pub(super) fn is_meeting_place(&self, here: &Address) -> bool {
        self.survey(here)
            .is_some_and(|own| own.is_healthy && owns_meeting_slot(here, own))
    }

    fn answered(&self) -> impl Iterator<Item = (&Address, &Survey)> {
        let answers = self.answers.iter();
        answers.filter_map(|(node, answer)| Some((node, answer.as_ref()?)))
    }

    /// How many nodes that are in touch with the others name it.
    fn votes(&self, node: &Address) -> usize {
        let naming = self.answered().filter(|(_, survey)| {
            survey.is_healthy && survey.slots.owner(MEETING_SLOT) == Some(node)
        });
        naming.count()
    }

    fn unasked<'a>(&self, nodes: impl Iterator<Item = &'a Address>, limit: usize) -> Vec<Address> {
        let mut unasked = Vec::new();
        for node in nodes {
            if unasked.len() < limit && !self.answers.contains_key(node) && !unasked.contains(node)
            {
                unasked.push(node.clone());
            }
        }
        unasked
    }
}

fn owns_meeting_slot(node: &Address, own: &Survey) -> bool {
    own.slots.owner(MEETING_SLOT) == Some(node)
}

/// Whom sentinels name as the master, and what those servers say of themselves.
#[derive(Debug, Default)]
pub(super) struct SentinelView {
    votes: BTreeMap<Address, usize>,
    /// Whether a server says that it is a master; nothing of those that do not answer.
    masters: BTreeMap<Address, bool>,
}

impl SentinelView {
    pub(super) fn take_vote(&mut self, named: Address) {
        *self.votes.entry(named).or_default() += 1;
    }

    pub(super) fn take_role(&mut self, server: Address, is_master: bool) {
        self.masters.insert(server, is_master);
    }

    pub(super) fn named(&self) -> impl Iterator<Item = &Address> {
        self.votes.keys()
    }

    /// The one that most sentinels name of those that say themselves to be a master: while sentinels move, and where the server that most
    /// of them name is dead, one that fewer name. Among equals all links take the same.
    pub(super) fn place(&self) -> Option<&Address> {
        let masters = self
            .votes
            .iter()
            .filter(|(named, _)| self.masters.get(named) == Some(&true));
        let best = masters.min_by_key(|(named, votes)| (Reverse(**votes), *named));
        best.map(|(named, _)| named)
    }

    /// As [`ClusterView::leave`]. A link goes away from a server that the sentinels have left even while their new one does not answer:
    /// what is changed there would be lost.
    pub(super) fn leave(&self, here: &Address) -> Option<Move> {
        let to = self.place();
        if to == Some(here) {
            return None;
        }
        let votes = |server: &Address| self.votes.get(server).copied().unwrap_or(0);
        let most = self.votes.values().copied().max().unwrap_or(0);
        let reason = if self.masters.get(here) == Some(&false) {
            Reason::Demoted
        } else if to.is_some() || votes(here) < most {
            Reason::LeftBehind
        } else {
            return None;
        };
        Some(Move {
            to: to.cloned(),
            reason,
        })
    }
}

#[cfg(test)]
mod tests;
