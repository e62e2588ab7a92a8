//! Who is to answer a request, and who has.

use std::collections::HashMap;

/// Who serves a namespace beside this node, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roll {
    /// Those whose names are known.
    pub known: Vec<Listener>,
    /// How many others listen to its requests: Node.js pods, and servers of which nothing was heard yet.
    pub unknown: usize,
    /// Names that were looked for and that nobody listens by.
    pub absent: Vec<String>,
}

/// A node whose name is known. It is waited for unless it is silent or deaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its id.
    pub id: String,
    /// It has fallen silent: it may be there, but it is not waited for.
    pub is_silent: bool,
    /// It lives and does not listen: its link is being healed. What it would answer is missing.
    pub is_deaf: bool,
}

impl Listener {
    fn is_awaited(&self) -> bool {
        !self.is_silent && !self.is_deaf
    }
}

impl From<usize> for Roll {
    /// So many of whom nothing else is known.
    fn from(unknown: usize) -> Self {
        Self {
            unknown,
            ..Self::default()
        }
    }
}

/// Who was asked, and what came of each.
///
/// Whoever gives its name stands for itself alone. Whether it is one of those who were counted without a name, only a later count can tell:
/// until then its answer takes nobody's place.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    /// How many are to answer whose names are not known; `None` as long as nobody has been counted.
    unknown: Option<usize>,
    /// How many of them have gone.
    unknown_gone: usize,
    /// Those that were counted by name, and those that gave their name with an answer.
    named: HashMap<String, Share>,
    /// What came without a name.
    others: Share,
    others_answered: usize,
}

#[derive(Debug, Default)]
struct Share {
    is_counted: bool,
    has_answered: bool,
    /// It was not counted, has answered, and a count has looked for it since.
    is_checked: bool,
    /// And has not found it: it has ended, or never was. Nothing is waited for or missing by its word.
    is_nobody: bool,
    is_gone: bool,
    clients: u64,
    acks: u64,
}

impl Share {
    fn owes_acks(&self) -> bool {
        !self.is_gone && self.clients_missing() > 0
    }

    fn clients_missing(&self) -> u64 {
        let clients = if self.is_nobody { 0 } else { self.clients };
        clients.saturating_sub(self.acks)
    }

    fn is_absent(&self) -> bool {
        self.is_counted && !self.has_answered
    }

    /// It has answered, and it is not known whether it was counted.
    fn is_stranger(&self) -> bool {
        !self.is_counted && self.has_answered
    }
}

impl Attendance {
    /// It is known now who is to answer.
    pub(super) fn call(&mut self, roll: Roll) {
        self.unknown = Some(roll.unknown);
        for listener in roll.known {
            let is_gone = !listener.is_awaited();
            let share = self.named.entry(listener.id).or_default();
            share.is_counted = true;
            share.is_gone = is_gone;
        }
    }

    /// A node has answered. False if it had before.
    pub(super) fn answered(&mut self, from: Option<&str>) -> bool {
        let Some(from) = from else {
            self.others_answered += 1;
            return true;
        };
        let share = self.named.entry(from.to_owned()).or_default();
        !std::mem::replace(&mut share.has_answered, true)
    }

    /// Whether one more may say how many clients it has asked.
    pub(super) fn has_place_for(&self, from: Option<&str>) -> bool {
        let has_place = |unknown| self.others_answered < unknown;
        from.is_some() || self.unknown.is_none_or(has_place)
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
        let are_all_known = roll.unknown == 0;
        self.others.is_gone |= are_all_known;
        for share in self.named.values_mut() {
            share.is_gone |= share.is_counted || are_all_known;
        }
        // Places of those who are there and whose names are not known, or were not when they were counted.
        let mut unknown_now = roll.unknown;
        let mut strangers = Vec::new();
        for listener in &roll.known {
            match self.named.get_mut(&listener.id) {
                Some(share) if share.is_counted => share.is_gone = !listener.is_awaited(),
                Some(share) if share.has_answered => {
                    (share.is_checked, share.is_nobody) = (true, false);
                    share.is_gone = !listener.is_awaited();
                    strangers.extend((!listener.is_deaf).then_some(&listener.id));
                }
                // It may be one of those that were counted before it was known.
                _ => unknown_now += usize::from(!listener.is_deaf),
            }
        }
        for id in &roll.absent {
            if let Some(share) = self.named.get_mut(id).filter(|share| share.is_stranger()) {
                (share.is_checked, share.is_nobody) = (true, true);
            }
        }
        self.admit(&strangers, unknown.saturating_sub(roll.unknown));
        let unknown = self.unknown.unwrap_or(0);
        let gone = unknown.saturating_sub(unknown_now);
        self.unknown_gone = self.unknown_gone.max(gone);
    }

