//! Asking all other nodes, and what comes of it.

use std::sync::Arc;

use unisono_cluster::{Answered, NodeName, RequestBody};
use unisono_proto::Value;

use crate::error::EmitError;
use crate::port::{Pending, deadline_after};
use crate::space::{Space, SpaceInner};

/// How many other nodes were asked, and which of them did not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Nodes {
    /// Other nodes that were to answer. 0 without a broker, where there are none, or where the application has said `local`; and where
    /// they are not known, see `unreachable`.
    pub expected: usize,
    /// Those of them that did not, in the order of their ids: they hang, their link is being healed, or their answer was lost. One that has
    /// died without [`Io::drain`](crate::Io::drain) is among them for another three seconds: nobody knows yet whether it comes back.
    pub missing: Vec<NodeName>,
    /// How many more did not of whom nobody knows who they are: Node.js pods, and nodes that had just come.
    pub missing_unknown: usize,
    /// Nobody knows how many there are: the link to them was away, or has not said so in time, or did not take the request. What is there
    /// is of this node, and of those others that have answered all the same.
    pub unreachable: bool,
}

impl Nodes {
    /// Nobody knows how many there are.
    fn unreachable() -> Self {
        Self {
            unreachable: true,
            ..Self::default()
        }
    }

    /// Whether nothing is missing.
    pub fn have_all_answered(&self) -> bool {
        self.missing_count() == 0 && !self.unreachable
    }

    /// How many did not answer, by name or not.
    pub fn missing_count(&self) -> usize {
        self.missing.len() + self.missing_unknown
    }

    /// `name_of` knows the names of servers by their ids.
    pub(crate) fn of(answered: &Answered, name_of: impl Fn(&str) -> NodeName) -> Self {
        let Some(expected) = answered.nodes_expected else {
            return Self::unreachable();
        };
        Self {
            expected,
            missing: answered.missing.iter().map(|id| name_of(id)).collect(),
            missing_unknown: answered.missing_unknown,
            unreachable: false,
        }
    }
}

/// What the nodes have answered: everything, or as much as came in time.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "some nodes may not have answered"]
#[non_exhaustive]
pub struct Answers<T> {
    /// The answers, those of this node first.
    pub answers: Vec<T>,
    /// Who was asked.
    pub nodes: Nodes,
}

impl<T> Answers<T> {
    /// Those of this node alone.
    pub(crate) fn local(answers: Vec<T>) -> Self {
        Self {
            answers,
            nodes: Nodes::default(),
        }
    }
}

impl<T> IntoIterator for Answers<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.answers.into_iter()
    }
}

impl SpaceInner {
    /// Asks all other nodes, and waits.
    pub(crate) async fn ask_others(
        self: &Arc<Self>,
        body: RequestBody,
    ) -> Result<Answers<Value>, EmitError> {
        let Some(port) = &self.port else {
            return Ok(Answers::local(Vec::new()));
        };
        let deadline = deadline_after(port.bus.requests.timeout);
        let Ok(roll) = port.others(deadline).await else {
            return Ok(Answers {
                answers: Vec::new(),
                nodes: Nodes::unreachable(),
            });
        };
        if roll.known.is_empty() && roll.unknown == 0 {
            return Ok(Answers::local(Vec::new()));
        }
        let Some(pending) = Pending::ask(self, body, deadline)? else {
            return Ok(Answers::local(Vec::new()));
        };
        let answered = pending.answers_of(roll).await;
        Ok(Answers {
            nodes: self.nodes_of(&answered),
            answers: answered.answers,
        })
    }

    /// Counts again who listens, if it is time.
    pub(crate) fn recount(self: &Arc<Self>) {
        if self.port.as_ref().is_some_and(|port| port.begin_recount()) {
            let space = self.clone();
            self.spawn(async move {
                if let Some(port) = &space.port {
                    port.recount().await;
                }
            });
        }
    }

