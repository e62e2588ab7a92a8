//! Who is to answer a request, and who has.

use std::collections::HashMap;

/// Who listens to a namespace's requests beside this node, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roll {
    /// Servers that announce themselves.
    pub known: Vec<Listener>,
    /// How many others: Node.js pods, and servers of which nothing was heard yet.
    pub unknown: usize,
}

/// A server that announces itself and listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its id.
    pub id: String,
    /// It has fallen silent: it may be there, but it is not waited for.
    pub is_silent: bool,
}

impl From<usize> for Roll {
    /// So many of whom nothing else is known.
    fn from(unknown: usize) -> Self {
        Self {
            known: Vec::new(),
            unknown,
        }
    }
}

/// Who was asked, and what came of each.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    /// How many are to answer that do not announce themselves; `None` as long as nobody has been counted.
    unknown: Option<usize>,
    /// How many of them have gone.
    unknown_gone: usize,
    /// Those that were counted, and those that gave their name with an answer.
    named: HashMap<String, Share>,
    /// What came without a name, or from somebody who was not counted by name.
    others: Share,
    others_answered: usize,
}

#[derive(Debug, Default)]
struct Share {
    is_counted: bool,
    has_answered: bool,
    is_gone: bool,
    clients: u64,
    acks: u64,
}

impl Share {
    fn owes_acks(&self) -> bool {
        !self.is_gone && self.acks < self.clients
    }
}

impl Attendance {
    /// It is known now who is to answer.
    pub(super) fn call(&mut self, roll: Roll) {
        self.unknown = Some(roll.unknown);
        for Listener { id, is_silent } in roll.known {
            let share = self.named.entry(id).or_default();
            share.is_gone = is_silent;
            if !std::mem::replace(&mut share.is_counted, true) && share.has_answered {
                // It gave its name before it was counted.
                self.others_answered -= 1;
            }
        }
    }

    /// A node has answered. False if it had before.
    pub(super) fn answered(&mut self, from: Option<&str>) -> bool {
        let Some(from) = from else {
            self.others_answered += 1;
            return true;
        };
        let share = self.named.entry(from.to_owned()).or_default();
        if std::mem::replace(&mut share.has_answered, true) {
            return false;
        }
        if !share.is_counted {
            self.others_answered += 1;
        }
        true
    }

    /// Whether one more may answer that was not counted by name.
    pub(super) fn has_place_for(&self, from: Option<&str>) -> bool {
        let share = from.and_then(|from| self.named.get(from));
        let has_place = |unknown| self.others_answered < unknown;
        share.is_some_and(|share| share.is_counted) || self.unknown.is_none_or(has_place)
    }

    /// So many clients of a node were asked.
    pub(super) fn clients(&mut self, from: Option<&str>, clients: u64) {
        self.share(from).clients += clients;
    }

    /// A client of a node has answered.
    pub(super) fn ack(&mut self, from: Option<&str>) {
        self.share(from).acks += 1;
    }

    fn share(&mut self, from: Option<&str>) -> &mut Share {
        match from {
            Some(from) => self.named.entry(from.to_owned()).or_default(),
            None => &mut self.others,
        }
    }

    /// A server has gone, or has fallen silent.
    pub(super) fn lose(&mut self, id: &str) {
        if let Some(share) = self.named.get_mut(id) {
            share.is_gone = true;
        }
    }

    /// Who listens now. Whoever was counted and does not any more has gone; whoever is new changes nothing.
    pub(super) fn recount(&mut self, roll: &Roll) {
        let Some(unknown) = self.unknown else { return };
        let mut unknown_now = roll.unknown;
        for share in self.named.values_mut() {
            share.is_gone |= share.is_counted;
        }
        for Listener { id, is_silent } in &roll.known {
            match self.named.get_mut(id) {
                Some(share) if share.is_counted => share.is_gone = *is_silent,
                // It may be one of those that were counted before it was known.
                _ => unknown_now += 1,
            }
        }
        self.unknown_gone = self.unknown_gone.max(unknown.saturating_sub(unknown_now));
        if unknown > 0 && unknown_now == 0 {
            self.others.is_gone = true;
            let named = self.named.values_mut();
            let others = named.filter(|share| !share.is_counted);
            others.for_each(|share| share.is_gone = true);
        }
    }

    /// Whether all nodes have answered that still can.
    pub(super) fn have_all_answered(&self) -> bool {
        let Some(unknown) = self.unknown else {
            return false;
        };
        let awaited = |share: &Share| share.is_counted && !share.has_answered && !share.is_gone;
        self.others_answered + self.unknown_gone >= unknown && !self.named.values().any(awaited)
    }

    /// Whether all clients have answered that still can.
    pub(super) fn have_all_acknowledged(&self) -> bool {
        !self.others.owes_acks() && !self.named.values().any(Share::owes_acks)
    }

    /// How many were to answer, if they were counted.
    pub(super) fn expected(&self) -> Option<usize> {
        let counted = self.named.values().filter(|share| share.is_counted).count();
        self.unknown.map(|unknown| unknown + counted)
    }

    /// How many have answered.
    pub(super) fn nodes_answered(&self) -> usize {
        let named = self.named.values();
        let counted = named.filter(|share| share.is_counted && share.has_answered);
        self.others_answered + counted.count()
    }

    /// The ids of those that did not, in order, and how many have no name.
    pub(super) fn missing(&self) -> (Vec<String>, usize) {
        let absent = |share: &Share| share.is_counted && !share.has_answered;
        let named = self.named.iter().filter(|(_, share)| absent(share));
        let mut ids: Vec<_> = named.map(|(id, _)| id.clone()).collect();
        ids.sort_unstable();
        let unknown = self.unknown.unwrap_or(0);
        (ids, unknown.saturating_sub(self.others_answered))
    }
}