    /// So many places are not taken by others who are there: these were counted without their names.
    fn admit(&mut self, strangers: &[&String], places: usize) {
        for id in strangers.iter().take(places) {
            let share = self.named.get_mut(*id).filter(|share| !share.is_counted);
            if let (Some(share), Some(unknown)) = (share, &mut self.unknown) {
                share.is_counted = true;
                *unknown -= 1;
                // Counted anew: this one may have seemed to be gone.
                self.unknown_gone = 0;
            }
        }
    }

    /// The names of those that were counted, and of those that have answered and may have been.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, bool)> {
        let named = self.named.iter();
        let named = named.filter(|(_, share)| share.is_counted || share.has_answered);
        named.map(|(id, share)| (id.as_str(), share.is_counted))
    }

    /// Whether a count would end the wait, if those were counted who have answered since.
    pub(super) fn awaits_recount(&self) -> bool {
        let strangers = || self.named.values().filter(|share| share.is_stranger());
        let is_new = strangers().any(|share| !share.is_checked);
        is_new && self.lack().is_some_and(|lack| lack <= strangers().count())
    }

    /// How many without a name are waited for, if nobody else is.
    fn lack(&self) -> Option<usize> {
        let awaited = |share: &Share| share.is_absent() && !share.is_gone;
        let come_or_gone = self.others_answered + self.unknown_gone;
        let lack = self.unknown?.saturating_sub(come_or_gone);
        (!self.named.values().any(awaited)).then_some(lack)
    }

    /// Whether all nodes have answered that still can.
    pub(super) fn have_all_answered(&self) -> bool {
        self.lack() == Some(0)
    }

    /// Whether all clients have answered that still can.
    pub(super) fn have_all_acknowledged(&self) -> bool {
        !self.others.owes_acks() && !self.named.values().any(Share::owes_acks)
    }

    /// How many clients of all nodes were asked and have not answered. One node's answers do not make up for another's.
    pub(super) fn clients_missing(&self) -> u64 {
        let shares = self.named.values().chain([&self.others]);
        let missing = shares.map(Share::clients_missing);
        missing.fold(0, u64::saturating_add)
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
        self.others_answered + counted.count() + self.presumed()
    }

    /// How many of those without a name have most likely answered with theirs, where no count has looked for them in time. Only beside
    /// others who are missing: that nobody is has to be known.
    fn presumed(&self) -> usize {
        let places = self
            .unknown
            .unwrap_or(0)
            .saturating_sub(self.others_answered);
        let strangers = self.named.values().filter(|share| share.is_stranger());
        let unchecked = strangers.filter(|share| !share.is_checked).count();
        let is_named_missing = self.named.values().any(Share::is_absent);
        unchecked.min(places.saturating_sub(usize::from(!is_named_missing)))
    }

    /// The ids of those that did not, in order, and how many have no name.
    pub(super) fn missing(&self) -> (Vec<String>, usize) {
        let named = self.named.iter().filter(|(_, share)| share.is_absent());
        let mut ids: Vec<_> = named.map(|(id, _)| id.clone()).collect();
        ids.sort_unstable();
        let come = self.others_answered + self.presumed();
        (ids, self.unknown.unwrap_or(0).saturating_sub(come))
    }
}