    fn nodes_of(&self, answered: &Answered) -> Nodes {
        let Some(port) = &self.port else {
            return Nodes::default();
        };
        Nodes::of(answered, |id| port.bus.nodes.name_or_id(id))
    }

    /// Waits for what the clients of other nodes answer to a broadcast that is out.
    pub(crate) async fn others_acks(pending: Option<Pending>) -> (Vec<Value>, usize, Nodes) {
        // Without a port, or for this node alone.
        let Some(pending) = pending else {
            return (Vec::new(), 0, Nodes::default());
        };
        let space = pending.space().clone();
        let answered = pending.answers().await;
        let nodes = space.nodes_of(&answered);
        let missing = usize::try_from(answered.clients_missing).unwrap_or(usize::MAX);
        (answered.answers, missing, nodes)
    }

    /// Tells all other nodes something that nobody answers.
    pub(crate) fn tell_others(&self, body: RequestBody) -> Result<(), EmitError> {
        let Some(port) = &self.port else {
            return Ok(());
        };
        let told = port.tell(body, |refused| self.refused(refused));
        told.map_err(|error| EmitError::Cluster(error.to_string()))
    }

    /// The names of all rooms that somebody here is in, those of the sockets' own ids among them.
    pub(crate) fn occupied_rooms(&self) -> Vec<String> {
        let rooms = self.rooms();
        let named = rooms.room_names();
        let occupied = named.filter(|room| rooms.local_sids(room).next().is_some());
        let mut names: Vec<String> = occupied.map(str::to_owned).collect();
        rooms.select::<&str, &str>(&[], &[], |resident| {
            names.push(resident.socket.id.as_str().to_owned());
        });
        names
    }
}

impl Space {
    /// The names of all rooms that somebody is in, on all nodes, each once; as for Node, those of the sockets' own ids are among them.
    ///
    /// # Errors
    /// [`EmitError::TooManyRequests`]. Nodes that do not answer are no error, see [`Answers::nodes`].
    pub async fn all_rooms(&self) -> Result<Answers<String>, EmitError> {
        let others = self.0.ask_others(RequestBody::AllRooms).await?;
        let mut seen = std::collections::HashSet::new();
        let local = self.0.occupied_rooms().into_iter();
        let remote = others.answers.into_iter().filter_map(|room| match room {
            Value::Str(room) => Some(room),
            _ => None,
        });
        let mut answers: Vec<String> = local.chain(remote).collect();
        answers.retain(|room| seen.insert(room.clone()));
        Ok(Answers {
            answers,
            nodes: others.nodes,
        })
    }

    /// How many nodes serve this namespace, this one among them: as many as are subscribed to its channel of requests. Emitters are not
    /// counted.
    ///
    /// # Errors
    /// [`EmitError::Unreachable`].
    pub async fn server_count(&self) -> Result<usize, EmitError> {
        match &self.0.port {
            Some(port) => port.count().await.map_err(|_| EmitError::Unreachable),
            None => Ok(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_counted_is_not_complete() {
        let name_of = |id: &str| NodeName {
            name: format!("pod-{id}").into(),
            id: id.into(),
        };
        let check = |nodes_expected, missing: &[&str], missing_unknown, unreachable| {
            let answered = Answered {
                nodes_expected,
                missing: missing.iter().map(|&id| id.to_owned()).collect(),
                missing_unknown,
                ..Answered::default()
            };
            let nodes = Nodes {
                expected: nodes_expected.unwrap_or(0),
                missing: missing.iter().map(|id| name_of(id)).collect(),
                missing_unknown,
                unreachable,
            };
            assert_eq!(Nodes::of(&answered, name_of), nodes);
            let complete = missing.len() + missing_unknown == 0 && !unreachable;
            assert_eq!(nodes.have_all_answered(), complete);
        };
        check(Some(0), &[], 0, false);
        check(Some(1), &[], 0, false);
        check(Some(2), &["a"], 0, false);
        check(Some(2), &[], 1, false);
        check(None, &[], 0, true);
    }
}
